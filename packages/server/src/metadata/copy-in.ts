import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type Kysely, sql } from 'kysely'
import { fail } from '../base/errors.ts'
import { type CopiedTable, tablesOf } from './copied-tables.ts'
import { type Metadata, openMetadata } from './open.ts'
import { copyDatabase } from './snapshot.ts'

/** Values in one statement: the least that a database server takes is 65,535. */
const VALUES = 20_000

type Row = Record<string, unknown>
type Handle = Kysely<Record<string, Row>>

/** PostgreSQL does not count numbers that were given to it. */
async function countOn(db: Handle, { name, primary }: CopiedTable): Promise<void> {
  const [key] = primary
  const sequence = sql<{ name: string | null }>`select pg_get_serial_sequence(${`"${name}"`}, ${key}) as name`
  const found = (await sequence.execute(db)).rows[0]?.name
  if (found)
    await sql`select setval(${found}::regclass, coalesce((select max(${sql.ref(key ?? '')}) from ${sql.table(name)}), 0) + 1, false)`.execute(
      db,
    )
}

async function pour(source: DatabaseSync, metadata: Metadata): Promise<number> {
  const tables = tablesOf(source)
  return metadata.transaction(async (trx) => {
    const db = trx as unknown as Handle
    for (const { name } of tables)
      if (await db.selectFrom(name).select(sql`1`.as('one')).limit(1).executeTakeFirst())
        throw fail('metadata_used', { type: metadata.dialect })
    let copied = 0
    for (const table of tables) {
      const most = Math.floor(VALUES / table.columns.length)
      let rows: Row[] = []
      const send = async () => {
        if (rows.length > 0) await db.insertInto(table.name).values(rows).execute()
        copied += rows.length
        rows = []
      }
      for (const row of source
        .prepare(`select ${table.columns.map((column) => `"${column}"`).join(', ')} from "${table.name}"`)
        .iterate()) {
        rows.push(row)
        if (rows.length >= most) await send()
      }
      await send()
      if (metadata.dialect === 'postgresql') await countOn(db, table)
    }
    return copied
  })
}

/** Another program's database would be given our tables beside its own. */
function refuseStrange(plain: string, file: string): void {
  const source = new DatabaseSync(plain, { readOnly: true })
  try {
    if (source.prepare("select 1 from migrations where name = 'table facts'").get()) return
  } catch {
    // It has no such table.
  } finally {
    source.close()
  }
  throw fail('copy_unreadable', { file, reason: 'it is no metadata of Sovrabase' })
}

/**
 * All rows of a copy (a snapshot, a backup's, a data directory's `metadata.sqlite`) into an empty metadata database of this version, in one
 * transaction; answers how many. The copy may be of a former version, and stays as it is. Errors: `metadata_used`, `metadata_newer`, `copy_unreadable`.
 */
export async function copyIn(file: string, metadata: Metadata, scratch: string): Promise<number> {
  const dir = await mkdtemp(join(scratch, 'metadata-'))
  try {
    const plain = join(dir, 'metadata.sqlite')
    try {
      await copyDatabase(file, plain)
    } catch (cause) {
      throw fail('copy_unreadable', { file, reason: (cause as Error).message }, { cause })
    }
    refuseStrange(plain, file)
    await (await openMetadata({ database: { type: 'sqlite', connection_string: plain }, data: { dir } })).close()
    const source = new DatabaseSync(plain)
    try {
      return await pour(source, metadata)
    } finally {
      source.close()
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
