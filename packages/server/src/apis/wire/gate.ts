/** Lets so many in at once, the rest roughly in order of arrival. */
export class Gate {
  readonly #capacity: () => number
  readonly #waiting = new Set<() => void>()
  #inside = 0

  constructor(capacity: () => number) {
    this.#capacity = capacity
  }

  /** Answers what to call when done; null where the signal aborted first. */
  async enter(signal: AbortSignal): Promise<(() => void) | null> {
    while (this.#inside >= this.#capacity() && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const go = () => {
          this.#waiting.delete(go)
          signal.removeEventListener('abort', go)
          resolve()
        }
        this.#waiting.add(go)
        signal.addEventListener('abort', go)
      })
    }
    if (signal.aborted) return null
    this.#inside++
    let inside = true
    return () => {
      if (!inside) return
      inside = false
      this.#inside--
      for (const go of [...this.#waiting]) go()
    }
  }
}
