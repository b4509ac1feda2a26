import type { Kysely, Selectable, Transaction } from 'kysely'
import { enqueueJob, JobStore, workerOf } from './job-store.ts'
import type { Job, JobRow, JobTables, NewJob } from './job-table.ts'
import { type Log, silentLog } from './log.ts'

export type { Job, NewJob } from './job-table.ts'

export interface JobHandler {
  /** ms without a heartbeat after which another process may claim it; heartbeats go at a third of it. Default 30 s. */
  readonly lease?: number
  /** Runs until it has failed for good; default 10; Infinity: it is never given up. A crash counts as one, an orderly `close()` does not. */
  readonly maxAttempts?: number
  /** How many of this kind run at once in this process; default 4. */
  readonly concurrency?: number
  /** First pause after a failure, doubled each time up to `backoffMost`, with jitter; default 1 s and 10 min. */
  readonly backoff?: number
  readonly backoffMost?: number
  /** Idempotent: at least once. The signal aborts when the lease is lost or the queue closes. `again_at` queues it once more. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most handlers answer nothing
  run(job: Job, signal: AbortSignal): Promise<void | { again_at: number }>
  /** Called once when it failed for good. */
  failed?(job: Job, error: unknown): Promise<void> | void
}

export interface QueueOptions {
  /** Where `jobs` lies, when not on the search path. */
  readonly schema?: string
  /** Looks for what other processes queued each so many ms; 0: only at `poke()` and when something known falls due. Default 1 s. */
  readonly poll?: number
  readonly log?: Log
  readonly now?: () => number
  /** How long `close()` waits for what runs, ms; default 10 s. */
  readonly grace?: number
  /** Of the node whose processes follow each other: see `takeBack`. */
  readonly node?: string
}

export interface Queue {
  handle(kind: string, handler: JobHandler): void
  /** Within a transaction of the caller's: the job is there if and only if that commits. Poke afterwards. */
  enqueue(trx: Kysely<JobTables> | Transaction<JobTables>, job: NewJob): Promise<void>
  poke(): void
  /** Before `start`, where it is known that no other process runs jobs of this kind: what one that was killed has left need not wait for its lease. */
  inherit(kind: string): Promise<void>
  /** When the next unfinished job is due, ms; null: none. */
  nextDue(): Promise<number | null>
  /** What former processes of this node were at when they died is due at once, not when their leases end. Only where none of them lives any more. */
  takeBack(): Promise<void>
  start(): void
  /** Claims nothing more, aborts what runs, waits for it and gives it back uncounted. */
  close(): Promise<void>
}

const LEASE = 30_000
const MAX_ATTEMPTS = 10
const CONCURRENCY = 4
const BACKOFF = 1_000
const BACKOFF_MOST = 600_000
const POLL = 1_000
const GRACE = 10_000
const HEARTBEATS = 3
const PAGE = 50
/** A timer longer than 24.8 days would go off at once. */
const LONGEST_TIMER = 2_147_483_647
const jobOf = (row: Selectable<JobRow>, attempt: number): Job => ({
  id: row.id,
  kind: row.kind,
  key: row.key,
  payload: JSON.parse(row.payload) as unknown,
  attempt,
})

const pauseAfter = ({ backoff = BACKOFF, backoffMost = BACKOFF_MOST }: JobHandler, attempt: number): number =>
  Math.round(Math.min(backoff * 2 ** (attempt - 1), backoffMost) * (0.5 + Math.random() / 2))

interface Running {
  readonly kind: string
  readonly abort: AbortController
  readonly done: Promise<void>
}

/** Keeps the lease while a run works; aborts it when the lease is lost or could not be renewed in time. Answers how to stop. */
function keep(store: JobStore, id: string, lease: number, abort: AbortController, now: () => number): () => void {
  let until = now() + lease
  const beat = setInterval(async () => {
    const next = now() + lease
    try {
      if (await store.beat(id, next)) until = next
      else abort.abort()
    } catch {
      if (now() >= until) abort.abort()
    }
  }, lease / HEARTBEATS)
  return () => clearInterval(beat)
}

/** A queue over any Kysely handle with a `jobs` table: SQLite, PostgreSQL, MySQL, and a project's own cluster. */
export const makeQueue = <T extends JobTables>(database: Kysely<T>, options: QueueOptions = {}): Queue =>
  new JobQueue(database as unknown as Kysely<JobTables>, options)

class JobQueue implements Queue {
  readonly #schema: string | undefined
  readonly #poll: number
  readonly #log: Log
  readonly #now: () => number
  readonly #grace: number
  readonly #store: JobStore
  readonly #handlers = new Map<string, JobHandler>()
  readonly #running = new Map<string, Running>()
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | null = null
  #lookAgain = false
  #open = false

  constructor(database: Kysely<JobTables>, options: QueueOptions) {
    const { schema, poll = POLL, log = silentLog, now = Date.now, grace = GRACE, node } = options
    this.#schema = schema
    this.#poll = poll
    this.#log = log
    this.#now = now
    this.#grace = grace
    this.#store = new JobStore(this.#within(database), workerOf(node), now)
  }

  #within(db: Kysely<JobTables>): Kysely<JobTables> {
    return this.#schema === undefined ? db : db.withSchema(this.#schema)
  }

  handle(kind: string, handler: JobHandler): void {
    this.#handlers.set(kind, handler)
  }

  enqueue(trx: Kysely<JobTables> | Transaction<JobTables>, job: NewJob): Promise<void> {
    return enqueueJob(this.#within(trx), job, this.#now())
  }

  inherit(kind: string): Promise<void> {
    return this.#store.endLeases(kind)
  }

  nextDue(): Promise<number | null> {
    return this.#store.nextDue()
  }

  takeBack(): Promise<void> {
    return this.#store.takeBack()
  }

  start(): void {
    this.#open = true
    this.poke()
  }

  async #failOnce(row: Selectable<JobRow>, handler: JobHandler, attempt: number, error: unknown): Promise<void> {
    const last = attempt >= (handler.maxAttempts ?? MAX_ATTEMPTS)
    const what = { err: error, job: row.id, kind: row.kind, key: row.key, attempt }
    this.#log[last ? 'error' : 'warn'](what, last ? 'job failed for good' : 'job failed')
    if (!last) await this.#store.retry(row, this.#now() + pauseAfter(handler, attempt), error)
    else if (await this.#store.failed(row, error)) await handler.failed?.(jobOf(row, attempt), error)
  }

  async #work(row: Selectable<JobRow>, handler: JobHandler, abort: AbortController): Promise<void> {
    const attempt = row.attempts + 1
    const stop = keep(this.#store, row.id, handler.lease ?? LEASE, abort, this.#now)
    try {
      const again = await handler.run(jobOf(row, attempt), abort.signal)
      if (again) await this.#store.again(row, again.again_at)
      else await this.#store.done(row)
    } catch (error) {
      if (this.#open) await this.#failOnce(row, handler, attempt, error)
      else await this.#store.giveBack(row)
    } finally {
      stop()
    }
  }

  /** True when it runs here now. */
  async #begin(row: Selectable<JobRow>, handler: JobHandler): Promise<boolean> {
    const won = await this.#store.claim(row, handler.lease ?? LEASE, handler.maxAttempts ?? MAX_ATTEMPTS)
    if (won === 'spent') await handler.failed?.(jobOf(row, row.attempts), null)
    if (won !== 'claimed') return false
    const abort = new AbortController()
    const done = this.#work(row, handler, abort)
      .catch((error: unknown) => this.#log.error({ err: error, job: row.id, kind: row.kind }, 'the end of a job could not be written'))
      .finally(() => {
        this.#running.delete(row.id)
        this.poke()
      })
    this.#running.set(row.id, { kind: row.kind, abort, done })
    return true
  }

  /** Kinds of which this process may run more now, with how many. */
  #rooms(): Map<string, number> {
    const free = new Map([...this.#handlers].map(([kind, handler]) => [kind, handler.concurrency ?? CONCURRENCY]))
    for (const { kind } of this.#running.values()) free.set(kind, (free.get(kind) ?? 0) - 1)
    return new Map([...free].filter(([, count]) => count > 0))
  }

  async #fill(): Promise<void> {
    const room = this.#rooms()
    if (room.size === 0) return
    const rows = await this.#store.due([...room.keys()], PAGE)
    for (const row of rows) {
      const left = room.get(row.kind) ?? 0
      const handler = this.#handlers.get(row.kind)
      if (!this.#open || left === 0 || !handler || this.#running.has(row.id)) continue
      if (await this.#begin(row, handler)) room.set(row.kind, left - 1)
    }
    // A full page may hide more; each round claims some, or fills a kind, which then leaves the question.
    if (rows.length === PAGE) this.#lookAgain = true
  }

  async #look(): Promise<void> {
    const at = this.#now()
    do {
      this.#lookAgain = false
      await this.#fill()
    } while (this.#lookAgain && this.#open)
    if (!this.#open) return
    if (this.#poll > 0) return this.#sleepFor(this.#poll)
    const due = await this.#store.nextDue(at)
    if (due !== null) this.#sleepFor(Math.max(due - this.#now(), 0))
  }

  #sleepFor(wait: number): void {
    clearTimeout(this.#timer)
    if (this.#open) this.#timer = setTimeout(() => this.poke(), Math.min(wait, LONGEST_TIMER))
  }

  poke(): void {
    if (!this.#open) return
    if (this.#looking) {
      this.#lookAgain = true
      return
    }
    this.#looking = this.#look()
      .catch((error: unknown) => {
        this.#log.warn({ err: error }, 'jobs could not be read')
        this.#sleepFor(Math.max(this.#poll, POLL))
      })
      .finally(() => {
        this.#looking = null
        // Poked after the last round, while it was looking for the next due time.
        if (this.#lookAgain) this.poke()
      })
  }

  async close(): Promise<void> {
    this.#open = false
    clearTimeout(this.#timer)
    await this.#looking
    for (const { abort } of this.#running.values()) abort.abort()
    const all = Promise.all([...this.#running.values()].map(({ done }) => done))
    const patience = Promise.withResolvers<void>()
    const limit = setTimeout(patience.resolve, this.#grace)
    // What does not heed its signal is left to its lease.
    await Promise.race([all, patience.promise])
    clearTimeout(limit)
  }
}
