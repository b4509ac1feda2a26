import type { Kysely, Selectable } from 'kysely'
import { sha256 } from './crypto.ts'
import { insertIfAbsent } from './db/insert.ts'
import { isSovraError } from './errors.ts'
import { uuid } from './ids.ts'
import type { JobRow, JobTables, NewJob } from './job-table.ts'

type Row = Selectable<JobRow>

const ENQUEUE_ROUNDS = 5
/** Of a column of 32 bits: PostgreSQL and MariaDB refuse more. */
const LARGEST_INT = 2 ** 31 - 1
const UNFINISHED = ['queued', 'running']
/** Of a worker's name: which node it is of, and which process. Together as long as the column. */
const NODE_CHARACTERS = 11
const PROCESS_CHARACTERS = 24
const RELEASED = { leased_until: null, leased_by: null }

/** A new worker; those of one node have the beginning of their names in common. */
export function workerOf(node: string | undefined): string {
  if (node === undefined) return uuid()
  return `${sha256(node).slice(0, NODE_CHARACTERS)}.${uuid().replaceAll('-', '').slice(-PROCESS_CHARACTERS)}`
}

/** What is kept of an error: its code, never a foreign text, which may quote people's values. */
function errorText(error: unknown): string {
  if (isSovraError(error)) return `${error.code}: ${error.message}`
  const { name, code } = Object(error) as { name?: unknown; code?: unknown }
  return [name ?? 'Error', code].filter((part) => part !== undefined).join(' ')
}

/** Within the caller's transaction. One unfinished job per (kind, key): a second one joins it, and what it asks for is done with a fresh count. */
export async function enqueueJob(db: Kysely<JobTables>, job: NewJob, now: number): Promise<void> {
  const payload = JSON.stringify(job.payload ?? null)
  const due_at = job.due_at ?? now
  for (let round = 0; round < ENQUEUE_ROUNDS; round++) {
    const row = { id: uuid(), kind: job.kind, key: job.key, payload, state: 'queued', attempts: 0, max_attempts: 0, due_at, wanted: 1 }
    if (await insertIfAbsent(db, 'jobs', { ...row, ...RELEASED, last_error: null, created_at: now, finished_at: null })) return
    const joined = await db
      .updateTable('jobs')
      .set((eb) => ({
        wanted: eb('wanted', '+', 1),
        attempts: 0,
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

/** What one worker reads and writes of the table; every write holds only while the row is as the worker left it. */
export class JobStore {
  readonly #db: Kysely<JobTables>
  readonly #worker: string
  readonly #now: () => number

  constructor(db: Kysely<JobTables>, worker: string, now: () => number) {
    this.#db = db
    this.#worker = worker
    this.#now = now
  }

  #ours(id: string) {
    return this.#db.updateTable('jobs').where('id', '=', id).where('leased_by', '=', this.#worker).where('state', '=', 'running')
  }

  /** False: it was asked for once more while it ran (what it saw may be old), so it is queued again with a fresh count. Or it is ours no more. */
  async #end(row: Row, values: Partial<JobRow>): Promise<boolean> {
    const ended = await this.#ours(row.id)
      .where('wanted', '=', row.wanted)
      .set({ ...RELEASED, ...values })
      .executeTakeFirst()
    if (ended.numUpdatedRows > 0n) return true
    const { last_error = null } = values
    await this.#ours(row.id)
      .set({ ...RELEASED, state: 'queued', attempts: 0, last_error })
      .execute()
    return false
  }

  /** Due, or left by a worker whose lease ended. */
  due(kinds: readonly string[], limit: number): Promise<Row[]> {
    return this.#db
      .selectFrom('jobs')
      .selectAll()
      .where('kind', 'in', [...kinds])
      .where((eb) =>
        eb.or([
          eb.and([eb('state', '=', 'queued'), eb('due_at', '<=', this.#now())]),
          eb.and([eb('state', '=', 'running'), eb('leased_until', '<', this.#now())]),
        ]),
      )
      .orderBy('due_at')
      .orderBy('id')
      .limit(limit)
      .execute()
  }

  /** As if the leases of this node's other workers had ended. */
  async takeBack(): Promise<void> {
    const node = this.#worker.slice(0, NODE_CHARACTERS + 1)
    if (!node.endsWith('.')) return
    await this.#db
      .updateTable('jobs')
      .set({ leased_until: 0 })
      .where('state', '=', 'running')
      .where('leased_by', 'like', `${node}%`)
      .where('leased_by', '!=', this.#worker)
      .execute()
  }

  /** Optimistic, without locks: of several that try, one finds the row as it was read. `spent`: its attempts are used up, it has failed. */
  async claim(row: Row, lease: number, maxAttempts: number): Promise<'claimed' | 'spent' | 'lost'> {
    const spent = row.attempts >= maxAttempts
    const set = spent
      ? { ...RELEASED, state: 'failed', finished_at: this.#now(), last_error: row.last_error ?? 'its process ended at each attempt' }
      : { state: 'running', attempts: row.attempts + 1, leased_by: this.#worker, leased_until: this.#now() + lease }
    const { numUpdatedRows } = await this.#db
      .updateTable('jobs')
      .set({ ...set, max_attempts: Math.min(maxAttempts, LARGEST_INT) })
      .where('id', '=', row.id)
      .where('state', '=', row.state)
      .where('attempts', '=', row.attempts)
      .where('wanted', '=', row.wanted)
      .where((eb) => (row.leased_until === null ? eb('leased_until', 'is', null) : eb('leased_until', '=', row.leased_until)))
      .executeTakeFirst()
    if (numUpdatedRows === 0n) return 'lost'
    return spent ? 'spent' : 'claimed'
  }

  /** Whoever runs jobs of this kind is known to be gone: their leases end now. */
  async endLeases(kind: string): Promise<void> {
    await this.#db.updateTable('jobs').set({ leased_until: 0 }).where('kind', '=', kind).where('state', '=', 'running').execute()
  }

  /** False: the lease is another's. */
  async beat(id: string, until: number): Promise<boolean> {
    return (await this.#ours(id).set({ leased_until: until }).executeTakeFirst()).numUpdatedRows > 0n
  }

  done(row: Row): Promise<boolean> {
    return this.#end(row, { state: 'done', finished_at: this.#now(), last_error: null })
  }

  again(row: Row, due_at: number): Promise<boolean> {
    return this.#end(row, { state: 'queued', attempts: 0, due_at, last_error: null })
  }

  retry(row: Row, due_at: number, error: unknown): Promise<boolean> {
    return this.#end(row, { state: 'queued', due_at, last_error: errorText(error) })
  }

  failed(row: Row, error: unknown): Promise<boolean> {
    return this.#end(row, { state: 'failed', finished_at: this.#now(), last_error: errorText(error) })
  }

  /** As if it had never been claimed. */
  giveBack(row: Row): Promise<boolean> {
    return this.#end(row, { state: 'queued', attempts: row.attempts })
  }

  /** When something that waits, later than `after`, falls due, or another's lease ends. */
  async nextDue(after = 0): Promise<number | null> {
    const queued = await this.#db
      .selectFrom('jobs')
      .select('due_at as at')
      .where('state', '=', 'queued')
      .where('due_at', '>', after)
      .orderBy('due_at')
      .limit(1)
      .executeTakeFirst()
    const leased = await this.#db
      .selectFrom('jobs')
      .select('leased_until as at')
      .where('state', '=', 'running')
      .where('leased_by', '!=', this.#worker)
      .orderBy('leased_until')
      .limit(1)
      .executeTakeFirst()
    const times = [queued?.at, leased?.at].filter((at) => typeof at === 'number')
    return times.length > 0 ? Math.min(...times) : null
  }
}
