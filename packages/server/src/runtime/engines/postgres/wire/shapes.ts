import { LRUCache } from 'lru-cache'

interface Shape {
  /** Runs in a row that were quick. */
  quick: number
  /** Until when (ms of the pool's clock) it needs a connection of its own. */
  slowUntil: number
  /** Wrote, or tried to: never on a shared connection. */
  writes: boolean
}

/** What a shared connection may be given. */
export interface ShapeLimits {
  /** A statement that took longer than this many ms is slow. */
  readonly slowAfter: number
  /** A result larger than this many bytes is slow: it delays those behind it. */
  readonly largeAfter: number
  /** For how many ms a slow one keeps to connections of its own. */
  readonly slowFor: number
  /** Quick runs after which an unknown read is trusted. */
  readonly trustAfter: number
  /** Shapes remembered. */
  readonly remembered: number
}

/** What was seen of each statement text: whether it may share a connection. */
export class Shapes {
  readonly #limits: ShapeLimits
  readonly #now: () => number
  readonly #known: LRUCache<string, Shape>

  constructor(limits: ShapeLimits, now: () => number) {
    this.#limits = limits
    this.#now = now
    this.#known = new LRUCache({ max: limits.remembered })
  }

  /** Whether a read may share: `promised` by its caller, unless seen otherwise; else once it was seen quick often enough. */
  mayShare(sql: string, promised: boolean): boolean {
    const shape = this.#known.get(sql)
    if (shape === undefined) return promised
    if (shape.writes || (shape.slowUntil > 0 && shape.slowUntil > this.#now())) return false
    return promised || shape.quick >= this.#limits.trustAfter
  }

  /** A finished run. Only what is unknown or out of the ordinary is written down. */
  seen(sql: string, elapsed: number, bytes: number, promised: boolean): void {
    if (elapsed > this.#limits.slowAfter || bytes > this.#limits.largeAfter) this.slow(sql)
    else if (!promised) {
      const shape = this.#get(sql)
      shape.quick++
    }
  }

  slow(sql: string): void {
    const shape = this.#get(sql)
    shape.slowUntil = this.#now() + this.#limits.slowFor
    shape.quick = 0
  }

  writes(sql: string): void {
    this.#get(sql).writes = true
  }

  clear(): void {
    this.#known.clear()
  }

  #get(sql: string): Shape {
    let shape = this.#known.get(sql)
    if (shape === undefined) {
      shape = { quick: 0, slowUntil: 0, writes: false }
      this.#known.set(sql, shape)
    }
    return shape
  }
}
