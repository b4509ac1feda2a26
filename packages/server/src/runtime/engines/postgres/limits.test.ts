import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { until } from '../../../../../../test/until.ts'
import { asRole } from './as-role.ts'
import { type Awake, openWorkshop, refused, type Workshop } from './cluster.testing.ts'
import { EMPTY_QUOTA, nextQuota } from './limits.ts'

const MIB = 1024 * 1024

describe('the disk quota', () => {
  it('fills and empties with some distance, and ends writers only past its reserve', () => {
    const full = nextQuota(EMPTY_QUOTA, 101 * MIB, 100)
    assert.deepEqual(full, { full: true, endWriters: false, disk: 101 * MIB })
    assert.equal(nextQuota(full, 96 * MIB, 100).full, true)
    assert.equal(nextQuota(full, 94 * MIB, 100).full, false)
    const over = nextQuota(full, 300 * MIB, 100)
    assert.equal(over.endWriters, true)
    assert.equal(nextQuota(over, 300 * MIB, 100).endWriters, false)
    assert.equal(nextQuota(over, 999 * MIB, 0).full, false)
  })
})

describe('the limits of an awake cluster', () => {
  let workshop: Workshop
  let awake: Awake
  before(async () => {
    workshop = await openWorkshop()
    awake = await workshop.create({ disk: 100, wire_statement_timeout: 300, wire_idle_transaction_timeout: 300, temp_files: 1 }).wake()
  })
  after(async () => {
    await workshop?.close()
  })
  const enforce = (disk?: number) => awake.cluster.enforce?.({ disk })

  it('cancels a statement that runs over its time, whatever its session has set', async () => {
    const owner = await awake.connect()
    await owner.query('set statement_timeout = 0')
    const running = refused(owner, 'select pg_sleep(60)')
    let code: string | undefined
    running.then((found) => {
      code = found
    })
    await until(async () => {
      await enforce()
      return code
    })
    assert.equal(code, '57014')
    await owner.end()
  })

  it('ends a transaction that is left open, and leaves idle connections and the gateway’s alone', async () => {
    const idle = await awake.connect()
    const open = await awake.connect()
    let ended = false
    open.once('end', () => {
      ended = true
    })
    await open.query('begin; select 1')
    const asked = asRole(
      awake.cluster.pool,
      { role: 'service_role', claimsJson: '{}', searchPath: 'public' },
      { sql: 'select pg_sleep(1)', params: [] },
      { exclusive: true },
    )
    await until(async () => {
      await enforce()
      return ended
    })
    await asked
    assert.deepEqual((await idle.query('select 1 as one')).rows, [{ one: 1 }])
    await idle.end()
  })

  it('knows when people last said something', async () => {
    const owner = await awake.connect()
    const before = Date.now() - 5
    await owner.query('select 1')
    const last = (await awake.cluster.lastActivity?.()) ?? 0
    assert.ok(last >= before && last <= Date.now() + 5)
    await owner.end()
    await until(async () => (await awake.cluster.lastActivity?.()) === 0)
  })

  it('bounds temp files', async () => {
    const owner = await awake.connect()
    await owner.query(`set work_mem = '64kB'`)
    assert.equal(
      await refused(owner, 'select count(*) from (select i from generate_series(1, 2000000) i order by i desc offset 1) t'),
      '53400',
    )
    await owner.end()
  })

  it('makes a full cluster read-only, open sessions too, with a way to free space', async () => {
    const owner = await awake.connect()
    await owner.query('create table public.big (n int); insert into public.big select generate_series(1, 100)')
    await enforce(101 * MIB)
    assert.equal(awake.cluster.full, true)
    await until(async () => (await refused(owner, 'insert into public.big values (1)')) === '25006')
    await owner.query('begin read write; delete from public.big where n > 50; commit')
    await owner.query('set default_transaction_read_only = off')
    await owner.query('truncate public.big; drop table public.big')
    await owner.end()
    const api = (sql: string) =>
      asRole(awake.cluster.pool, { role: 'service_role', claimsJson: '{}', searchPath: 'public' }, { sql, params: [] }, { exclusive: true })
    // The gateway's own sessions are not: it decides for each request.
    assert.equal(String((await api(`select current_setting('transaction_read_only')`)).values[0]), 'off')
    await enforce(90 * MIB)
    assert.equal(awake.cluster.full, false)
    const later = await awake.connect()
    await until(async () => (await refused(later, 'create table public.again (n int)')) === 'allowed')
    await later.end()
  })

  it('ends who writes on past the reserve', async () => {
    await enforce(101 * MIB)
    const owner = await awake.connect()
    let ended = false
    owner.once('end', () => {
      ended = true
    })
    await owner.query('begin read write; create table public.more (n int)')
    await enforce(400 * MIB)
    await until(() => ended)
    await enforce(1 * MIB)
  })
})
