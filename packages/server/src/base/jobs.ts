import type { Kysely, Selectable, Transaction } from 'kysely'
import { uuid } from './ids.ts'
import { enqueueJob, jobStore } from './job-store.ts'
import type { Job, JobRow, JobTables, NewJob } from './job-table.ts'
import { type Log, silentLog } from './log.ts'

export type { Job, NewJob } from './job-table.ts'

export interface JobHandler {
  /** ms without a heartbeat after which another process may claim it; heartbeats go at a third of it. Default 30 s. */
  readonly lease?: number
  /** Runs until it has failed for good; default 10. A crash counts as one, an orderly `close()` does not. */
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
}

export interface Queue {
  handle(kind: string, handler: JobHandler): void
  /** Within a transaction of the caller's: the job is there if and only if that commits. Poke afterwards. */
  enqueue(trx: Kysely<JobTables> | Transaction<JobTables>, job: NewJob): Promise<void>
  poke(): void
  /** When the next unfinished job is due, ms; null: none. */
  nextDue(): Promise<number | null>
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

type Store = ReturnType<typeof jobStore>
interface Running {
  readonly kind: string
  readonly abort: AbortController
  readonly done: Promise<void>
}

/** Keeps the lease while a run works; aborts it when the lease is lost or could not be renewed in time. Answers how to stop. */
function keep(store: Store, id: string, lease: number, abort: AbortController, now: () => number): () => void {
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
export function makeQueue<T extends JobTables>(database: Kysely<T>, options: QueueOptions = {}): Queue {
  const { schema, poll = POLL, log = silentLog, now = Date.now, grace = GRACE } = options
  const within = (db: unknown) => (schema === undefined ? (db as Kysely<JobTables>) : (db as Kysely<JobTables>).withSchema(schema))
  const store = jobStore(within(database), uuid(), now)
  const handlers = new Map<string, JobHandler>()
  const running = new Map<string, Running>()
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | null = null
  let lookAgain = false
  let open = false

  async function failOnce(row: Selectable<JobRow>, handler: JobHandler, attempt: number, error: unknown): Promise<void> {
    const last = attempt >= (handler.maxAttempts ?? MAX_ATTEMPTS)
    const what = { err: error, job: row.id, kind: row.kind, key: row.key, attempt }
    log[last ? 'error' : 'warn'](what, last ? 'job failed for good' : 'job failed')
    if (!last) await store.retry(row, now() + pauseAfter(handler, attempt), error)
    else if (await store.failed(row, error)) await handler.failed?.(jobOf(row, attempt), error)
  }

  async function work(row: Selectable<JobRow>, handler: JobHandler, abort: AbortController): Promise<void> {
    const attempt = row.attempts + 1
    const stop = keep(store, row.id, handler.lease ?? LEASE, abort, now)
    try {
      const again = await handler.run(jobOf(row, attempt), abort.signal)
      if (again) await store.again(row, again.again_at)
      else await store.done(row)
    } catch (error) {
      if (open) await failOnce(row, handler, attempt, error)
      else await store.giveBack(row)
    } finally {
      stop()
    }
  }

  /** True when it runs here now. */
  async function begin(row: Selectable<JobRow>, handler: JobHandler): Promise<boolean> {
    const won = await store.claim(row, handler.lease ?? LEASE, handler.maxAttempts ?? MAX_ATTEMPTS)
    if (won === 'spent') await handler.failed?.(jobOf(row, row.attempts), null)
    if (won !== 'claimed') return false
    const abort = new AbortController()
    const done = work(row, handler, abort)
      .catch((error: unknown) => log.error({ err: error, job: row.id, kind: row.kind }, 'the end of a job could not be written'))
      .finally(() => {
        running.delete(row.id)
        poke()
      })
    running.set(row.id, { kind: row.kind, abort, done })
    return true
  }

  /** Kinds of which this process may run more now, with how many. */
  function rooms(): Map<string, number> {
    const free = new Map([...handlers].map(([kind, handler]) => [kind, handler.concurrency ?? CONCURRENCY]))
    for (const { kind } of running.values()) free.set(kind, (free.get(kind) ?? 0) - 1)
    return new Map([...free].filter(([, count]) => count > 0))
  }

  async function fill(): Promise<void> {
    const room = rooms()
    if (room.size === 0) return
    const rows = await store.due([...room.keys()], PAGE)
    for (const row of rows) {
      const left = room.get(row.kind) ?? 0
      const handler = handlers.get(row.kind)
      if (!open || left === 0 || !handler || running.has(row.id)) continue
      if (await begin(row, handler)) room.set(row.kind, left - 1)
    }
    // A full page may hide more; each round claims some, or fills a kind, which then leaves the question.
    if (rows.length === PAGE) lookAgain = true
  }

  async function look(): Promise<void> {
    const at = now()
    do {
      lookAgain = false
      await fill()
    } while (lookAgain && open)
    if (!open) return
    if (poll > 0) return sleepFor(poll)
    const due = await store.nextDue(at)
    if (due !== null) sleepFor(Math.max(due - now(), 0))
  }

  function sleepFor(wait: number): void {
    clearTimeout(timer)
    if (open) timer = setTimeout(poke, Math.min(wait, LONGEST_TIMER))
  }

  function poke(): void {
    if (!open) return
    if (looking) {
      lookAgain = true
      return
    }
    looking = look()
      .catch((error: unknown) => {
        log.warn({ err: error }, 'jobs could not be read')
        sleepFor(Math.max(poll, POLL))
      })
      .finally(() => {
        looking = null
        // Poked after the last round, while it was looking for the next due time.
        if (lookAgain) poke()
      })
  }

  async function close(): Promise<void> {
    open = false
    clearTimeout(timer)
    await looking
    for (const { abort } of running.values()) abort.abort()
    const all = Promise.all([...running.values()].map(({ done }) => done))
    const patience = Promise.withResolvers<void>()
    const limit = setTimeout(patience.resolve, grace)
    // What does not heed its signal is left to its lease.
    await Promise.race([all, patience.promise])
    clearTimeout(limit)
  }

  return {
    handle: (kind, handler) => void handlers.set(kind, handler),
    enqueue: (trx, job) => enqueueJob(within(trx), job, now()),
    poke,
    nextDue: () => store.nextDue(),
    start() {
      open = true
      poke()
    },
    close,
  }
}
