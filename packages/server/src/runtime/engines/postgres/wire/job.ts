import { fail, type SovraError } from '../../../../base/errors.ts'
import type { Connection } from './connection.ts'
import { Exchange, type ExchangeOwner, type Step } from './exchange.ts'
import type { Waiter } from './exclusive.ts'
import type { Param } from './protocol.ts'
import type { Result } from './result.ts'

/** What is set before the statement in the same transaction, and what plans depend on under it. */
export interface Preamble {
  readonly step: Step
  /** Role and search path: the scope of the statements that follow. */
  readonly scope: string
}

/** A statement of a request; `before` and `after` run in the same transaction and their rows are dropped: an error in either undoes all. */
export interface Statement {
  readonly sql: string
  readonly params: readonly Param[]
  /** Not to be prepared: its text will hardly come again. */
  readonly once?: boolean
  readonly before?: readonly Statement[]
  readonly after?: readonly Statement[]
}

/** Tells that a request's client went away: an AbortSignal, or less. */
export interface Gone {
  readonly aborted: boolean
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

export interface RunOptions {
  /** The caller knows a read that ends soon: it may share a connection from its first time. */
  readonly quick?: boolean
  /** Writes nothing, and is made to: may share a connection once it was seen to be quick. */
  readonly readOnly?: boolean
  /** A connection of its own, whatever is known. */
  readonly exclusive?: boolean
  /** ms until the statement is ended (57014). */
  readonly timeout?: number
  /** Ends the request when its client goes away; as a function it is called only for a request that can be cancelled. */
  readonly signal?: Gone | (() => Gone)
  /** Of a transaction; read committed where it is not said. */
  readonly isolation?: Isolation
  /** Largest result in bytes. */
  readonly maxBytes?: number
}

export type Isolation = 'read committed' | 'repeatable read' | 'serializable'

/** What a pool does for its jobs. */
export interface JobOwner extends ExchangeOwner {
  start(job: Job): void
  granted(job: Job, connection: Connection): void
  settled(job: Job): void
}

/** A request on its way through the pool. */
export class Job extends Exchange implements Waiter {
  declare readonly owner: JobOwner
  readonly preamble: Preamble
  readonly statement: Statement
  readonly options: RunOptions
  readonly resolve: (result: Result) => void
  readonly reject: (error: SovraError) => void
  connection: Connection | null = null
  /** Runs, or waits for, a connection of its own. */
  alone = false
  aborted = false
  settled = false
  retries = 0
  signal: Gone | null = null
  onAbort: (() => void) | null = null

  constructor(
    owner: JobOwner,
    preamble: Preamble,
    statement: Statement,
    options: RunOptions,
    maxBytes: number,
    resolve: (result: Result) => void,
    reject: (error: SovraError) => void,
  ) {
    super([], 0, owner, options.maxBytes ?? maxBytes)
    this.preamble = preamble
    this.statement = statement
    this.options = options
    this.resolve = resolve
    this.reject = reject
  }

  get abandoned(): boolean {
    return this.settled
  }

  grant(connection: Connection): void {
    this.owner.granted(this, connection)
  }

  fail(error: SovraError): void {
    if (this.settled) return
    this.settled = true
    this.owner.settled(this)
    this.reject(error)
  }

  succeed(result: Result): void {
    if (this.settled) return
    this.settled = true
    this.owner.settled(this)
    this.resolve(result)
  }
}

/**
 * People's functions may set something for the session (`set_config(…, false)`: a policy helper that remembers who asks), and the next
 * request on the connection is another's. So each begins by forgetting; in its own transaction, whose failure brings the old value back for nobody:
 * whoever comes next forgets it again.
 */
export const FORGET: Step = { sql: 'reset all', params: [], scope: '' }

/** Characters of a text that is remembered: strangers may send as many different ones as they like. */
export const KEPT_SQL = 16_384

/** Not to be prepared. */
export const isOnce = ({ sql, once }: Pick<Statement, 'sql' | 'once'>): boolean => once === true || sql.length > KEPT_SQL

/** The common case, a preamble and one statement, without intermediate arrays. */
export function stepsOf(preamble: Preamble, statement: Statement, first: Step | null, once: boolean): { steps: Step[]; main: number } {
  const scope = preamble.scope
  const toStep = (one: Statement): Step => ({ sql: one.sql, params: one.params, scope, once: once || isOnce(one) })
  const start: Step = once ? { ...preamble.step, once } : preamble.step
  const steps = first === null ? [FORGET, start] : [FORGET, first, start]
  for (const one of statement.before ?? []) steps.push(toStep(one))
  const main = steps.push(toStep(statement)) - 1
  for (const one of statement.after ?? []) steps.push(toStep(one))
  return { steps, main }
}

export const cancelled = (cause?: unknown): SovraError => fail('request_cancelled', {}, { cause })
