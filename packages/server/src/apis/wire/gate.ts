/** Lets so many in at once, the rest in order of arrival. */
export class Gate {
  readonly #capacity: () => number
  readonly #waiting: (() => void)[] = []
  #inside = 0

  constructor(capacity: () => number) {
    this.#capacity = capacity
  }

  /** Answers what to call when done; null where the signal aborted first. */
  async enter(signal: AbortSignal): Promise<(() => void) | null> {
    while (this.#inside >= this.#capacity()) {
      if (signal.aborted) return null
      await new Promise<void>((resolve) => {
        const go = () => {
          signal.removeEventListener('abort', go)
          resolve()
        }
        this.#waiting.push(go)
        signal.addEventListener('abort', go)
      })
    }
    if (signal.aborted) {
      this.#waiting.shift()?.()
      return null
    }
    this.#inside++
    let inside = true
    return () => {
      if (!inside) return
      inside = false
      this.#inside--
      this.#waiting.shift()?.()
    }
  }
}
