import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { sql } from 'kysely'
import { eachDatabase } from '../../../../../test/databases.ts'
import { MIGRATIONS } from '../../metadata/migrations/index.ts'
import { isSovraError } from '../errors.ts'
import type { Database } from './database.ts'
import { migrate } from './migrate.ts'
import { column, index, type Migration, table } from './schema.ts'

const NAMES = MIGRATIONS.map((migration) => migration.name)

/** A program that begins to migrate and is killed by SIGKILL right after the DDL of the named migration, before it is recorded. */
const KILLED = `
  const { openDatabase } = await import('${new URL('./database.ts', import.meta.url).href}')
  const { migrate } = await import('${new URL('./migrate.ts', import.meta.url).href}')
  const { MIGRATIONS } = await import('${new URL('../../metadata/migrations/index.ts', import.meta.url).href}')
  const { options, at } = JSON.parse(process.argv[1])
  const dying = (migration) => ({
    name: migration.name,
    async run(db, dialect) {
      await migration.run(db, dialect)
      process.kill(process.pid, 'SIGKILL')
      await new Promise(() => {})
    },
  })
  await migrate(openDatabase(options), MIGRATIONS.map((migration) => (migration.name === at ? dying(migration) : migration)))
`

/** All tables with their columns, and all indices. */
async function shape(database: Database<unknown>): Promise<string[]> {
  const found =
    database.dialect === 'sqlite'
      ? sql<{
          line: string
        }>`select type || ' ' || name || ' ' || coalesce(sql, '') as line from sqlite_master where name not like 'sqlite_%'`
      : database.dialect === 'postgresql'
        ? sql<{
            line: string
          }>`select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable as line from information_schema.columns
            where table_schema = 'public' union all select indexdef from pg_indexes where schemaname = 'public'
            union all select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace`
        : sql<{
            line: string
          }>`select concat(table_name, '.', column_name, ' ', column_type, ' ', is_nullable, ' ', coalesce(collation_name, '')) as line
            from information_schema.columns where table_schema = database()
            union all select concat(table_name, ' ', index_name, ' ', column_name, ' ', seq_in_index) from information_schema.statistics where table_schema = database()
            union all select concat(table_name, ' ', constraint_name) from information_schema.table_constraints where table_schema = database()`
  return (await found.execute(database.kysely)).rows.map(({ line }) => line).sort()
}

eachDatabase((name, open) => {
  test('each migration once, in order; a second start does nothing', async () => {
    const { database, again } = await open()
    assert.deepEqual(await migrate(database, MIGRATIONS), NAMES)
    assert.deepEqual(await migrate(database, MIGRATIONS), [])
    assert.deepEqual(await migrate(again(), MIGRATIONS), [])
  })

  test('every statement may be the last one before a stop: the next start goes on from there', async () => {
    const whole = await open()
    await migrate(whole.database, MIGRATIONS)
    const { database } = await open()
    // Stopped after the DDL of each migration, before it was recorded; the start before it was stopped after recording the one before.
    for (const stopAt of MIGRATIONS) {
      const stop = new Error('stopped')
      const stopping: Migration = {
        name: stopAt.name,
        async run(db, dialect) {
          await stopAt.run(db, dialect)
          throw stop
        },
      }
      const upTo = MIGRATIONS.slice(0, MIGRATIONS.indexOf(stopAt) + 1)
      await assert.rejects(
        migrate(
          database,
          upTo.map((migration) => (migration === stopAt ? stopping : migration)),
        ),
        (error: Error) => isSovraError(error, 'migration_failed') && error.cause === stop,
      )
      assert.deepEqual(await migrate(database, upTo), [stopAt.name])
    }
    assert.deepEqual(await shape(database), await shape(whole.database))
  })

  test('a process killed in the middle leaves no lock and nothing half done', async () => {
    const whole = await open()
    await migrate(whole.database, MIGRATIONS)
    const { database, options } = await open()
    for (const at of ['table facts', 'index services_node_idx', NAMES.at(-1)]) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', KILLED, JSON.stringify({ options, at })], {
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      const [, signal] = await once(child, 'exit')
      assert.equal(signal, 'SIGKILL')
    }
    const rest = await migrate(database, MIGRATIONS)
    assert.ok(rest.length > 0)
    assert.deepEqual(await shape(database), await shape(whole.database))
  })

  test('several processes that start at once apply each migration once', async () => {
    const { again } = await open()
    const applied = await Promise.all(Array.from({ length: 4 }, () => migrate(again(), MIGRATIONS)))
    assert.deepEqual(applied.flat().sort(), [...NAMES].sort())
  })

  test('one that fails takes those before it back on PostgreSQL: the former version starts', async () => {
    const { database } = await open()
    await migrate(database, MIGRATIONS)
    const failing: Migration = { name: 'throws', run: () => Promise.reject(new Error('a mistake')) }
    const later = [...MIGRATIONS, table('of_later', { columns: { id: 'id' }, primary: ['id'] }), failing]
    await assert.rejects(migrate(database, later), { code: 'migration_failed' })
    if (name === 'postgresql') assert.deepEqual(await migrate(database, MIGRATIONS), [])
    else await assert.rejects(migrate(database, MIGRATIONS), { code: 'metadata_newer' })
  })

  test('data that is newer than the code is refused, unharmed', async () => {
    const { database } = await open()
    const later = [...MIGRATIONS, table('of_later', { columns: { id: 'id' }, primary: ['id'] })]
    await migrate(database, later)
    await assert.rejects(
      migrate(database, MIGRATIONS),
      (error) => isSovraError(error, 'metadata_newer') && error.message.includes('table of_later'),
    )
    assert.deepEqual(await migrate(database, later), [])
  })

  test('a column and an index can be added, and are added once', async () => {
    const { database } = await open<{ t: { id: string; more: string | null } }>()
    const first = table('t', { columns: { id: 'id' }, primary: ['id'] })
    await migrate(database, [first])
    await database.kysely
      .insertInto('t')
      .values({ id: 'a', more: null })
      .execute()
      .catch(() => undefined)
    const more = [first, column('t', 'more', 'name?'), index('t', ['more'])]
    assert.deepEqual(await migrate(database, more), ['column t.more', 'index t_more_idx'])
    for (const migration of more) await migration.run(database.kysely as never, database.dialect)
    await database.kysely.insertInto('t').values({ id: 'b', more: 'x' }).execute()
  })

  // On SQLite BEGIN IMMEDIATE is the lock, held for one migration at a time.
  if (name === 'sqlite') return

  test('who waits too long for the lock is told so', async () => {
    const { database, again } = await open()
    const holding = Promise.withResolvers<void>()
    const entered = Promise.withResolvers<void>()
    const slow: Migration = {
      name: 'slow',
      async run() {
        entered.resolve()
        await holding.promise
      },
    }
    const first = migrate(database, [slow])
    await entered.promise
    await assert.rejects(migrate(again(), [slow], { patience: 50 }), (error) => isSovraError(error, 'metadata_locked'))
    holding.resolve()
    assert.deepEqual(await first, ['slow'])
  })
})
