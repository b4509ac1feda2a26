import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { until } from '../../../../../../test/until.ts'
import { open } from './base-backup.ts'
import { type Awake, openWorkshop, type Workshop } from './cluster.testing.ts'
import { adminConnection, secretOf } from './connections.ts'
import { ADMIN } from './names.ts'

let workshop: Workshop
let awake: Awake
let admin: pg.Client
const folder = mkdtempSync(join(tmpdir(), 'sovra-base-'))
before(async () => {
  workshop = await openWorkshop()
  awake = await workshop.create().wake()
  admin = new pg.Client(adminConnection(awake.at, secretOf(awake.service, ADMIN)))
  await admin.connect()
})
after(async () => {
  await admin?.end()
  await workshop?.close()
  rmSync(folder, { recursive: true, force: true })
})
const slots = async () => (await admin.query('select slot_name from pg_replication_slots')).rows
const args = () => ({ at: awake.at, password: secretOf(awake.service, ADMIN) })

/** Segments pass, and checkpoints take away what nobody holds. */
async function writeAndCheckpoint(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    await admin.query('create table if not exists public.written (n int); insert into public.written values (1)')
    await admin.query('select pg_switch_wal()')
    await admin.query('checkpoint')
  }
}

test('what is written while a copy is read, and checkpoints, do not break it off', async () => {
  await writeAndCheckpoint()
  const tar = await open(args())
  // It has begun, and waits for its reader: it is larger than what may be under way.
  await new Promise((resolve) => tar.once('readable', resolve))
  assert.equal((await slots()).length, 1)
  await writeAndCheckpoint()
  const whole = await buffer(tar)
  const file = join(folder, 'base.tar')
  writeFileSync(file, whole)
  const names = execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).split('\n')
  assert.ok(
    names.filter((name) => /^pg_wal\/[0-9A-F]{24}$/.test(name)).length >= 2,
    names.filter((name) => name.startsWith('pg_wal')).join(),
  )
  await until(async () => (await slots()).length === 0)
})

test('where people have taken all slots it is made all the same, and one that is broken off holds nothing', async () => {
  const { rows } = await admin.query(`select setting::int as most from pg_settings where name = 'max_replication_slots'`)
  for (let n = 0; n < rows[0].most; n++) await admin.query('select pg_create_physical_replication_slot($1)', [`of_people_${n}`])
  assert.ok((await buffer(await open(args()))).length > 1_000_000)
  for (let n = 0; n < rows[0].most; n++) await admin.query('select pg_drop_replication_slot($1)', [`of_people_${n}`])
  const tar = await open(args())
  await new Promise((resolve) => tar.once('readable', resolve))
  tar.destroy(new Error('the reader went away'))
  tar.on('error', () => {})
  await until(async () => (await slots()).length === 0)
})
