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
export const makeBus = <T extends EventTables>(database: Database<T>, options: BusOptions = {}): Bus =>
  new TableBus(database as unknown as Database<EventTables>, options)

class TableBus implements Bus {
  readonly #database: Database<EventTables>
  readonly #db: Kysely<EventTables>
  readonly #log: Log
  readonly #now: () => number
  readonly #poll: number
  readonly #listeners = new Set<{ names: ReadonlySet<string> | null; listener: Listener }>()
  /** Numbers below the cursor that were not seen: rolled back, or of a transaction that has not committed yet. Number → when first missed. */
  readonly #gaps = new Map<number, number>()
  #cursor = 0
  #open = false
  #reading: Promise<void> | null = null
  #next: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined
  #unlisten: (() => Promise<void>) | undefined

  constructor(database: Database<EventTables>, options: BusOptions) {
    this.#database = database
    this.#db = database.kysely
    this.#log = options.log ?? silentLog
    this.#now = options.now ?? Date.now
    this.#poll = options.poll ?? (database.dialect === 'postgresql' ? POLL_TOLD : POLL)
  }

  on(names: readonly EventName[] | '*', listener: Listener): () => void {
    const entry = { names: names === '*' ? null : new Set<string>(names), listener }
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  async start(): Promise<void> {
    await this.#begin()
    this.#open = true
    const poke = () => this.poke()
    this.#unlisten = this.#database.listen?.(CHANNEL, poke, poke)
    this.#arm()
  }

  async close(): Promise<void> {
    this.#open = false
    clearTimeout(this.#timer)
    await this.#unlisten?.()
    await this.#next
    await this.#reading
  }

  #deliver(event: EventRow): void {
    for (const { names, listener } of this.#listeners) {
      if (names !== null && !names.has(event.name)) continue
      try {
        Promise.resolve(listener(event)).catch((error: unknown) => this.#log.error({ err: error, event: event.name }, 'a listener failed'))
      } catch (error) {
        this.#log.error({ err: error, event: event.name }, 'a listener failed')
      }
    }
  }

  #miss(from: number, to: number): void {
    // SQLite has one writer: what is missing there was rolled back or swept.
    if (this.#database.dialect === 'sqlite') return
    for (let seq = Math.max(from, to - MOST_GAPS); seq < to; seq++) this.#gaps.set(seq, this.#now())
    if (this.#gaps.size > MOST_GAPS) for (const seq of [...this.#gaps.keys()].slice(0, this.#gaps.size - MOST_GAPS)) this.#gaps.delete(seq)
  }

  async #readGaps(): Promise<void> {
    const old = this.#now() - GAP_LIFE
    for (const [seq, since] of this.#gaps) if (since < old) this.#gaps.delete(seq)
    const missing = [...this.#gaps.keys()]
    for (let at = 0; at < missing.length; at += PAGE) {
      const rows = await this.#db
        .selectFrom('events')
        .selectAll()
        .where('seq', 'in', missing.slice(at, at + PAGE))
        .orderBy('seq')
        .execute()
      for (const row of rows) if (this.#gaps.delete(row.seq)) this.#deliver(row)
    }
  }

  async #read(): Promise<void> {
    if (this.#gaps.size > 0) await this.#readGaps()
    for (;;) {
      const rows = await this.#db.selectFrom('events').selectAll().where('seq', '>', this.#cursor).orderBy('seq').limit(PAGE).execute()
      for (const row of rows) {
        this.#miss(this.#cursor + 1, row.seq)
        this.#cursor = row.seq
        this.#deliver(row)
      }
      if (rows.length < PAGE) return
    }
  }

  #arm(): void {
    clearTimeout(this.#timer)
    if (this.#open) this.#timer = setTimeout(() => void this.poke(), this.#poll)
  }

  #round(): Promise<void> {
    this.#reading = this.#read()
      .catch((error: unknown) => this.#log.warn({ err: error }, 'events could not be read'))
      .finally(() => {
        this.#reading = null
        this.#arm()
      })
    return this.#reading
  }

  /** A reading that is under way may have begun before the caller's COMMIT: the caller waits for the one after it, shared by all who wait. */
  poke(): Promise<void> {
    if (!this.#open) return Promise.resolve()
    if (!this.#reading) return this.#round()
    this.#next ??= this.#reading.then(() => {
      this.#next = null
      return this.#open ? this.#round() : undefined
    })
    return this.#next
  }

  /** What is there is the past; what is missing shortly before may yet appear. */
  async #begin(): Promise<void> {
    const rows = await this.#db.selectFrom('events').select('seq').orderBy('seq', 'desc').limit(LOOK_BACK).execute()
    const seen = new Set(rows.map((row) => row.seq))
    this.#cursor = rows[0]?.seq ?? 0
    const first = Math.max(1, this.#cursor - LOOK_BACK)
    for (let seq = first; seq < this.#cursor; seq++) if (!seen.has(seq)) this.#miss(seq, seq + 1)
  }
}
