import { fail, type SovraError } from '../../../../base/errors.ts'
import type { Connection } from './connection.ts'
import { connectionLost } from './errors.ts'
import { Exchange, type Step } from './exchange.ts'
import { cancelled, FORGET, isOnce, type Preamble, type RunOptions, type Statement } from './job.ts'
import type { Result } from './result.ts'

const plain = (sql: string): Step => ({ sql, params: [], scope: '' })
const BEGIN = plain('begin')
const BEGIN_READ_ONLY = plain('begin read only')
const COMMIT = plain('commit')
const ROLLBACK = plain('rollback')

/** An open transaction under one identity. */
export class Transaction {
  readonly #connection: Connection
  readonly #preamble: Preamble
  readonly #options: RunOptions
  readonly #limits: Step | null
  readonly #maxBytes: number
  #begun = false
  #committed = false
  #aborted = false
  #failed: SovraError | null = null
  #running = 0

  constructor(connection: Connection, preamble: Preamble, options: RunOptions, limits: Step | null, maxBytes: number) {
    this.#connection = connection
    this.#preamble = preamble
    this.#options = options
    this.#limits = limits
    this.#maxBytes = maxBytes
  }

  /** Nothing of it runs at this moment. */
  get idle(): boolean {
    return this.#running === 0
  }

  /** Its client went away: nothing more is run, and it will be rolled back. */
  abort(): void {
    this.#aborted = true
    this.#failed ??= cancelled()
  }

  /**
   * Runs a statement in the transaction. After an error the transaction can only be rolled back. `last`: COMMIT travels with it, and nothing
   * may follow; where the statement fails, the server skips what is behind it.
   */
  async query(statement: Statement, { last = false } = {}): Promise<Result> {
    if (this.#failed !== null) throw this.#failed
    if (this.#committed) throw fail('internal', {}, { cause: 'the transaction has ended' })
    const first = !this.#begun
    this.#begun = true
    this.#committed = last
    try {
      return await this.#run(statement, { first, last })
    } catch (caught) {
      const exchange = caught as Exchange
      if (first && exchange.stale) return this.#afresh(statement, last)
      throw this.#fail(exchange)
    }
  }

  #run(statement: Statement, { first = false, last = false, once = false }): Promise<Result> {
    const { before = [], after = [] } = statement
    const steps: Step[] = [...before, statement, ...after].map((one) => ({
      sql: one.sql,
      params: one.params,
      scope: this.#preamble.scope,
      once: once || isOnce(one),
    }))
    // What is before one Sync is a transaction by itself: one that begins and ends with this statement needs no word for either.
    const alone = first && last && this.#begin === BEGIN
    const opening = first ? [...(alone ? [] : [this.#begin]), ...this.#opening()] : []
    const ending = last && !alone ? [COMMIT] : []
    return this.#send([...opening, ...steps, ...ending], after.length + ending.length)
  }

  /** Runs `fn`, then COMMIT; or ROLLBACK when it rejects, when a statement failed, or when it was aborted. */
  async around<R>(fn: (tx: Transaction) => Promise<R>): Promise<R> {
    try {
      const value = await fn(this)
      if (this.#failed !== null) throw this.#failed
      if (this.#begun && !this.#committed) await this.#end(COMMIT)
      return value
    } catch (error) {
      if (this.#connection.inTransaction && !this.#connection.ended)
        await this.#end(ROLLBACK).catch(() => this.#connection.destroy('no rollback'))
      throw this.#aborted ? cancelled(error) : error
    }
  }

  get #begin(): Step {
    const { readOnly, isolation } = this.#options
    const plainly = readOnly === true ? BEGIN_READ_ONLY : BEGIN
    return isolation === undefined ? plainly : plain(`${plainly.sql} isolation level ${isolation}`)
  }

  #opening(): Step[] {
    return this.#limits === null ? [FORGET, this.#preamble.step] : [FORGET, this.#limits, this.#preamble.step]
  }

  /** A stale plan of the first statement: nothing was done yet, so the whole begins again with new plans. */
  async #afresh(statement: Statement, last: boolean): Promise<Result> {
    try {
      if (this.#connection.inTransaction) await this.#send([ROLLBACK])
      return await this.#run(statement, { first: true, last, once: true })
    } catch (caught) {
      throw this.#fail(caught as Exchange)
    }
  }

  async #end(step: Step): Promise<void> {
    try {
      await this.#send([step])
    } catch (caught) {
      throw this.#fail(caught as Exchange)
    }
  }

  #fail(exchange: Exchange): SovraError {
    this.#failed = exchange.error ?? fail('internal')
    return this.#failed
  }

  /** The result is that of the last step but `after`. Rejects with the exchange itself. */
  #send(steps: Step[], after = 0): Promise<Result> {
    const maxBytes = this.#options.maxBytes ?? this.#maxBytes
    return new Promise((resolve, reject) => {
      const done = (exchange: Exchange) => {
        this.#running--
        if (exchange.error === null) resolve(exchange.result!)
        else reject(exchange)
      }
      const exchange = new Exchange(steps, steps.length - 1 - after, { done }, maxBytes)
      if (this.#connection.ended) {
        exchange.error = connectionLost('it was closed', !this.#begun)
        return reject(exchange)
      }
      this.#running++
      this.#connection.send(exchange)
    })
  }
}
