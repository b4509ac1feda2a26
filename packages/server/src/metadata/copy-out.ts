import { open, rm } from 'node:fs/promises'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { type Kysely, sql } from 'kysely'
import { openDatabase } from '../base/db/database.ts'
import { migrate } from '../base/db/migrate.ts'
import { fail } from '../base/errors.ts'
import { type CopiedTable, tablesOf } from './copied-tables.ts'
import { MIGRATIONS } from './migrations/index.ts'
import type { Metadata } from './open.ts'
import { type Copier, copyDatabase } from './snapshot.ts'

const PRIVATE = 0o600
/** Rows that are held at once. */
const BATCH = 1000

type Row = Record<string, SQLInputValue>
type Handle = Kysely<Record<string, Row>>

/** In the order of the primary key, each once, however many there are. */
async function* rowsOf(db: Handle, { name, columns, primary }: CopiedTable): AsyncGenerator<Row[]> {
  const key = sql.join(primary.map((column) => sql.ref(column)))
  for (let last: Row | undefined; ; ) {
    let query = db
      .selectFrom(name)
      .select(columns as never[])
      .limit(BATCH)
    for (const column of primary) query = query.orderBy(column as never)
    if (last) query = query.where(sql<boolean>`(${key}) > (${sql.join(primary.map((column) => sql.val(last?.[column])))})`)
    const rows = (await query.execute()) as Row[]
    if (rows.length > 0) yield rows
    if (rows.length < BATCH) return
    last = rows.at(-1)
  }
}

/** An empty SQLite database with the schema that the other one has by now, which may be a former one. */
async function prepare(names: ReadonlySet<string>, file: string): Promise<void> {
  const known = MIGRATIONS.filter(({ name }) => names.has(name))
  const unknown = [...names].find((name) => !MIGRATIONS.some((migration) => migration.name === name))
  if (unknown !== undefined) throw fail('metadata_newer', { name: unknown })
  const target = openDatabase<unknown>({ type: 'sqlite', file })
  try {
    await migrate(target, known)
  } finally {
    await target.close()
  }
}

async function fill(target: DatabaseSync, db: Handle): Promise<void> {
  for (const table of tablesOf(target)) {
    const quoted = table.columns.map((column) => `"${column}"`).join(', ')
    const insert = target.prepare(`insert into "${table.name}" (${quoted}) values (${table.columns.map(() => '?').join(', ')})`)
    for await (const rows of rowsOf(db, table)) for (const row of rows) insert.run(...table.columns.map((column) => row[column] ?? null))
  }
}

/** The metadata of a database server as a SQLite file, whole or not there: one consistent state, while others write. */
export async function copyOut(metadata: Metadata, to: string): Promise<void> {
  const source = metadata.kysely as unknown as Handle
  // Private from its first byte.
  await (await open(to, 'wx', PRIVATE)).close()
  try {
    await source
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (trx) => {
        const done = (await sql<{ name: string }>`select name from migrations`.execute(trx)).rows
        await prepare(new Set(done.map(({ name }) => name)), to)
        const target = new DatabaseSync(to, { enableForeignKeyConstraints: false })
        try {
          // One file, with nothing beside it.
          target.exec('pragma journal_mode = delete; begin')
          await fill(target, trx)
          target.exec('commit')
        } finally {
          target.close()
        }
      })
  } catch (error) {
    for (const end of ['', '-wal', '-shm', '-journal']) await rm(to + end, { force: true })
    throw error
  }
}

/** `file`: of the SQLite database; null: the metadata is on a server. */
export const copierOf = (metadata: Metadata, file: string | null): Copier =>
  file === null ? (to) => copyOut(metadata, to) : (to) => copyDatabase(file, to)
