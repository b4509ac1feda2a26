import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { until } from '../../../../../../test/until.ts'
import { PackedTar } from '../../../base/archive/pour.ts'
import type { Endpoint } from '../../driver.ts'
import { type Accounts, ownAccounts } from './accounts.ts'
import { directHands } from './direct.ts'
import { type EmbeddedDriver, embeddedDriver } from './driver.ts'
import type { Hands } from './hands.ts'
import { openLayout } from './layout.ts'
import { lives, processes, query, TEMPLATE, tempDir, template, testPrograms, workload } from './postgres.testing.ts'

// As root this is full isolation; as a normal user everything but the tests that need two uids.
const root = process.geteuid?.() === 0
const home = tempDir()
const accounts = ownAccounts(home) as Accounts
const dirs: string[] = [home]
let data: string
let hands: Hands
let driver: EmbeddedDriver
const exits: string[] = []

async function open(dir: string, more: { accounts?: Accounts; limits?: 'rlimit' } = {}): Promise<{ hands: Hands; driver: EmbeddedDriver }> {
  const opened = await directHands({ layout: openLayout(dir), accounts, programs: await testPrograms(), ...more })
  return { hands: opened, driver: embeddedDriver(opened) }
}

const as = (uid: number, ...command: string[]) =>
  spawnSync('setpriv', [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', ...command], { encoding: 'utf8', cwd: '/' })
const path = (volume: string) => join(data, 'projects', volume)

before(async () => {
  const dir = tempDir()
  dirs.push(dir)
  data = join(dir, 'data')
  ;({ hands, driver } = await open(data))
  driver.onExit((id, detail) => exits.push(`${id}: ${detail}`))
  await Promise.all([driver.template(template), driver.template(template)])
})
after(async () => {
  await driver?.close()
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
})

test('create, start, stop, start again: the rows stay; every step may be repeated', async () => {
  const [one, same] = await Promise.all([driver.apply(workload('a')), driver.apply(workload('a'))])
  assert.deepEqual(one, same)
  await query(one, 'insert into seen values (1)')
  assert.deepEqual(await driver.inspect('a', 'v-a'), { state: 'awake', pid: one.pid })
  await driver.sleep('a')
  await driver.sleep('a')
  assert.ok(!lives(one.pid!))
  const asleep = await driver.inspect('a', 'v-a', { disk: true })
  assert.equal(asleep.state, 'asleep')
  assert.ok(asleep.disk! > 1 << 20 && asleep.disk! < 40 << 20, `disk ${asleep.disk}`)
  const again = await driver.apply(workload('a'))
  assert.notEqual(again.run, one.run)
  assert.deepEqual(await query(again, 'select n from seen'), [{ n: 1 }])
  assert.equal(exits.length, 0)
})

test('a changed workload restarts it, with its new files', async () => {
  const one = await driver.apply(workload('a'))
  const files = { ...workload('a').files, 'postgresql.conf': `${workload('a').files['postgresql.conf']}work_mem = '5MB'\n` }
  const other = await driver.apply(workload('a', { files }))
  assert.notEqual(other.run, one.run)
  assert.deepEqual(await query(other, 'show work_mem'), [{ work_mem: '5MB' }])
})

test('a link in the place of a written file is replaced, not followed', async () => {
  await driver.sleep('a')
  const victim = join(data, '..', 'victim')
  writeFileSync(victim, 'untouched')
  rmSync(join(path('v-a'), 'pg_hba.conf'))
  symlinkSync(victim, join(path('v-a'), 'pg_hba.conf'))
  await driver.apply(workload('a'))
  assert.equal(readFileSync(victim, 'utf8'), 'untouched')
  assert.ok(lstatSync(join(path('v-a'), 'pg_hba.conf')).isFile())
})

test('kill -9 of a cluster: told once, nothing of it is left, the next start recovers', async () => {
  const one = await driver.apply(workload('kill'))
  await query(one, 'insert into seen values (7)')
  // A backend that is busy does not look whether its postmaster lives.
  const busy = query(one, 'do $$ begin loop end loop; end $$').catch(() => 'gone')
  const uid = statSync(path('v-kill')).uid
  const mine = () => processes((pid, owner) => (root ? owner === uid : pid === one.pid))
  await until(async () => (await query(one, "select 1 from pg_stat_activity where query like 'do $$%' and state = 'active'")).length === 1)
  process.kill(one.pid!, 'SIGKILL')
  await until(() => exits.some((text) => text.startsWith('kill: ended by SIGKILL')))
  assert.deepEqual(mine(), [])
  await busy
  assert.equal((await driver.inspect('kill', 'v-kill')).state, 'crashed')
  assert.ok(existsSync(join(path('v-kill'), 'postmaster.pid')))
  const again = await driver.apply(workload('kill'))
  assert.deepEqual(await query(again, 'select n from seen'), [{ n: 7 }])
  assert.equal(exits.filter((text) => text.startsWith('kill:')).length, 1)
  await driver.remove('kill', 'v-kill')
})

test('a start that fails tells why, and harms no other', async () => {
  const id = 'broken'
  await driver.apply(workload(id, { files: { ...workload(id).files, 'postgresql.conf': 'nonsense = 1\n' } }))
  const told = await until(() => exits.find((text) => text.startsWith('broken:')))
  assert.match(told, /ended with code 1.*nonsense/s)
  assert.match(await driver.log('v-broken', 10_000), /nonsense/)
  assert.equal((await driver.inspect('a', 'v-a')).state, 'awake')
  await driver.remove(id, 'v-broken')
})

test('a pid file of another life does not stop the start', async () => {
  const one = await driver.apply(workload('stale'))
  await query(one, 'select 1')
  await driver.sleep('stale')
  // Its number is ours now, as after a restart of a container.
  writeFileSync(join(path('v-stale'), 'postmaster.pid'), `${process.pid}\n${path('v-stale')}\n1\n5432\n`)
  assert.deepEqual(await query(await driver.apply(workload('stale')), 'select 1 as one'), [{ one: 1 }])
  await driver.remove('stale', 'v-stale')
})

test('a copy has the rows and a life of its own; names that are taken, missing or running are refused', async () => {
  const from = await driver.apply(workload('from'))
  await query(from, 'insert into seen values (3)')
  await assert.rejects(driver.copy('v-from', 'v-to'), { code: 'volume_running' })
  await driver.sleep('from')
  await driver.copy('v-from', 'v-to')
  await assert.rejects(driver.copy('v-from', 'v-to'), { code: 'volume_exists' })
  await assert.rejects(driver.copy('v-none', 'v-x'), { code: 'volume_missing' })
  await assert.rejects(driver.apply(workload('x', { template: 'none' })), { code: 'template_missing' })
  await query(await driver.apply(workload('to')), 'insert into seen values (4)')
  assert.deepEqual(await query(await driver.apply(workload('from')), 'select n from seen'), [{ n: 3 }])
  await driver.sleep('to')
  await driver.move('v-to', 'v-moved')
  assert.deepEqual(await query(await driver.apply(workload('moved')), 'select n from seen order by n'), [{ n: 3 }, { n: 4 }])
  for (const id of ['from', 'moved', 'moved']) await driver.remove(id, `v-${id}`)
  assert.equal((await driver.inspect('moved', 'v-moved')).state, 'absent')
  assert.deepEqual(
    readdirSync(join(data, 'projects')).filter((name) => name !== 'v-a'),
    [],
  )
})

test('a tar that is cut, also between two members, is no volume', async () => {
  const from = tempDir()
  dirs.push(from)
  for (const name of ['a', 'b']) writeFileSync(join(from, name), name.repeat(100_000))
  const tar = execFileSync('tar', ['-C', from, '-cf', '-', 'a', 'b'])
  const member = 512 + Math.ceil(100_000 / 512) * 512
  async function* cut(of: Buffer, at: number): AsyncGenerator<Buffer> {
    yield of.subarray(0, at)
    throw new Error('the sender went away')
  }
  const cuts = [member, member + 1000].map((at) => Readable.from(cut(tar, at), { objectMode: false }))
  // Its first frame is whole, as one of several that follow each other.
  const frame = zstdCompressSync(tar.subarray(0, member))
  for (const source of [...cuts, new PackedTar(cut(frame, frame.length)), new PackedTar(cut(frame, frame.length - 10))]) {
    await assert.rejects(driver.unpack!('v-cut', source), /the sender went away/)
    assert.equal((await driver.inspect('cut', 'v-cut')).state, 'absent')
  }
  async function* whole(): AsyncGenerator<Buffer> {
    yield zstdCompressSync(tar)
  }
  await driver.unpack!('v-cut', new PackedTar(whole()))
  assert.equal(readFileSync(join(path('v-cut'), 'b'), 'utf8'), 'b'.repeat(100_000))
  await driver.remove('cut', 'v-cut')
})

test('a copy that is killed half-way is no volume, and is swept at the next start', async () => {
  const dir = tempDir()
  dirs.push(dir)
  const script = `
    const [, hands, layout, accounts, testing, data, from] = process.argv
    const { directHands } = await import(hands); const { openLayout } = await import(layout)
    const { ownAccounts } = await import(accounts); const { testPrograms } = await import(testing)
    const h = await directHands({ layout: openLayout(data), accounts: ownAccounts(data), programs: await testPrograms() })
    const { cpSync } = await import('node:fs')
    cpSync(from, data + '/templates/t', { recursive: true })
    process.send('ready'); await h.make('half', 't')`
  const here = (name: string) => new URL(name, import.meta.url).href
  const files = ['./direct.ts', './layout.ts', './accounts.ts', './postgres.testing.ts'].map(here)
  const target = join(dir, 'data')
  mkdirSync(target)
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, ...files, target, join(data, 'templates', TEMPLATE)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await new Promise((resolve) => child.once('message', resolve))
  const half = () => readdirSync(join(target, 'projects')).find((name) => name.startsWith('.new-'))
  await until(() => half() !== undefined && readdirSync(join(target, 'projects', half()!)).length > 2, 15_000, 1)
  child.kill('SIGKILL')
  await ended
  const second = await open(target)
  assert.deepEqual(await second.hands.volumes(), [])
  await until(() => readdirSync(join(target, 'projects')).length === 0)
  assert.equal(await second.hands.make('half', 't'), true)
  assert.equal(await second.hands.make('half', 't'), false)
  await second.driver.close()
})

test('a stopped data directory can be moved', async () => {
  const dir = tempDir()
  dirs.push(dir)
  mkdirSync(join(dir, 'old'), { mode: 0o711 })
  const first = await open(join(dir, 'old'))
  execFileSync('cp', ['-a', join(data, 'templates', TEMPLATE), join(dir, 'old/templates')])
  await query(await first.driver.apply(workload('m')), 'insert into seen values (5)')
  await first.driver.close()
  renameSync(join(dir, 'old'), join(dir, 'new'))
  const second = await open(join(dir, 'new'))
  assert.deepEqual(await query(await second.driver.apply(workload('m')), 'select n from seen'), [{ n: 5 }])
  await second.driver.close()
})

test('memory: what runs over the limit fails, its neighbours do not', async (t) => {
  t.diagnostic(`limits by ${hands.facts.limits}`)
  const at = await driver.apply(workload('mem', { limits: { memory: 64, disk: 0 } }))
  assert.deepEqual(await query(at, 'select 1 as one'), [{ one: 1 }])
  await assert.rejects(query(at, `select length(string_agg(repeat('x', 1000), '')) from generate_series(1, 300000)`))
  assert.deepEqual(await query(await driver.apply(workload('mem', { limits: { memory: 64, disk: 0 } })), 'select 1 as one'), [{ one: 1 }])
  const score = Number(readFileSync(`/proc/${at.pid}/oom_score_adj`, 'utf8'))
  assert.ok(score > Number(readFileSync('/proc/self/oom_score_adj', 'utf8')))
  await driver.remove('mem', 'v-mem')
})

test('memory by rlimits where there is no cgroup', async () => {
  const dir = tempDir()
  dirs.push(dir)
  const other = await open(join(dir, 'data'), { limits: 'rlimit' })
  assert.equal(other.hands.facts.limits, 'rlimit')
  execFileSync('cp', ['-a', join(data, 'templates', TEMPLATE), join(dir, 'data/templates')])
  const at = await other.driver.apply(workload('r', { limits: { memory: 64, disk: 0 } }))
  await assert.rejects(query(at, `select length(string_agg(repeat('x', 1000), '')) from generate_series(1, 300000)`), /memory/)
  assert.deepEqual(await query(at, 'select 1 as one'), [{ one: 1 }])
  await other.driver.close()
})

test('an order for a program that is not of the list is refused', async () => {
  await assert.rejects(driver.apply(workload('bad', { command: ['/bin/sh', '-c', 'id'] })), { code: 'order_refused' })
  await assert.rejects(driver.apply(workload('bad', { command: ['constructor'] })), { code: 'order_refused' })
  await driver.remove('bad', 'v-bad')
})

test('a volume is run by what its version needs; one of an unknown version is not started', async () => {
  const version = readFileSync(join(data, 'templates', TEMPLATE, 'PG_VERSION'), 'utf8').trim()
  const other = { command: ['postgres', '-D', '{volume}', '-k', '{runtime}', '-c', 'work_mem=7MB'], files: {} }
  const of = (known: Record<string, typeof other>) => workload('v', { versions: { file: 'PG_VERSION', own: '9', known } })
  const at = await driver.apply(of({ [version]: other }))
  assert.deepEqual(await query(at, 'show work_mem'), [{ work_mem: '7MB' }])
  await driver.sleep('v')
  await assert.rejects(driver.apply(of({ '8': other })), { code: 'engine_major_missing' })
  await driver.remove('v', 'v-v')
})

test('a volume that is worked on: its source is only read, what programs leave is ended, and it becomes its inner directory', async () => {
  await driver.apply(workload('w'))
  await driver.sleep('w')
  const { refit } = driver
  assert.ok(refit)
  await refit.stage('v-w', 'v-w2', { 'note.txt': 'x' })
  await assert.rejects(refit.stage('v-w', 'v-w2', {}), { code: 'volume_exists' })
  if (root) assert.notEqual(statSync(path('v-w')).uid, statSync(path('v-w2')).uid)
  assert.equal(statSync(join(path('v-w2'), 'old/PG_VERSION')).uid, statSync(path('v-w2')).uid)
  const run = (script: string, input?: string) =>
    refit.run('v-w2', { command: ['sh', '-c', script, '{runtime}'], environment: {}, ...(input === undefined ? {} : { input }) })
  assert.equal(await run('cat note.txt - && test -d "$0" && mkdir new', 'y'), 'xy')
  await assert.rejects(run('echo said >&2; exit 3'), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'program_failed')
    assert.match(error.message, /said/)
    return true
  })
  // A server that a killed program has left, in a directory below.
  const left = spawn(
    'setpriv',
    [
      ...(root ? [`--reuid=${statSync(path('v-w2')).uid}`, `--regid=${statSync(path('v-w2')).uid}`, '--clear-groups'] : []),
      '--pdeathsig=KILL',
      (await testPrograms()).postgres,
      '-D',
      '.',
      '-k',
      '.',
      '-c',
      'listen_addresses=',
    ],
    {
      cwd: join(path('v-w2'), 'old'),
      stdio: 'ignore',
      env: {},
    },
  )
  await until(() => existsSync(join(path('v-w2'), 'old/postmaster.pid')))
  await run('true')
  await until(() => left.exitCode !== null || left.signalCode !== null)
  await refit.unfold('v-w2', 'new')
  assert.deepEqual(readdirSync(path('v-w2')), [])
  await assert.rejects(refit.unfold('v-w2', 'new'), { code: 'volume_missing' })
  for (const name of ['w', 'w2']) await driver.remove(name, `v-${name}`)
})

test('two projects cannot enter each other, and nobody else either of them', { skip: !root && 'needs root' }, async () => {
  const one: Endpoint = await driver.apply(workload('one'))
  const two: Endpoint = await driver.apply(workload('two'))
  await Promise.all([query(one, 'select 1'), query(two, 'select 1')])
  const [first, second] = [statSync(path('v-one')), statSync(path('v-two'))]
  assert.notEqual(first.uid, second.uid)
  assert.equal(first.mode & 0o777, 0o700)
  assert.equal(statSync(`/proc/${one.pid}`).uid, first.uid)
  assert.match(readFileSync(`/proc/${one.pid}/status`, 'utf8'), /NoNewPrivs:\t1[\s\S]*/)
  for (const stranger of [second.uid, 65_534]) {
    assert.notEqual(as(stranger, 'ls', path('v-one')).status, 0)
    assert.notEqual(as(stranger, 'cat', join(path('v-one'), 'PG_VERSION')).status, 0)
    assert.notEqual(as(stranger, 'ls', one.host).status, 0)
    assert.notEqual(as(stranger, 'test', '-S', join(one.host, '.s.PGSQL.5432')).status, 0)
    assert.notEqual(as(stranger, 'kill', '-0', String(one.pid)).status, 0)
  }
  assert.equal(as(accounts.server!, 'test', '-S', join(one.host, '.s.PGSQL.5432')).status, 0)
  assert.notEqual(as(accounts.server!, 'ls', path('v-one')).status, 0)
  for (const id of ['one', 'two']) await driver.remove(id, `v-${id}`)
  assert.ok(!existsSync(one.host))
})

test('one service uid for all where few are mapped', { skip: !root && 'needs root' }, async () => {
  const dir = tempDir()
  dirs.push(dir)
  const few: Accounts = { isolation: 'same-user', server: 299_998, projects: { first: 299_999, count: 1 } }
  const other = await open(join(dir, 'data'), { accounts: few })
  assert.equal(other.driver.isolation, 'same-user')
  execFileSync('cp', ['-a', join(data, 'templates', TEMPLATE), join(dir, 'data/templates')])
  const at = await other.driver.apply(workload('f'))
  assert.deepEqual(await query(at, 'select 1 as one'), [{ one: 1 }])
  assert.equal(statSync(`/proc/${at.pid}`).uid, 299_999)
  await other.driver.close()
  // And with uids again, every volume gets one of its own.
  const full = await open(join(dir, 'data'))
  assert.ok(statSync(join(dir, 'data/projects/v-f')).uid >= accounts.projects!.first)
  assert.deepEqual(await query(await full.driver.apply(workload('f')), 'select 1 as one'), [{ one: 1 }])
  await full.driver.close()
})
