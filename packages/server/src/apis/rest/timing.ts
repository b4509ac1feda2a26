const PARTS = ['jwt', 'parse', 'plan', 'transaction', 'response'] as const

/** How long the parts of one request took, for Server-Timing (W3C): made only where a project asks for it. */
export class Timing {
  readonly #spent: Partial<Record<(typeof PARTS)[number], number>> = {}
  #last = performance.now()

  /** `before`: ms until here: credentials and the way to the project. */
  constructor(before: number) {
    this.#spent.jwt = before
  }

  /** What has just ended. A request that is tried again starts its parts anew. */
  mark(part: Exclude<(typeof PARTS)[number], 'jwt'>): void {
    const now = performance.now()
    this.#spent[part] = now - this.#last
    this.#last = now
  }

  toString(): string {
    return PARTS.map((part) => `${part};dur=${(this.#spent[part] ?? 0).toFixed(1)}`).join(', ')
  }
}
