import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import { eachDatabase } from '../../../../../test/databases.ts'
import { PASSWORD, startPostgres } from '../../../../../test/engines.ts'
import { until } from '../../../../../test/until.ts'
import { isSovraError } from '../errors.ts'
import { type Database, openDatabase } from './database.ts'
import { isUniqueViolation } from './errors.ts'
import { insertIfAbsent } from './insert.ts'
import { table } from './schema.ts'

interface Things {
  things: { id: string; count: number; text: string | null; living: number }
}

const things = table('things', {
  columns: { id: 'id', count: 'millis', text: 'text?', living: 'bool' },
  primary: ['id'],
  computed: { living_text: ['name', 'case when {living} = 1 then {text} end'] },
  unique: [['living_text']],
})

async function withThings(open: <T>() => Promise<{ database: Database<T>; again(): Database<T> }>) {
  const test = await open<Things>()
  await things.run(test.database.kysely as unknown as Kysely<unknown>, test.database.dialect)
  return { db: test.database, again: test.again }
}

const row = (id: string, count = 0, text: string | null = null) => ({ id, count, text, living: 1 })
const add = (db: Kysely<Things>, id: string, count = 0, text: string | null = null) =>
  db
    .insertInto('things')
    .values(row(id, count, text))
    .execute()

async function killSessions(db: Database<Things>): Promise<void> {
  const admin = db.kysely as unknown as Kysely<unknown>
  if (db.dialect === 'postgresql') {
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`.execute(
      admin,
    )
  } else {
    const rows = await sql<{
      id: number
    }>`select id from information_schema.processlist where db = database() and id <> connection_id()`.execute(admin)
    for (const { id } of rows.rows) await sql.raw(`kill ${Number(id)}`).execute(admin)
  }
}

eachDatabase((name, open) => {
  test('numbers, sums, counts, nulls and texts are the same everywhere', async () => {
    const { db } = await withThings(open)
    const text = "it's \\ “quoted” 🌍 'x' -- \n"
    await add(db.kysely, 'a', 1_790_000_000_123, text)
    await add(db.kysely, 'B', 2 ** 53 - 1)
    const rows = await db.kysely.selectFrom('things').select(['id', 'count', 'text']).orderBy('id').execute()
    assert.deepEqual(rows, [
      { id: 'B', count: 2 ** 53 - 1, text: null },
      { id: 'a', count: 1_790_000_000_123, text },
    ])
    const sums = await db.kysely
      .selectFrom('things')
      .select((eb) => [eb.fn.countAll<number>().as('n'), eb.fn.sum<number>('living').as('sum'), eb.fn.max('count').as('max')])
      .executeTakeFirstOrThrow()
    assert.deepEqual(sums, { n: 2, sum: 2, max: 2 ** 53 - 1 })
    const compared = await db.kysely.selectFrom('things').select('id').where('id', '=', 'A').execute()
    assert.deepEqual(compared, [], 'ids compare by bytes')
  })

  test('a parameter that is an object never becomes SQL', async () => {
    const { db } = await withThings(open)
    await add(db.kysely, 'a')
    const hostile = { id: 'a' } as unknown as string
    const found = await db.kysely
      .selectFrom('things')
      .selectAll()
      .where('id', '=', hostile)
      .execute()
      .catch(() => [])
    assert.equal(found.length, 0)
  })

  test('counts what an update matched, also when nothing changed', async () => {
    const { db } = await withThings(open)
    await add(db.kysely, 'a', 5)
    const same = await db.kysely.updateTable('things').set({ count: 5 }).where('id', '=', 'a').executeTakeFirst()
    assert.equal(same.numUpdatedRows, 1n)
  })

  test('names are unique among the living only', async () => {
    const { db } = await withThings(open)
    await add(db.kysely, 'a', 0, 'name')
    await assert.rejects(add(db.kysely, 'b', 0, 'name'), isUniqueViolation)
    await db.kysely.updateTable('things').set({ living: 0 }).where('id', '=', 'a').execute()
    await add(db.kysely, 'b', 0, 'name')
    await db.kysely.updateTable('things').set({ living: 0 }).where('id', '=', 'b').execute()
    await add(db.kysely, 'c', 0, 'name')
  })

  test('insertIfAbsent leaves a transaction usable', async () => {
    const { db } = await withThings(open)
    await db.transaction(async (trx) => {
      assert.equal(await insertIfAbsent<Things, 'things'>(trx, 'things', row('a', 1)), true)
      assert.equal(await insertIfAbsent<Things, 'things'>(trx, 'things', row('a', 2)), false)
      await add(trx, 'b')
    })
    assert.deepEqual(await db.kysely.selectFrom('things').select(['id', 'count']).orderBy('id').execute(), [
      { id: 'a', count: 1 },
      { id: 'b', count: 0 },
    ])
  })

  test('a transaction that throws leaves nothing', async () => {
    const { db } = await withThings(open)
    const failing = db.transaction(async (trx) => {
      await add(trx, 'a')
      throw new Error('no')
    })
    await assert.rejects(failing, /no/)
    assert.deepEqual(await db.kysely.selectFrom('things').selectAll().execute(), [])
  })

  test('a statement beside the open transaction is refused instead of waiting for itself', async () => {
    const { db } = await withThings(open)
    const beside = db.transaction(async () => add(db.kysely, 'a'))
    await assert.rejects(beside, (error) => isSovraError(error, 'statement_outside_transaction'))
    const nested = db.transaction(async () => db.transaction(async (trx) => add(trx, 'a')))
    await assert.rejects(nested, (error) => isSovraError(error, 'statement_outside_transaction'))
    await add(db.kysely, 'a')
  })

  test('a transaction is never interleaved with other statements', async () => {
    const { db } = await withThings(open)
    await add(db.kysely, 'a')
    const increment = () =>
      db.transaction(async (trx) => {
        let query = trx.selectFrom('things').select('count').where('id', '=', 'a')
        if (db.dialect !== 'sqlite') query = query.forUpdate()
        const { count } = await query.executeTakeFirstOrThrow()
        await new Promise((resolve) => setImmediate(resolve))
        await trx
          .updateTable('things')
          .set({ count: count + 1 })
          .where('id', '=', 'a')
          .execute()
      })
    const beside = Array.from({ length: 20 }, (_, n) => add(db.kysely, `x${n}`))
    await Promise.all([...Array.from({ length: 20 }, increment), ...beside])
    assert.equal((await db.kysely.selectFrom('things').select('count').where('id', '=', 'a').executeTakeFirstOrThrow()).count, 20)
  })

  test('two handles on one database write at once', async () => {
    const { db, again } = await withThings(open)
    const other = again()
    const write = (at: Database<Things>, n: number) =>
      at.transaction(async (trx) => {
        await add(trx, `i${n}`)
        await new Promise((resolve) => setImmediate(resolve))
        await add(trx, `j${n}`)
      })
    await Promise.all(Array.from({ length: 20 }, (_, n) => write(n % 2 ? db : other, n)))
    const count = await db.kysely
      .selectFrom('things')
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .executeTakeFirstOrThrow()
    assert.equal(count.n, 40)
  })

  if (name === 'sqlite') return

  test('a deadlock is run again', async () => {
    const { db } = await withThings(open)
    for (const id of ['a', 'b']) await add(db.kysely, id)
    let runs = 0
    const meeting = Promise.withResolvers<void>()
    let arrived = 0
    const both = (first: string, second: string) =>
      db.transaction(async (trx) => {
        runs++
        await trx
          .updateTable('things')
          .set((eb) => ({ count: eb('count', '+', 1) }))
          .where('id', '=', first)
          .execute()
        if (++arrived === 2) meeting.resolve()
        await meeting.promise
        await trx
          .updateTable('things')
          .set((eb) => ({ count: eb('count', '+', 1) }))
          .where('id', '=', second)
          .execute()
      })
    await Promise.all([both('a', 'b'), both('b', 'a')])
    assert.ok(runs >= 3)
    assert.deepEqual(await db.kysely.selectFrom('things').select('count').execute(), [{ count: 2 }, { count: 2 }])
  })

  test('a connection lost within a transaction is made again, and the transaction run again', async () => {
    const { db, again } = await withThings(open)
    let runs = 0
    await db.transaction(async (trx) => {
      runs++
      await add(trx, 'a')
      if (runs === 1) await killSessions(again())
      await add(trx, 'b')
    })
    assert.equal(runs, 2)
    assert.equal((await db.kysely.selectFrom('things').selectAll().execute()).length, 2)
  })

  test('reads go on after all connections were cut', async () => {
    const { db, again } = await withThings(open)
    const read = () => db.kysely.selectFrom('things').selectAll().execute()
    await Promise.all([read(), read(), read()])
    await killSessions(again())
    for (let n = 0; n < 5; n++) assert.deepEqual(await read(), [])
  })
})

test('a server that is away is 503 metadata_unavailable, and used again when it is back', async () => {
  const engine = await startPostgres()
  const db = openDatabase<Things>({ type: 'postgresql', connection_string: engine.url('postgres') })
  after(() => db.close())
  const ask = () => sql<{ one: number }>`select 1 as one`.execute(db.kysely)
  await ask()
  await engine.kill()
  await until(() =>
    ask().then(
      () => false,
      (error) => isSovraError(error, 'metadata_unavailable') && error.status === 503,
    ),
  )
  await engine.start()
  await until(() => ask().then((answer) => answer.rows[0]?.one === 1))
  await engine.kill()
})

test("a project's own cluster by socket directory and password", async () => {
  const engine = await startPostgres()
  const host = new URL(engine.url('postgres')).searchParams.get('host') ?? ''
  const db = openDatabase<Things>({
    type: 'postgresql',
    host,
    user: 'postgres',
    password: PASSWORD,
    database: 'postgres',
    search_path: ['a "b', 'public'],
  })
  after(() => db.close())
  const path = await sql<{ search_path: string }>`show search_path`.execute(db.kysely)
  assert.equal(path.rows[0]?.search_path, '"a ""b", "public"')
  const wrong = openDatabase<Things>({ type: 'postgresql', host, user: 'postgres', password: 'no', database: 'postgres' })
  after(() => wrong.close())
  await assert.rejects(sql`select 1`.execute(wrong.kysely), (error) => isSovraError(error, 'metadata_refused'))
})

test('the SQLite file is for its owner only', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sovra-mode-'))
  after(() => rmSync(dir, { recursive: true, force: true }))
  const db = openDatabase<Things>({ type: 'sqlite', file: join(dir, 'x.sqlite') })
  await things.run(db.kysely as unknown as Kysely<unknown>, 'sqlite')
  for (const name of ['x.sqlite', 'x.sqlite-wal', 'x.sqlite-shm']) assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600)
  await db.close()
})
