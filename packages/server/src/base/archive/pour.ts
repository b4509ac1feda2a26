import { Worker } from 'node:worker_threads'
import { fail } from '../errors.ts'

/** What must stay free while something is unpacked. */
export interface Room {
  /** A directory on the disk. */
  readonly dir: string
  /** Bytes. */
  readonly keep: number
}

/** Code of the error of one that would take more than there is room for. */
export const NO_ROOM = 'NO_ROOM'

/** A tar that is compressed still, as a backup has it. */
export class PackedTar {
  readonly chunks: AsyncIterable<Buffer>
  readonly room: Room | null

  constructor(chunks: AsyncIterable<Buffer>, room: Room | null = null) {
    this.chunks = chunks
    this.room = room
  }
}

/** Bytes that are on their way to the thread. */
const AHEAD = 4 << 20
/** Bytes of one message: the small pieces of a request would each cost the thread a turn. */
const PIECE = 1 << 20

/** In pieces of their own: what a chunk is a part of may have other owners. */
async function* gathered(chunks: AsyncIterable<Buffer>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let waiting: Buffer[] = []
  let length = 0
  for await (const chunk of chunks) {
    waiting.push(chunk)
    length += chunk.length
    if (length < PIECE) continue
    yield together(waiting, length)
    ;[waiting, length] = [[], 0]
  }
  if (length > 0) yield together(waiting, length)
}

function together(chunks: readonly Buffer[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

export interface PourOrder {
  readonly path: string
  readonly room: Room | null
}

export interface PourAnswer {
  /** Bytes that the thread is through with. */
  readonly taken?: number
  readonly ended?: true
  readonly error?: { readonly code: string | undefined; readonly message: string }
}

function hear(worker: Worker, taken: (bytes: number) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  worker.on('message', ({ taken: bytes, ended, error }: PourAnswer) => {
    if (bytes !== undefined) taken(bytes)
    // The code says whether it is the archive or the disk: callers make it theirs.
    if (error) reject(Object.assign(new Error(error.message), { code: error.code }))
    else if (ended) resolve()
  })
  worker.on('error', reject)
  worker.on('exit', () => reject(fail('parcel_failed', { reason: 'the thread that unpacks has ended' })))
  return promise
}

/** Decompresses it into a socket, in a thread with a small heap: in that of a server it is the collector that takes the time. */
export async function pour({ chunks, room }: PackedTar, path: string): Promise<void> {
  const worker = new Worker(new URL('./pour-thread.ts', import.meta.url), { workerData: { path, room } satisfies PourOrder })
  let [waiting, wake] = [0, () => {}]
  const ended = hear(worker, (bytes) => {
    waiting -= bytes
    wake()
  })
  ended.catch(() => {})
  try {
    for await (const piece of gathered(chunks)) {
      waiting += piece.length
      worker.postMessage(piece, [piece.buffer])
      while (waiting > AHEAD) await Promise.race([new Promise<void>((resolve) => (wake = resolve)), ended])
    }
    worker.postMessage(null)
    await ended
  } finally {
    await worker.terminate()
  }
}
