import type { SovraError } from '../../../../base/errors.ts'
import type { Param } from './protocol.ts'
import type { Result } from './result.ts'
import type { Prepared } from './statement-cache.ts'

/** One statement of an exchange. */
export interface Step {
  readonly sql: string
  readonly params: readonly Param[]
  /** What its plan depends on, role and search path: a statement is prepared once for each (sql, scope). */
  readonly scope: string
  /** Not worth a place among the prepared statements: parsed each time. */
  readonly once?: boolean
}

/** Takes the rows of an exchange while they come, first column only. `push` says whether more is welcome at once. */
export interface RowSink {
  push(data: Buffer | null, first: boolean, last: boolean): boolean
}

/** Who is told of an exchange's end; `error` and `result` are in the exchange. */
export interface ExchangeOwner {
  done(exchange: Exchange): void
}

/** More statements than this before one Sync are refused: an exchange is a request, not a script. */
export const MAX_STEPS = 16

/** Statements before one Sync: one implicit transaction of one identity, in one round trip. */
export class Exchange {
  steps: readonly Step[]
  /** Index of the step whose rows are the result. */
  main: number
  readonly owner: ExchangeOwner
  /** Largest result in bytes. */
  readonly maxBytes: number
  sink: RowSink | null = null
  result: Result | null = null
  error: SovraError | null = null
  /** The statement must be parsed anew: nothing of the exchange took effect. */
  stale = false
  /** The connection ended under it. */
  lost = false
  /** Its connection had begun to answer it, or could have. */
  started = false
  /** Step whose answer comes next. */
  step = 0
  bytes = 0
  /** Parses that are not confirmed, in order. */
  parsing: (Prepared | null)[] | null = null
  /** The prepared form of the main step; null where it has none. */
  prepared: Prepared | null = null
  /** ms that the server spent on it, as seen from here. */
  elapsed = 0

  constructor(steps: readonly Step[], main: number, owner: ExchangeOwner, maxBytes: number) {
    this.steps = steps
    this.main = main
    this.owner = owner
    this.maxBytes = maxBytes
  }

  /** Forgets a failed attempt. */
  reset(): void {
    this.result = null
    this.error = null
    this.stale = false
    this.lost = false
    this.started = false
    this.step = 0
    this.bytes = 0
    this.parsing = null
    this.prepared = null
  }
}
