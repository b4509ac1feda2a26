import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { setFact } from './facts.ts'
import { MIGRATIONS } from './migrations/index.ts'
import { openMetadata } from './open.ts'
import { copyDatabase, snapshotBeforeMigrations, snapshotMetadata } from './snapshot.ts'

const home = mkdtempSync(join(tmpdir(), 'sovra-snapshot-'))
after(() => rmSync(home, { recursive: true, force: true }))

const config = { database: { type: 'sqlite' as const }, data: { dir: home } }
const file = join(home, 'metadata.sqlite')
const dir = join(home, 'snapshots')
const factIn = (path: string) => {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    return database.prepare(`select value from facts where name = 'seen'`).get()?.value
  } finally {
    database.close()
  }
}

test('a new database needs no snapshot, one that is behind gets one, one that is current none', async () => {
  assert.equal(await snapshotBeforeMigrations(file, { dir, keep: 5 }), undefined)
  const former = await openMetadata(config, { migrations: MIGRATIONS.slice(0, -1) })
  await former.transaction((trx) => setFact(trx, 'seen', 1))
  await former.close()
  assert.equal(await snapshotBeforeMigrations(file, { dir, keep: 0 }), undefined)
  const made = await snapshotBeforeMigrations(file, { dir, keep: 5 })
  assert.match(made ?? '', /-before-[a-z0-9-]+\.sqlite$/)
  const metadata = await openMetadata(config)
  await metadata.transaction((trx) => setFact(trx, 'seen', 2))
  assert.equal(await snapshotBeforeMigrations(file, { dir, keep: 5 }), undefined)
  assert.equal(factIn(made ?? ''), '1')
  // The former version of the program starts on the snapshot: it knows nothing newer in it.
  const back = await openMetadata(
    { ...config, database: { type: 'sqlite', connection_string: made! } },
    { migrations: MIGRATIONS.slice(0, -1) },
  )
  await back.close()
  await metadata.close()
})

test('made while it is written to, whole, private, and so many are kept', async () => {
  const metadata = await openMetadata(config)
  const start = Date.UTC(2027, 0, 1)
  for (let day = 0; day < 6; day++) {
    await metadata.transaction((trx) => setFact(trx, 'seen', 10 + day))
    const writing = metadata.transaction((trx) => setFact(trx, 'other', day))
    const path = await snapshotMetadata((to) => copyDatabase(file, to), { dir, label: 'daily', keep: 3, now: start + day * 86_400_000 })
    await writing
    assert.equal(factIn(path), String(10 + day))
    assert.equal(statSync(path).mode & 0o777, 0o600)
  }
  assert.deepEqual(
    readdirSync(dir)
      .filter((name) => name.endsWith('.sqlite'))
      .sort(),
    ['metadata-20270104T000000Z-daily.sqlite', 'metadata-20270105T000000Z-daily.sqlite', 'metadata-20270106T000000Z-daily.sqlite'],
  )
  assert.ok(readdirSync(dir).every((name) => !name.endsWith('.part')))
  await metadata.close()
})
