import type { EventName } from '@sovrabase/contract/actions'
import type { Generated, Insertable, Kysely, Selectable, Transaction } from 'kysely'
import { sql } from 'kysely'
import type { Database } from './db/database.ts'
import { uuid } from './ids.ts'
import { type Log, silentLog } from './log.ts'

/** One row of the table: audit log, bus and webhooks read the same. `seq` ascends, but rows may become visible out of its order. */
export interface EventsTable {
  seq: Generated<number>
  id: string
  name: string
  actor: string
  actor_kind: string
  organisation_id: string | null
  project_ref: string | null
  subject: string | null
  before: string | null
  after: string | null
  ip: string | null
  request_id: string | null
  created_at: number
}
export interface EventTables {
  events: EventsTable
}
export type EventRow = Selectable<EventsTable>
export type Listener = (event: EventRow) => void | Promise<void>

const CHANNEL = 'sovrabase_events'

/** Appends one; the only write to the table but the sweep of what is past its retention. Answers its id. */
export async function appendEvent<T extends EventTables>(
  database: Database<T>,
  trx: Transaction<T>,
  event: Omit<Insertable<EventsTable>, 'seq' | 'id'>,
): Promise<string> {
  const id = uuid()
  await (trx as unknown as Kysely<EventTables>)
    .insertInto('events')
    .values({ ...event, id })
    .execute()
  // Told at COMMIT, to every node; the id only.
  if (database.dialect === 'postgresql') await sql`select pg_notify(${CHANNEL}, ${id})`.execute(trx)
  return id
}

export interface BusOptions {
  readonly log?: Log
  readonly now?: () => number
  /** Looks for what it was not told of each so many ms. Default: 5 s on PostgreSQL (which tells), 1 s elsewhere. */
  readonly poll?: number
}

export interface Bus {
  /** Calls for each event of these names from now on, in the order of their reading; an error in it is logged and goes no further. Answers how to end it. */
  on(names: readonly EventName[] | '*', listener: Listener): () => void
  /** A hint that something was written. Resolves when all that was committed before has been delivered here; never rejects. */
  poke(): Promise<void>
  /** Resolves when it stands: what is committed from then on is delivered. */
  start(): Promise<void>
  close(): Promise<void>
}

const PAGE = 500
const POLL_TOLD = 5_000
const POLL = 1_000
/** Longer than any transaction of ours may last: a number that is still missing then was rolled back. */
const GAP_LIFE = 600_000
/** So many numbers before the last one are looked at when the bus starts. */
const LOOK_BACK = 1_000
const MOST_GAPS = 10_000

/** The truth is the table, `poke` only a hint: a lost hint loses nothing. */
export function makeBus<T extends EventTables>(database: Database<T>, options: BusOptions = {}): Bus {
  const { log = silentLog, now = Date.now, poll = database.dialect === 'postgresql' ? POLL_TOLD : POLL } = options
  const db = database.kysely as unknown as Kysely<EventTables>
  const listeners = new Set<{ names: ReadonlySet<string> | null; listener: Listener }>()
  /** Numbers below the cursor that were not seen: rolled back, or of a transaction that has not committed yet. Number → when first missed. */
  const gaps = new Map<number, number>()
  let cursor = 0
  let open = false
  let reading: Promise<void> | null = null
  let next: Promise<void> | null = null
  let timer: NodeJS.Timeout | undefined
  let unlisten: (() => Promise<void>) | undefined

  function deliver(event: EventRow): void {
    for (const { names, listener } of listeners) {
      if (names !== null && !names.has(event.name)) continue
      try {
        Promise.resolve(listener(event)).catch((error: unknown) => log.error({ err: error, event: event.name }, 'a listener failed'))
      } catch (error) {
        log.error({ err: error, event: event.name }, 'a listener failed')
      }
    }
  }

  function miss(from: number, to: number): void {
    // SQLite has one writer: what is missing there was rolled back or swept.
    if (database.dialect === 'sqlite') return
    for (let seq = Math.max(from, to - MOST_GAPS); seq < to; seq++) gaps.set(seq, now())
    if (gaps.size > MOST_GAPS) for (const seq of [...gaps.keys()].slice(0, gaps.size - MOST_GAPS)) gaps.delete(seq)
  }

  async function readGaps(): Promise<void> {
    const old = now() - GAP_LIFE
    for (const [seq, since] of gaps) if (since < old) gaps.delete(seq)
    const missing = [...gaps.keys()]
    for (let at = 0; at < missing.length; at += PAGE) {
      const rows = await db
        .selectFrom('events')
        .selectAll()
        .where('seq', 'in', missing.slice(at, at + PAGE))
        .orderBy('seq')
        .execute()
      for (const row of rows) if (gaps.delete(row.seq)) deliver(row)
    }
  }

  async function read(): Promise<void> {
    if (gaps.size > 0) await readGaps()
    for (;;) {
      const rows = await db.selectFrom('events').selectAll().where('seq', '>', cursor).orderBy('seq').limit(PAGE).execute()
      for (const row of rows) {
        miss(cursor + 1, row.seq)
        cursor = row.seq
        deliver(row)
      }
      if (rows.length < PAGE) return
    }
  }

  function arm(): void {
    clearTimeout(timer)
    if (open) timer = setTimeout(poke, poll)
  }

  function round(): Promise<void> {
    reading = read()
      .catch((error: unknown) => log.warn({ err: error }, 'events could not be read'))
      .finally(() => {
        reading = null
        arm()
      })
    return reading
  }

  /** A reading that is under way may have begun before the caller's COMMIT: the caller waits for the one after it, shared by all who wait. */
  function poke(): Promise<void> {
    if (!open) return Promise.resolve()
    if (!reading) return round()
    next ??= reading.then(() => {
      next = null
      return open ? round() : undefined
    })
    return next
  }

  /** What is there is the past; what is missing shortly before may yet appear. */
  async function begin(): Promise<void> {
    const rows = await db.selectFrom('events').select('seq').orderBy('seq', 'desc').limit(LOOK_BACK).execute()
    const seen = new Set(rows.map((row) => row.seq))
    cursor = rows[0]?.seq ?? 0
    const first = Math.max(1, cursor - LOOK_BACK)
    for (let seq = first; seq < cursor; seq++) if (!seen.has(seq)) miss(seq, seq + 1)
  }

  return {
    on(names, listener) {
      const entry = { names: names === '*' ? null : new Set<string>(names), listener }
      listeners.add(entry)
      return () => void listeners.delete(entry)
    },
    poke,
    async start() {
      await begin()
      open = true
      unlisten = database.listen?.(CHANNEL, poke, poke)
      arm()
    },
    async close() {
      open = false
      clearTimeout(timer)
      await unlisten?.()
      await next
      await reading
    },
  }
}
