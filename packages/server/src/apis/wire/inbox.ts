import type { Socket } from 'node:net'

const HIGH_WATER = 65_536

/** Reads a socket in pieces of known length while a sign-in lasts, then hands it over. Holds at most 64 KiB and one read. */
export class Inbox {
  readonly socket: Socket
  #held: Buffer[] = []
  #length = 0
  #ended = false
  #wake: (() => void) | null = null

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onEnd)
  }

  readonly #onData = (chunk: Buffer) => {
    this.#held.push(chunk)
    this.#length += chunk.length
    if (this.#length > HIGH_WATER) this.socket.pause()
    this.#wake?.()
  }

  readonly #onEnd = () => {
    this.#ended = true
    this.#wake?.()
  }

  get length(): number {
    return this.#length
  }

  #whole(): Buffer {
    if (this.#held.length > 1) this.#held = [Buffer.concat(this.#held)]
    return this.#held[0] ?? Buffer.alloc(0)
  }

  /** The first `n` bytes, left in place; null when the peer ended before. */
  async peek(n: number): Promise<Buffer | null> {
    while (this.#length < n) {
      if (this.#ended) return null
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = null
    }
    return this.#whole().subarray(0, n)
  }

  async take(n: number): Promise<Buffer | null> {
    const taken = await this.peek(n)
    if (taken) this.#held = [this.#whole().subarray(n)]
    if (taken) this.#length -= n
    if (this.#length <= HIGH_WATER && this.socket.isPaused()) this.socket.resume()
    return taken
  }

  /** The next frame (type, length, body) as it is; null at the end of the stream or where it is longer than `limit`. */
  async frame(limit: number): Promise<Buffer | null> {
    const head = await this.peek(5)
    const length = head?.readUInt32BE(1) ?? 0
    if (!head || length < 4 || length + 1 > limit) return null
    return await this.take(length + 1)
  }

  /** Stops reading (the socket is paused) and answers what was read and not taken. */
  release(): Buffer {
    this.socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd).pause()
    return this.#whole()
  }

  get ended(): boolean {
    return this.#ended
  }
}
