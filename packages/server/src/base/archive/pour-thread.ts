import { statfsSync } from 'node:fs'
import { connect } from 'node:net'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { createZstdDecompress } from 'node:zlib'
import type { PourAnswer, PourOrder, Room } from './pour.ts'

const CHUNK = 1 << 20
const answer = (what: PourAnswer) => parentPort?.postMessage(what)

/** Bytes between two looks at the disk. */
const STEP = 4 << 20
const NO_ROOM: typeof import('./pour.ts').NO_ROOM = 'NO_ROOM'

function watched({ dir, keep }: Room): Transform {
  let left = STEP
  return new Transform({
    highWaterMark: CHUNK,
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length
      if (left > 0) return done(null, chunk)
      left = STEP
      const { bavail, bsize } = statfsSync(dir)
      if (bavail * bsize > keep) done(null, chunk)
      else done(Object.assign(new Error('what must stay free would be taken'), { code: NO_ROOM }))
    },
  })
}

const { path, room } = workerData as PourOrder
const zstd = createZstdDecompress({ chunkSize: CHUNK })
parentPort?.on('message', (chunk: Uint8Array | null) => {
  if (chunk === null) zstd.end()
  // A failure is the pipeline's.
  else zstd.write(chunk, () => answer({ taken: chunk.length }))
})
pipeline([zstd, ...(room ? [watched(room)] : []), connect(path)]).then(
  () => answer({ ended: true }),
  (error: NodeJS.ErrnoException) => answer({ error: { code: error.code, message: error.message } }),
)
