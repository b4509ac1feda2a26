import { connect } from 'node:net'

/** Bytes that are handed on at a time: each is a trip to the thread that compresses. */
const CHUNK = 1 << 20
const READ = 256 << 10

/** What comes through a pipe (pipes.ts), in whichever thread. Two buffers take turns: one is filled while the other is with the reader, until he asks for the next. */
export async function* open({ path }: { readonly path: string }): AsyncGenerator<Buffer> {
  let [filling, other] = [Buffer.allocUnsafeSlow(CHUNK), Buffer.allocUnsafeSlow(CHUNK)]
  let filled = 0
  let ended: { readonly error?: Error } | null = null
  let changed = Promise.withResolvers<void>()
  const onread = {
    buffer: Buffer.allocUnsafeSlow(READ),
    callback(bytes: number, read: Uint8Array): boolean {
      filling.set(bytes === read.length ? read : read.subarray(0, bytes), filled)
      filled += bytes
      const room = filled + READ <= CHUNK
      if (!room) changed.resolve()
      return room
    },
  }
  const end = (error?: Error) => {
    ended ??= error ? { error } : {}
    changed.resolve()
  }
  const socket = connect({ path, onread })
    .on('end', () => end())
    .on('error', end)
    .on('close', () => end())
  try {
    for (;;) {
      if (ended === null && filled + READ <= CHUNK) await changed.promise
      const over = ended as { readonly error?: Error } | null
      if (over?.error) throw over.error
      if (over && filled === 0) return
      const full = filling.subarray(0, filled)
      ;[filling, other] = [other, filling]
      filled = 0
      changed = Promise.withResolvers()
      socket.resume()
      yield full
    }
  } finally {
    socket.destroy()
  }
}
