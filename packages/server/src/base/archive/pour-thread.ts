import { connect } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { createZstdDecompress } from 'node:zlib'
import type { PourAnswer } from './pour.ts'

const CHUNK = 1 << 20
const answer = (what: PourAnswer) => parentPort?.postMessage(what)

const zstd = createZstdDecompress({ chunkSize: CHUNK })
parentPort?.on('message', (chunk: Uint8Array | null) => {
  if (chunk === null) zstd.end()
  // A failure is the pipeline's.
  else zstd.write(chunk, () => answer({ taken: chunk.length }))
})
pipeline(zstd, connect((workerData as { path: string }).path)).then(
  () => answer({ ended: true }),
  (error: NodeJS.ErrnoException) => answer({ error: { code: error.code, message: error.message } }),
)
