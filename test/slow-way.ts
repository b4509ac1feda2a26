/** A way to a server on loopback that a test can close, or let stop in the middle of what passes. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

type Direction = 'there' | 'back'

export interface SlowWay {
  readonly port: number
  /** Nobody gets through, and who was on it is thrown out. */
  close(): void
  open(): void
  /** After so many bytes that way on one connection it passes no more; resolves when that has come. */
  stall(direction: Direction, bytes: number): Promise<void>
  end(): Promise<void>
}

export async function slowWay(to: number): Promise<SlowWay> {
  const sockets = new Set<Socket>()
  let closed = false
  let stalling: { readonly direction: Direction; readonly bytes: number; readonly reached: () => void } | null = null

  function pass(from: Socket, on: Socket, direction: Direction): void {
    let passed = 0
    sockets.add(from)
    from
      .on('error', () => {})
      .on('close', () => {
        sockets.delete(from)
        on.destroy()
      })
    from.on('data', (chunk: Buffer) => {
      passed += chunk.length
      if (stalling?.direction === direction && passed > stalling.bytes) {
        from.pause()
        stalling.reached()
        return
      }
      if (!on.write(chunk)) {
        from.pause()
        on.once('drain', () => from.resume())
      }
    })
  }

  const server = createServer((client) => {
    if (closed) return void client.destroy()
    const upstream = connect({ host: '127.0.0.1', port: to })
    pass(client, upstream, 'there')
    pass(upstream, client, 'back')
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const drop = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      closed = true
      drop()
    },
    open() {
      closed = false
      stalling = null
      drop()
    },
    stall: (direction, bytes) =>
      new Promise((resolve) => {
        stalling = { direction, bytes, reached: resolve }
      }),
    end() {
      drop()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
