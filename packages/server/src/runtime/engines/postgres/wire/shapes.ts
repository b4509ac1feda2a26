import { LRUCache } from 'lru-cache'
import { KEPT_SQL } from './job.ts'

interface Shape {
  /** Runs and, among them, slow ones; both fade. */
  runs: number
  slow: number
  /** Until when (ms of the pool's clock) it needs a connection of its own; 0: it does not. */
  slowUntil: number
  /** Wrote, or tried to: never on a shared connection. */
  writes: boolean
}

/** What a shared connection may be given. */
export interface ShapeLimits {
  /** A statement that took longer than this many ms was slow. */
  readonly slowAfter: number
  /** A result larger than this many bytes was slow: it delays those behind it. */
  readonly largeAfter: number
  /** Share of slow runs from which a statement keeps to connections of its own: a busy machine makes one in many slow. */
  readonly slowShare: number
  /** For how many ms it does. */
  readonly slowFor: number
  /** Runs that were not slow after which an unknown read is trusted. */
  readonly trustAfter: number
  /** Shapes remembered. */
  readonly remembered: number
}

/** One slow run may be the machine's fault. */
const SLOW_TWICE = 2
/** Runs that end the time apart early, when less than half of the share that sent it away was slow. */
const QUICK_AGAIN = 100
const FADE_AT = 200

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
    if (shape === undefined) return promised && sql.length <= KEPT_SQL
    if (shape.writes) return false
    if (shape.slowUntil > 0) {
      if (shape.slowUntil > this.#now()) return false
      shape.slowUntil = 0
    }
    return promised || shape.runs - shape.slow >= this.#limits.trustAfter
  }

  /** A finished run; `first`: it was prepared for this one, on a connection whose caches may be as cold, so that being slow tells nothing. */
  seen(sql: string, elapsed: number, bytes: number, first = false): void {
    const late = elapsed > this.#limits.slowAfter
    const large = bytes > this.#limits.largeAfter
    if (late && first && !large) return
    const shape = this.#get(sql)
    shape.runs++
    if (late || large) this.#slow(shape, 1)
    else if (shape.slowUntil > 0 && this.#isQuickAgain(shape)) shape.slowUntil = 0
    else if (shape.runs > FADE_AT) fade(shape)
  }

  /** A run that gave way after the time of a quick one. */
  slow(sql: string): void {
    const shape = this.#get(sql)
    shape.runs++
    this.#slow(shape, SLOW_TWICE)
  }

  writes(sql: string): void {
    this.#get(sql).writes = true
  }

  clear(): void {
    this.#known.clear()
  }

  #slow(shape: Shape, weight: number): void {
    shape.slow += weight
    if (shape.slow < SLOW_TWICE || shape.slow < shape.runs * this.#limits.slowShare) return
    shape.slowUntil = this.#now() + this.#limits.slowFor
    shape.runs = 0
    shape.slow = 0
  }

  /** The machine made it slow, or a crowd of first runs, not the statement. */
  #isQuickAgain(shape: Shape): boolean {
    return shape.runs >= QUICK_AGAIN && shape.slow < (shape.runs * this.#limits.slowShare) / 2
  }

  #get(sql: string): Shape {
    let shape = this.#known.get(sql)
    if (shape === undefined) {
      shape = { runs: 0, slow: 0, slowUntil: 0, writes: false }
      if (sql.length <= KEPT_SQL) this.#known.set(sql, shape)
    }
    return shape
  }
}

function fade(shape: Shape): void {
  shape.runs >>= 1
  shape.slow >>= 1
}
