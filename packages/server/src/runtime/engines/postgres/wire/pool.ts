import type { Readable } from 'node:stream'
import { fail } from '../../../../base/errors.ts'
import type { Connection } from './connection.ts'
import { connectionLost, fieldsOfError, overloaded, toSovraError } from './errors.ts'
import { type Exchange, MAX_STEPS, type RowSink, type Step } from './exchange.ts'
import { Exclusive } from './exclusive.ts'
import { cancelled, type Gone, Job, type JobOwner, type Preamble, type RunOptions, type Statement, stepsOf } from './job.ts'
import type { PoolMetrics } from './metrics.ts'
import { type PoolOptions, type Setup, setUp } from './options.ts'
import type { Result } from './result.ts'
import { Shapes } from './shapes.ts'
import { Shared } from './shared.ts'
import { rowStream, type StreamOptions } from './stream.ts'
import { Transaction } from './transaction.ts'

const NO_OPTIONS: RunOptions = {}
const SWEEP_EVERY = 1_000
const MAX_RETRIES = 2
const QUERY_CANCELED = '57014'
const READ_ONLY_TRANSACTION = '25006'

/**
 * Connections to one cluster. Each `run` is one implicit transaction in one round trip, its preamble included; quick reads share
 * pipelined connections, all else has one of its own for its time.
 */
export class PipelinePool implements JobOwner {
  readonly metrics: PoolMetrics
  /** Search path of its sessions. */
  readonly searchPath: string
  readonly #setup: Setup
  readonly #shared: Shared
  readonly #exclusive: Exclusive
  readonly #shapes: Shapes
  #sweeper: NodeJS.Timeout | null = null
  #closing = false
  /** Called when the last open request is answered, while closing. */
  #drained: (() => void) | null = null
  #open = 0

  constructor(options: PoolOptions) {
    this.#setup = setUp(options)
    this.metrics = this.#setup.metrics
    this.searchPath = options.searchPath
    this.#shared = new Shared(this.#setup)
    this.#exclusive = new Exclusive(this.#setup)
    this.#shapes = new Shapes(this.#setup.limits, this.#setup.now)
  }

  /** Requests under way or waiting, and connections: for gauges. */
  get load(): { open: number; waiting: number; shared: number; exclusive: number; exclusiveBusy: number } {
    return {
      open: this.#open,
      waiting: this.#exclusive.waiting,
      shared: this.#shared.connections.length,
      exclusive: this.#exclusive.connections.size,
      exclusiveBusy: this.#exclusive.busy,
    }
  }

  /**
   * Runs the statement after its preamble. Rejects with `database_error` (PostgreSQL's words in details), `connection_lost`,
   * `overloaded`, `request_cancelled`, `result_too_large` or `statement_unsupported`.
   */
  run(preamble: Preamble, statement: Statement, options: RunOptions = NO_OPTIONS): Promise<Result> {
    return new Promise((resolve, reject) => {
      const job = new Job(this, preamble, statement, options, this.#setup.limits.maxBytes, resolve, reject)
      this.#admit(job)
    })
  }

  /** ms until a statement is ended, where its request says nothing else. */
  get timeout(): number {
    return this.#setup.limits.timeout
  }

  /**
   * The rows of a statement with one column, as bytes while they come, on a connection of its own. Resolves with the first bytes or the end,
   * so that an error before any row rejects; a later one destroys the stream. Destroying the stream cancels the statement.
   */
  stream(preamble: Preamble, statement: Statement, options: RunOptions & StreamOptions = NO_OPTIONS): Promise<Readable> {
    return rowStream(options, (sink: RowSink, resolve, reject) => {
      const job = new Job(this, preamble, statement, { ...options, exclusive: true }, Number.POSITIVE_INFINITY, resolve, reject)
      job.sink = sink
      this.#admit(job)
      return {
        resume: () => job.connection?.resume(),
        cancel: () => this.#abort(job),
      }
    })
  }

  /**
   * An interactive transaction on a connection of its own, for callers that must look at a result before COMMIT. BEGIN and the preamble
   * travel with the first statement. Commits when `fn` resolves; a rejection rolls back and is passed on.
   */
  async transaction<R>(preamble: Preamble, fn: (tx: Transaction) => Promise<R>, options: RunOptions = NO_OPTIONS): Promise<R> {
    const signal = signalOf(options)
    const connection = await this.#lease(signal)
    const tx = new Transaction(connection, preamble, options, this.#limitsStep(options, false), this.#setup.limits.maxBytes)
    const onAbort = () => {
      tx.abort()
      this.#exclusive.cancel(connection, () => tx.idle)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await tx.around(fn)
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#exclusive.release(connection)
      this.#closed()
    }
  }

  /** The schema changed: prepared statements and what was learnt of them are forgotten. */
  invalidate(): void {
    this.#shapes.clear()
    this.#shared.invalidate()
    this.#exclusive.invalidate()
  }

  /** Takes nothing more, waits for what is open for at most `limit` ms, then ends all connections. */
  async close(limit = 5_000): Promise<void> {
    this.#closing = true
    if (this.#open > 0 && limit > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, limit)
        this.#drained = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    if (this.#sweeper !== null) clearTimeout(this.#sweeper)
    this.#shared.close()
    await this.#exclusive.close()
  }

  /** Closes unused connections and refuses those who waited too long; runs by itself while there is something to do. */
  sweep(): void {
    const before = this.#setup.now() - this.#setup.limits.idleTimeout
    this.#shared.trim(before)
    this.#exclusive.trim(before)
  }

  /** For jobs: their way begins, or begins again. */
  start(job: Job): void {
    try {
      if (!job.alone && this.#mayShare(job)) {
        if (job.steps.length === 0) this.#compose(job, null)
        if (!this.#shared.dispatch(job)) this.#refuse(job)
      } else this.#startAlone(job)
    } catch (error) {
      job.connection = null
      job.fail(toSovraError(error))
    }
  }

  granted(job: Job, connection: Connection): void {
    try {
      this.#compose(job, this.#limitsStep(job.options, job.options.readOnly === true))
      job.connection = connection
      connection.send(job)
    } catch (error) {
      job.connection = null
      job.fail(toSovraError(error))
      this.#exclusive.release(connection)
    }
  }

  settled(job: Job): void {
    if (job.onAbort !== null) job.signal?.removeEventListener('abort', job.onAbort)
    job.onAbort = null
    this.#closed()
  }

  done(exchange: Exchange): void {
    const job = exchange as Job
    const connection = job.connection
    job.connection = null
    const error = job.error
    const wasAlone = job.alone
    if (error === null) {
      this.#shapes.seen(job.statement.sql, job.elapsed, job.bytes, job.parsing !== null)
      job.succeed(job.result!)
    } else if (!this.#again(job)) {
      this.metrics.errors++
      job.fail(job.aborted ? cancelled(error) : error)
    }
    if (wasAlone && connection !== null) this.#exclusive.release(connection)
  }

  #admit(job: Job): void {
    this.metrics.queries++
    this.#open++
    if (this.#closing) job.fail(connectionLost('the pool is closed', true))
    else this.start(job)
  }

  #startAlone(job: Job): void {
    job.alone = true
    job.steps = []
    this.#listen(job)
    if (!job.settled && !this.#exclusive.acquire(job)) this.#refuse(job)
    this.#arm()
  }

  #mayShare(job: Job): boolean {
    const { options, statement } = job
    if (options.exclusive === true) return false
    if (options.quick !== true && options.readOnly !== true) return false
    return this.#shapes.mayShare(statement.sql, options.quick === true)
  }

  #compose(job: Job, first: Step | null): void {
    const { steps, main } = stepsOf(job.preamble, job.statement, first, job.retries > 0)
    if (steps.length > MAX_STEPS) throw fail('statement_unsupported', { reason: `more than ${MAX_STEPS} statements` })
    job.steps = steps
    job.main = main
  }

  /** Settings of this request that differ from its session's; null in the common case. */
  #limitsStep(options: RunOptions, readOnly: boolean): Step | null {
    const timeout = options.timeout !== undefined && options.timeout !== this.#setup.limits.timeout ? options.timeout : null
    if (timeout === null && !readOnly) return null
    const sql = `select where ${timeout === null ? '' : `set_config('statement_timeout', $1, true) is null${readOnly ? ' or ' : ''}`}${
      readOnly ? `set_config('transaction_read_only', 'on', true) is null` : ''
    }`
    return { sql, params: timeout === null ? [] : [String(Math.max(1, Math.round(timeout)))], scope: '' }
  }

  /** Whether the failed job was started again: nothing of it took effect, and the fault may lie with its connection. */
  #again(job: Job): boolean {
    if (job.retries >= MAX_RETRIES || job.aborted || job.settled || this.#closing || (job.sink !== null && job.bytes > 0)) return false
    const sqlstate = fieldsOfError(job.error)?.sqlstate
    if (!job.alone && sqlstate === QUERY_CANCELED) {
      this.#shapes.slow(job.statement.sql)
      job.alone = true
    } else if (!job.alone && sqlstate === READ_ONLY_TRANSACTION && job.options.readOnly !== true) {
      this.#shapes.writes(job.statement.sql)
      job.alone = true
    } else if (job.lost) {
      // A shared connection can only read, so what ran there may run again.
      const details = job.error?.code === 'connection_lost' ? (job.error.details as { retriable: boolean }) : null
      if (details === null || (job.alone && !details.retriable)) return false
    } else if (!job.stale) return false
    this.metrics.retried++
    job.reset()
    job.retries++
    job.steps = []
    this.start(job)
    return true
  }

  #listen(job: Job): void {
    const signal = signalOf(job.options)
    if (signal === null || job.signal !== null) return
    job.signal = signal
    if (signal.aborted) {
      this.#abort(job)
      return
    }
    job.onAbort = () => this.#abort(job)
    signal.addEventListener('abort', job.onAbort, { once: true })
  }

  #abort(job: Job): void {
    if (job.settled) return
    job.aborted = true
    const connection = job.connection
    if (connection === null) {
      job.fail(cancelled())
      return
    }
    connection.resume()
    if (job.alone) this.#exclusive.cancel(connection, () => job.connection !== connection)
  }

  #refuse(job: Job): void {
    this.metrics.overloaded++
    job.fail(overloaded('too many requests wait'))
  }

  async #lease(signal: Gone | null): Promise<Connection> {
    if (this.#closing) throw connectionLost('the pool is closed', true)
    if (signal?.aborted === true) throw cancelled()
    this.metrics.queries++
    this.#open++
    try {
      return await new Promise<Connection>((grant, refuse) => {
        if (!this.#exclusive.acquire({ abandoned: false, grant, fail: refuse })) {
          this.metrics.overloaded++
          refuse(overloaded('too many requests wait'))
        }
        this.#arm()
      })
    } catch (error) {
      this.#closed()
      throw error
    }
  }

  #closed(): void {
    this.#open--
    if (this.#open === 0) this.#drained?.()
  }

  #arm(): void {
    if (this.#sweeper !== null || this.#closing) return
    this.#sweeper = setTimeout(() => {
      this.#sweeper = null
      this.sweep()
      if (this.#exclusive.connections.size > 0 || this.#exclusive.waiting > 0 || this.#shared.connections.length > 1) this.#arm()
    }, SWEEP_EVERY)
    this.#sweeper.unref()
  }
}

function signalOf(options: RunOptions): Gone | null {
  const signal = options.signal
  return (typeof signal === 'function' ? signal() : signal) ?? null
}
