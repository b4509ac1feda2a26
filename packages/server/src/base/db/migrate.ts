import { createHash } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import { fail, isSovraError } from '../errors.ts'
import { type Log, silentLog } from '../log.ts'
import type { Database } from './database.ts'
import { createTableText, type Migration } from './schema.ts'

interface Recorded {
  migrations: { name: string; applied_at: number }
}
type Handle = Kysely<Recorded>

export interface MigrateOptions {
  readonly log?: Log
  readonly now?: () => number
  /** How long to wait for another process that is at it, ms; default 60 s. */
  readonly patience?: number
}

const PATIENCE = 60_000
const ASK_AGAIN = 100
const MS = 1000
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function recorded(db: Handle): Promise<Set<string>> {
  return new Set((await db.selectFrom('migrations').select('name').execute()).map((row) => row.name))
}

/** Of the migrations that a database has seen; none: it is empty, or does not answer. */
export const recordedNames = <T>(database: Database<T>): Promise<ReadonlySet<string>> =>
  recorded(database.kysely as unknown as Handle).catch(() => new Set())

function refuseNewer(done: ReadonlySet<string>, migrations: readonly Migration[]): void {
  const known = new Set(migrations.map((migration) => migration.name))
  for (const name of done) if (!known.has(name)) throw fail('metadata_newer', { name })
}

/** Of this database: locks are the server's. At most 64 characters. Hashed here, since MySQL 9.6 has no SHA1(). */
async function mysqlLockName(db: Handle): Promise<string> {
  const { rows } = await sql<{ name: string }>`select database() as name`.execute(db)
  return `sovrabase/${createHash('sha1')
    .update(rows[0]?.name ?? '')
    .digest('hex')}`
}

/** Advisory locks end with their connection, so a killed process leaves none. */
async function tryLock(db: Handle, dialect: 'postgresql' | 'mysql'): Promise<boolean> {
  if (dialect === 'mysql') {
    const asked = await sql<{ got: number }>`select get_lock(${await mysqlLockName(db)}, 0) as got`.execute(db)
    return asked.rows[0]?.got === 1
  }
  // Of this database and schema: several may share one server.
  const schema = await sql<{ name: string }>`select current_schema() as name`.execute(db)
  const key = createHash('sha256').update(`sovrabase migrations ${schema.rows[0]?.name}`).digest().readBigInt64BE().toString()
  const asked = await sql<{ got: boolean }>`select pg_try_advisory_lock(${key}::bigint) as got`.execute(db)
  return asked.rows[0]?.got === true
}

async function lock(db: Handle, dialect: 'postgresql' | 'mysql', patience: number): Promise<void> {
  const end = Date.now() + patience
  while (!(await tryLock(db, dialect))) {
    if (Date.now() > end) throw fail('metadata_locked', { seconds: Math.round(patience / MS) })
    await pause(ASK_AGAIN)
  }
}

async function unlock(db: Handle, dialect: 'postgresql' | 'mysql'): Promise<void> {
  if (dialect === 'mysql')
    await sql`select release_all_locks()`.execute(db).catch(async () => sql`select release_lock(${await mysqlLockName(db)})`.execute(db))
  else await sql`select pg_advisory_unlock_all()`.execute(db)
}

/**
 * Brings a database forward: each migration once, in order, under a lock between processes; recorded after its one statement, which is
 * idempotent, so a kill after any statement is survived. On PostgreSQL all of them or none. Refuses data that knows a migration which this code does not (`metadata_newer`).
 * Answers the names of what was applied.
 */
export async function migrate<T>(database: Database<T>, migrations: readonly Migration[], options: MigrateOptions = {}): Promise<string[]> {
  const { log = silentLog, now = Date.now, patience = PATIENCE } = options
  const { dialect } = database
  const own = database as unknown as Database<Recorded>
  const applied: string[] = []

  async function step(db: Handle, migration: Migration): Promise<void> {
    try {
      await migration.run(db as unknown as Kysely<unknown>, dialect)
      await db.insertInto('migrations').values({ name: migration.name, applied_at: now() }).execute()
    } catch (cause) {
      if (isSovraError(cause)) throw cause
      throw fail('migration_failed', { name: migration.name }, { cause })
    }
    applied.push(migration.name)
  }

  async function prepare(db: Handle): Promise<Set<string>> {
    const shape = { columns: { name: 'token', applied_at: 'millis' }, primary: ['name'] } as const
    await sql.raw(createTableText('migrations', shape, dialect)).execute(db)
    const done = await recorded(db)
    refuseNewer(done, migrations)
    return done
  }

  /** Each migration in a transaction of its own that looks again: BEGIN IMMEDIATE is the lock between processes. */
  async function onSqlite(): Promise<void> {
    const done = await own.transaction(prepare)
    for (const migration of migrations) {
      if (done.has(migration.name)) continue
      await own.transaction(async (trx) => {
        const there = await trx.selectFrom('migrations').select('name').where('name', '=', migration.name).executeTakeFirst()
        if (!there) await step(trx, migration)
      })
    }
  }

  async function all(db: Handle): Promise<void> {
    const done = await prepare(db)
    for (const migration of migrations) if (!done.has(migration.name)) await step(db, migration)
  }

  async function onServer(kind: 'postgresql' | 'mysql'): Promise<void> {
    await own.kysely.connection().execute(async (db) => {
      await lock(db, kind, patience)
      try {
        // PostgreSQL takes its changes of schema back with the transaction: one that fails leaves the former version's.
        if (kind === 'postgresql') await db.transaction().execute(all)
        else await all(db)
      } finally {
        await unlock(db, kind).catch(() => {})
      }
    })
  }

  // The usual start: one statement, no lock. A first start has no such table yet, and a database that is away says so below.
  const done = await recorded(own.kysely).catch(() => undefined)
  if (done) refuseNewer(done, migrations)
  if (done && migrations.every((migration) => done.has(migration.name))) return applied
  if (dialect === 'sqlite') await onSqlite()
  else await onServer(dialect)
  if (applied.length > 0) log.info({ applied: applied.length }, 'brought the metadata database forward')
  return applied
}
