/** The metadata as a file, and back: from each database into each. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { eachMetadata, type TestMetadata } from '../../../../test/databases.ts'
import { openDatabase } from '../base/db/database.ts'
import { uuid } from '../base/ids.ts'
import { SYSTEM } from './change.ts'
import { copyIn } from './copy-in.ts'
import { copyOut } from './copy-out.ts'
import { setFact } from './facts.ts'
import { MIGRATIONS } from './migrations/index.ts'
import { openMetadata } from './open.ts'
import type { Tables } from './tables.ts'

const home = mkdtempSync(join(tmpdir(), 'sovra-copy-'))
after(() => rmSync(home, { recursive: true, force: true }))

const EVENTS = 2500
const rowsIn = (file: string, text: string) => {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return database.prepare(text).all()
  } finally {
    database.close()
  }
}

/** Rows of several kinds: numbers that the database gives, text of all kinds, nulls, rows that refer to others. */
async function fill({ metadata }: TestMetadata): Promise<string> {
  const id = uuid()
  await metadata.transaction(async (trx) => {
    const now = 1_800_000_000_000
    await trx
      .insertInto('organisations')
      .values({ id, name: 'acme', title: 'Acmé 🦔 "\'\\', quotas: '{}', created_at: now, updated_at: now } as never)
      .execute()
    const event = { name: 'settings.changed', subject: null, actor: 'x', actor_kind: 'system', created_at: now } as const
    for (let at = 0; at < EVENTS; at += 500)
      await trx
        .insertInto('events')
        .values(Array.from({ length: 500 }, (_, index) => ({ ...event, id: uuid(), after: JSON.stringify({ n: at + index }) })) as never)
        .execute()
    await setFact(trx, 'seen', { text: 'é\u{1F994}\n\t' })
  })
  return id
}

eachMetadata((name, open) => {
  test('all rows go out and come in again; numbers go on', async () => {
    const one = await open()
    const id = await fill(one)
    const file = join(home, `${name}.sqlite`)
    await copyOut(one.metadata, file)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    for (const end of ['-wal', '-shm', '-journal', '.part']) assert.ok(!existsSync(file + end))
    assert.deepEqual(
      { ...rowsIn(file, 'select count(*) as n, max(seq) - min(seq) as span from events')[0] },
      { n: EVENTS, span: EVENTS - 1 },
    )
    const [{ title } = {}] = rowsIn(file, 'select title from organisations')
    assert.equal(title, 'Acmé 🦔 "\'\\')

    const other = await open()
    const copied = await copyIn(file, other.metadata, home)
    assert.ok(copied >= EVENTS + 2)
    const all = (metadata: TestMetadata['metadata'], table: keyof Tables & string) =>
      sql`select * from ${sql.table(table)} order by 1`.execute(metadata.kysely)
    for (const table of ['organisations', 'events', 'facts', 'jobs', 'settings'] as const)
      assert.deepEqual((await all(other.metadata, table)).rows, (await all(one.metadata, table)).rows, table)
    await other.change(SYSTEM, (c) => c.event({ name: 'settings.changed', organisation_id: id }))
    const last = async ({ metadata }: TestMetadata) =>
      (await sql<{ id: number }>`select max(seq) as id from events`.execute(metadata.kysely)).rows[0]?.id ?? 0
    assert.ok((await last(other)) > (await last(one)))

    await assert.rejects(copyIn(file, other.metadata, home), { code: 'metadata_used' })
    await assert.rejects(copyOut(one.metadata, file), { code: 'EEXIST' })
  })

  test('a copy is one state, while others write two rows at a time', async () => {
    const { metadata } = await open()
    let going = true
    const writing = (async () => {
      for (let n = 0; going; n++) {
        await metadata.transaction(async (trx) => {
          await setFact(trx, 'left', n)
          await setFact(trx, 'right', n)
        })
        await new Promise(setImmediate)
      }
    })()
    for (let round = 0; round < 3; round++) {
      const file = join(home, `${name}-${round}.sqlite`)
      await copyOut(metadata, file)
      const [left, right] = rowsIn(file, `select value from facts where name in ('left', 'right') order by name`)
      assert.deepEqual(left, right)
    }
    going = false
    await writing
  })

  test('one of a former version comes forward, and stays as it is', async () => {
    const former = join(home, `${name}-former.sqlite`)
    const before = openDatabase<Tables>({ type: 'sqlite', file: former })
    await before.close()
    const old = await openMetadata(
      { database: { type: 'sqlite', connection_string: former }, data: { dir: home } },
      { migrations: MIGRATIONS.slice(0, -1) },
    )
    await old.transaction((trx) => setFact(trx, 'seen', 7))
    await old.close()
    const { metadata } = await open()
    await copyIn(former, metadata, home)
    assert.deepEqual((await sql<{ value: string }>`select value from facts where name = 'seen'`.execute(metadata.kysely)).rows, [
      { value: '7' },
    ])
    assert.equal(rowsIn(former, 'select count(*) as n from migrations')[0]?.n, MIGRATIONS.length - 1)
  })
})

eachMetadata((name, open) => {
  if (name !== 'sqlite') return
  test('what is no copy of the metadata is refused', async () => {
    const { metadata } = await open()
    const text = join(home, 'text')
    writeFileSync(text, 'not a database '.repeat(100))
    const strange = join(home, 'strange.sqlite')
    new DatabaseSync(strange).exec('create table of_others (id integer)')
    for (const file of [text, strange, join(home, 'nowhere')])
      await assert.rejects(copyIn(file, metadata, home), { code: 'copy_unreadable' })
    assert.equal(rowsIn(strange, 'select count(*) as n from sqlite_master')[0]?.n, 1)
  })
})
