import type { Kysely, Selectable, Transaction } from 'kysely'
import { insertIfAbsent } from './db/insert.ts'
import { isSovraError } from './errors.ts'
import { uuid } from './ids.ts'
import type { JobRow, JobTables } from './job-table.ts'
import { type Log, silentLog } from './log.ts'

export interface NewJob {
  readonly kind: string
  /** What it is about; a second one of the same kind and key joins the first while that is unfinished. */
  readonly key: string
  readonly payload?: unknown
  /** ms since the epoch; default now. */
  readonly due_at?: number
}

export interface Job {
  readonly id: string
  readonly kind: string
  readonly key: string
  readonly payload: unknown
  /** 1 at the first run. */
  readonly attempt: number
}

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
  run(job: Job, signal: AbortSignal): Promise<undefined | { again_at: number }>
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
const ENQUEUE_ROUNDS = 5
const UNFINISHED = ['queued', 'running']

/** What is kept of an error: its code, never a foreign text, which may quote people's values. */
function errorText(error: unknown): string {
  if (isSovraError(error)) return `${error.code}: ${error.message}`
  const { name, code } = error as { name?: unknown; code?: unknown }
  return [name ?? 'Error', code].filter((part) => part !== undefined).join(' ')
}

const jobOf = (row: Selectable<JobRow>, attempt: number): Job => ({
  id: row.id,
  kind: row.kind,
  key: row.key,
  payload: JSON.parse(row.payload) as unknown,
  attempt,
})

/** A queue over any Kysely handle with a `jobs` table: SQLite, PostgreSQL, MySQL, and a project's own cluster. */
export function makeQueue<T extends JobTables>(database: Kysely<T>, options: QueueOptions = {}): Queue {
  const { schema, poll = POLL, log = silentLog, now = Date.now, grace = GRACE } = options
  const worker = uuid()
  const handlers = new Map<string, JobHandler>()
  const running = new Map<string, { kind: string; abort: AbortController; done: Promise<void> }>()
  const within = (db: unknown) => (schema === undefined ? (db as Kysely<JobTables>) : (db as Kysely<JobTables>).withSchema(schema))
  const db = within(database)
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | null = null
  let lookAgain = false
  let open = false

  async function enqueue(trx: Kysely<JobTables>, job: NewJob): Promise<void> {
    const handle = within(trx)
    const payload = JSON.stringify(job.payload ?? null)
    const due_at = job.due_at ?? now()
    for (let round = 0; round < ENQUEUE_ROUNDS; round++) {
      const row = { id: uuid(), kind: job.kind, key: job.key, payload, state: 'queued', attempts: 0, max_attempts: 0, due_at, wanted: 1 }
      const rest = { leased_until: null, leased_by: null, last_error: null, created_at: now(), finished_at: null }
      if (await insertIfAbsent(handle, 'jobs', { ...row, ...rest })) return
      const joined = await handle
        .updateTable('jobs')
        .set((eb) => ({
          wanted: eb('wanted', '+', 1),
          payload,
          // The earlier of both for one that waits; what runs now is run again when it is through.
          due_at: eb
            .case()
            .when(eb.and([eb('state', '=', 'queued'), eb('due_at', '<', due_at)]))
            .then(eb.ref('due_at'))
            .else(due_at)
            .end(),
        }))
        .where('kind', '=', job.kind)
        .where('key', '=', job.key)
        .where('state', 'in', UNFINISHED)
        .executeTakeFirst()
      // None: it ended between our two statements, so now there is room for a new one.
      if (joined.numUpdatedRows > 0n) return
    }
  }

  /** Only while it is still ours, and in the state that we left it. */
  const ours = (id: string) => db.updateTable('jobs').where('id', '=', id).where('leased_by', '=', worker).where('state', '=', 'running')
  const released = { leased_until: null, leased_by: null }

  async function finish(row: Selectable<JobRow>, again: { again_at: number } | undefined): Promise<void> {
    const end = again ? { state: 'queued', attempts: 0, due_at: again.again_at } : { state: 'done', finished_at: now() }
    const ended = await ours(row.id)
      .where('wanted', '=', row.wanted)
      .set({ ...released, ...end, last_error: null })
      .executeTakeFirst()
    // Asked for once more while it ran: what it saw may be old, so it runs again with a fresh count.
    if (ended.numUpdatedRows === 0n)
      await ours(row.id)
        .set({ ...released, state: 'queued', attempts: 0 })
        .execute()
  }

  async function failOnce(row: Selectable<JobRow>, handler: JobHandler, attempt: number, error: unknown): Promise<void> {
    const last = attempt >= (handler.maxAttempts ?? MAX_ATTEMPTS)
    log[last ? 'error' : 'warn'](
      { err: error, job: row.id, kind: row.kind, key: row.key, attempt },
      last ? 'job failed for good' : 'job failed',
    )
    const wait =
      Math.min((handler.backoff ?? BACKOFF) * 2 ** (attempt - 1), handler.backoffMost ?? BACKOFF_MOST) * (0.5 + Math.random() / 2)
    const end = last ? { state: 'failed', finished_at: now() } : { state: 'queued', due_at: now() + Math.round(wait) }
    const ended = await ours(row.id)
      .where('wanted', '=', row.wanted)
      .set({ ...released, ...end, last_error: errorText(error) })
      .executeTakeFirst()
    if (ended.numUpdatedRows > 0n) {
      if (last) await handler.failed?.(jobOf(row, attempt), error)
      return
    }
    await ours(row.id)
      .set({ ...released, state: 'queued', attempts: 0, last_error: errorText(error) })
      .execute()
  }

  /** Keeps the lease while `run` works; aborts it when the lease is lost or could not be renewed in time. */
  function keep(id: string, lease: number, abort: AbortController): () => void {
    let until = now() + lease
    const beat = setInterval(async () => {
      const next = now() + lease
      try {
        const kept = await ours(id).set({ leased_until: next }).executeTakeFirst()
        if (kept.numUpdatedRows > 0n) until = next
        else abort.abort()
      } catch {
        if (now() >= until) abort.abort()
      }
    }, lease / HEARTBEATS)
    return () => clearInterval(beat)
  }

  async function work(row: Selectable<JobRow>, handler: JobHandler, abort: AbortController): Promise<void> {
    const attempt = row.attempts + 1
    const stop = keep(row.id, handler.lease ?? LEASE, abort)
    try {
      const again = await handler.run(jobOf(row, attempt), abort.signal)
      await finish(row, again)
    } catch (error) {
      if (open) await failOnce(row, handler, attempt, error)
      else
        await ours(row.id)
          .set({ ...released, state: 'queued', attempts: row.attempts })
          .execute()
    } finally {
      stop()
    }
  }

  const claimable = (at: number) =>
    db
      .selectFrom('jobs')
      .selectAll()
      .where((eb) =>
        eb.or([
          eb.and([eb('state', '=', 'queued'), eb('due_at', '<=', at)]),
          eb.and([eb('state', '=', 'running'), eb('leased_until', '<', at)]),
        ]),
      )

  /** Optimistic, without locks: of several that try, one sees its row changed. */
  async function claim(row: Selectable<JobRow>, handler: JobHandler): Promise<boolean> {
    const spent = row.attempts >= (handler.maxAttempts ?? MAX_ATTEMPTS)
    const set = spent
      ? { ...released, state: 'failed', finished_at: now(), last_error: row.last_error ?? 'its process ended at each attempt' }
      : { state: 'running', attempts: row.attempts + 1, leased_by: worker, leased_until: now() + (handler.lease ?? LEASE) }
    const update = db
      .updateTable('jobs')
      .set({ ...set, max_attempts: handler.maxAttempts ?? MAX_ATTEMPTS })
      .where('id', '=', row.id)
      .where('state', '=', row.state)
      .where('attempts', '=', row.attempts)
      .where('wanted', '=', row.wanted)
    const lease = row.leased_until === null ? update.where('leased_until', 'is', null) : update.where('leased_until', '=', row.leased_until)
    const won = (await lease.executeTakeFirst()).numUpdatedRows > 0n
    if (won && spent) await handler.failed?.(jobOf(row, row.attempts), null)
    return won && !spent
  }

  function begin(row: Selectable<JobRow>, handler: JobHandler): void {
    const abort = new AbortController()
    const done = work(row, handler, abort)
      .catch((error: unknown) => log.error({ err: error, job: row.id, kind: row.kind }, 'the end of a job could not be written'))
      .finally(() => {
        running.delete(row.id)
        poke()
      })
    running.set(row.id, { kind: row.kind, abort, done })
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
    const rows = await claimable(now())
      .where('kind', 'in', [...room.keys()])
      .orderBy('due_at')
      .orderBy('id')
      .limit(PAGE)
      .execute()
    for (const row of rows) {
      const left = room.get(row.kind) ?? 0
      const handler = handlers.get(row.kind)
      if (!open || left === 0 || !handler || running.has(row.id) || !(await claim(row, handler))) continue
      room.set(row.kind, left - 1)
      begin(row, handler)
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
    const due = await nextDue(at)
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

  async function nextDue(after = Number.NEGATIVE_INFINITY): Promise<number | null> {
    const since = Math.max(after, 0)
    const queued = await db
      .selectFrom('jobs')
      .select('due_at as at')
      .where('state', '=', 'queued')
      .where('due_at', '>', since)
      .orderBy('due_at')
      .limit(1)
      .executeTakeFirst()
    const leased = await db
      .selectFrom('jobs')
      .select('leased_until as at')
      .where('state', '=', 'running')
      .where('leased_by', '!=', worker)
      .orderBy('leased_until')
      .limit(1)
      .executeTakeFirst()
    const times = [queued?.at, leased?.at].filter((at) => typeof at === 'number')
    return times.length > 0 ? Math.min(...times) : null
  }

  async function close(): Promise<void> {
    open = false
    clearTimeout(timer)
    await looking
    for (const { abort } of running.values()) abort.abort()
    const all = Promise.all([...running.values()].map(({ done }) => done))
    let patience: NodeJS.Timeout | undefined
    // What does not heed its signal is left to its lease.
    await Promise.race([all, new Promise((resolve) => (patience = setTimeout(resolve, grace)))])
    clearTimeout(patience)
  }

  return {
    handle: (kind, handler) => void handlers.set(kind, handler),
    enqueue,
    poke,
    nextDue: () => nextDue(),
    start() {
      open = true
      poke()
    },
    close,
  }
}
