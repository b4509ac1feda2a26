/** Time that runs only while the client is waited for. */
export class Patience {
  #left: number
  #timer: NodeJS.Timeout | null = null
  #since = 0
  readonly #over: () => void

  constructor(ms: number, over: () => void) {
    this.#left = ms
    this.#over = over
    this.#resume()
  }

  #resume(): void {
    this.#since = performance.now()
    this.#timer = setTimeout(this.#over, Math.max(1, this.#left))
  }

  stop(): void {
    if (!this.#timer) return
    clearTimeout(this.#timer)
    this.#timer = null
    this.#left -= performance.now() - this.#since
  }

  /** The time that this takes does not count. */
  async without<T>(promise: Promise<T>): Promise<T> {
    this.stop()
    try {
      return await promise
    } finally {
      this.#resume()
    }
  }
}
