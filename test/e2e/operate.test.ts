/** One command for many projects; `sovra doctor`. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, openProject, type TestProject } from '../project.ts'
import { until } from '../until.ts'

let server: TestServer
const projects: TestProject[] = []
/** On a disk: the data of a run may lie in memory, and doctor warns of that. */
const empty = mkdtempSync('/var/tmp/sovra-doctor-')
const TMPFS = 0x01021994
let dataDir = ''
const cli = makeCli(() => dataDir)
before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  dataDir = server.dataDir
  for (const name of ['one', 'two', 'three'])
    projects.push(await createProject(server, name, { labels: { stage: name === 'three' ? 'live' : 'test' } }))
})
after(async () => {
  await server.stop()
  cli.remove()
  rmSync(empty, { recursive: true, force: true })
})

interface Result {
  readonly name: string
  readonly status: string
  readonly error: { readonly code: string } | null
  readonly result: unknown
}
const results = (out: string) => JSON.parse(out) as Result[]

test('sleep, wake and db exec take many projects: a table, one exit code', async () => {
  const slept = await cli.run(['projects', 'sleep', '--label', 'stage=test', '--json'])
  assert.equal(slept.code, 0, slept.err)
  assert.deepEqual(
    results(slept.out).map(({ name, status }) => [name, status]),
    [
      ['one', 'done'],
      ['two', 'done'],
    ],
  )
  const statusOf = async () =>
    (await server.api<{ items: { name: string; services: { status: string }[] }[] }>('GET', '/projects?sort=name')).body.items.map(
      ({ services }) => services[0]?.status,
    )
  assert.deepEqual((await statusOf()).filter((status) => status === 'asleep').length, 2)
  const woken = await cli.run(['projects', 'wake', '--org', 'acme', '--parallel', '3'])
  assert.match(woken.out, /3 projects done, 0 failed\./)

  await projects[1]!.sql('create table there (id int)')
  const without = await cli.run(['db', 'exec', '--all', 'insert into there values (1)', '--json', '--parallel', '1'])
  assert.equal(without.code, 1)
  assert.deepEqual(
    results(without.out)
      .map(({ status }) => status)
      .sort(),
    ['failed', 'not tried', 'not tried'],
  )
  const going = await cli.run(['db', 'exec', '--all', '--continue-on-error', 'select count(*)::int as n from there', '--json'])
  assert.equal(going.code, 1)
  assert.deepEqual(
    results(going.out).map(({ name, status }) => [name, status]),
    [
      ['one', 'failed'],
      ['three', 'failed'],
      ['two', 'done'],
    ],
  )
  assert.equal((await cli.run(['projects', 'sleep'])).code, 2)
  assert.equal((await cli.run(['projects', 'sleep', 'one', '--all'])).code, 2)
})

const runs = () => join(cli.home, '.local/state/sovrabase/runs')
/** Records of unfinished runs that have this text. */
const records = (text: string) =>
  (existsSync(runs()) ? readdirSync(runs()) : [])
    .map((name) => join(runs(), name))
    .filter((file) => file.endsWith('.jsonl') && readFileSync(file, 'utf8').includes(text))
const statuses = (out: string) => results(out).map(({ name, status }) => [name, status])
const rows = (text: string) => Promise.all(projects.map(async (project) => (await project.sql(text))[0]?.n))

test('db exec of many, killed and run again: nothing is done twice', async () => {
  const once = `insert into marks values (1); select pg_sleep(60) from blocked`
  const exec = ['db', 'exec', '--all', once, '--parallel', '1']
  for (const project of projects) await project.sql('create table marks (n int); create table blocked ()')
  const third = projects[2]!
  await third.sql('insert into blocked default values')
  const killed = cli.start(exec)
  const running = "from pg_stat_activity where query like '%pg_sleep(60)%' and wait_event = 'PgSleep'"
  await until(async () => (await third.sql(`select pid ${running}`)).length > 0)
  const twice = await cli.run(exec)
  assert.deepEqual([twice.code, /runs already, as process \d+/.test(twice.err)], [1, true], twice.err)
  killed.child.kill('SIGKILL')
  await killed.ended
  await third.sql(`select pg_terminate_backend(pid) ${running}`)
  await third.sql('truncate blocked')
  // As if it had been killed between COMMIT and the record of it: PostgreSQL knows.
  const [file = ''] = records('"xid:')
  const record = readFileSync(file, 'utf8')
  assert.match(record, /"done"/)
  writeFileSync(file, record.replace(/\n.*"done".*/, ''))
  const again = await cli.run([...exec, '--json'])
  assert.deepEqual(statuses(again.out), [
    ['one', 'done before'],
    ['three', 'done'],
    ['two', 'done'],
  ])
  assert.deepEqual([again.code, await rows('select count(*)::int as n from marks'), records('"xid:')], [0, [1, 1, 1], []])
})

test('db exec of many without a transaction of ours: what is not known is said, and not done again', async () => {
  const text = 'begin; insert into marks values (2); commit; select pg_sleep(60) from blocked'
  const exec = ['db', 'exec', '--label', 'stage=live', text]
  const third = projects[2]!
  await third.sql('insert into blocked default values')
  const killed = cli.start(exec)
  await until(async () => (await third.sql("select 1 from pg_stat_activity where wait_event = 'PgSleep'")).length > 0)
  killed.child.kill('SIGKILL')
  await killed.ended
  await third.sql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'")
  await third.sql('truncate blocked')
  const again = await cli.run([...exec, '--json'])
  assert.deepEqual([again.code, results(again.out)[0]?.error?.code], [1, 'run_uncertain'])
  const [file = ''] = records('"begun"')
  writeFileSync(file, readFileSync(file, 'utf8').replace(/"at":\d+/, '"at":1'))
  assert.match((await cli.run(exec)).err, /unfinished: 0 projects are done\.[\s\S]*--resume/)
  assert.equal((await cli.run([...exec, '--anew'])).code, 0)
  assert.deepEqual(await rows('select count(*)::int as n from marks where n = 2'), [0, 0, 2])
  // What has written nothing is asked again, and cannot be in a transaction if PostgreSQL says so.
  assert.equal((await cli.run(['db', 'exec', '--all', 'vacuum marks'])).code, 0)
})

test('keys rotate of many, killed and run again: each has one new secret, and all are in the answer', async () => {
  const rotate = ['keys', 'rotate', '--all', '--password', '--parallel', '1', '--json']
  const killed = cli.start(rotate)
  await until(() => records('"begun"').length > 0, undefined, 1)
  killed.child.kill('SIGKILL')
  await killed.ended
  const again = await cli.run(rotate)
  assert.equal(again.code, 0, again.err)
  for (const { ref } of projects) {
    const { body } = await server.api<{ items: { name: string }[] }>('GET', `/projects/${ref}/events`)
    const of = (event: string) => body.items.filter(({ name }) => name === event).length
    assert.deepEqual([of('connection.rotated'), of('key.rotated')], [1, 1])
  }
  const given = results(again.out).map(({ result }) => (result as { anon_key: string }).anon_key)
  const now = await Promise.all(projects.map(async ({ ref }) => (await openProject(server, ref)).anon))
  assert.deepEqual(given.toSorted(), now.toSorted())
})

test('backup create --each: a file for each', async () => {
  await cli.run(['projects', 'sleep', '--all', '--force'])
  const dir = join(empty, 'each')
  mkdirSync(dir)
  const env = { SOVRABASE_BACKUP_PASSPHRASE: 'correct horse' }
  const create = ['backup', 'create', '--all', '--each', '--to', dir, '--json']
  const ran = await cli.run(create, { env })
  assert.equal(ran.code, 0, ran.err)
  const files = results(ran.out).map(({ result }) => (result as { file: string }).file)
  assert.equal(new Set(files).size, 3)
  const verified = await cli.run(['backup', 'verify', files[0] ?? ''], { env })
  assert.match(verified.out, /acme\/one[\s\S]*is whole/)
  assert.equal((await cli.run(['backup', 'create', '--all', '--each', '--to', join(dir, 'nowhere')], { env })).code, 2)
})

interface Doctor {
  readonly failed: number
  readonly checks: { readonly name: string; readonly state: string; readonly says: string; readonly remedy: string | null }[]
}
const check = ({ checks }: Doctor, name: string) => checks.find((one) => one.name === name)

test('doctor looks at machine, configuration and server, and each finding has its remedy', async () => {
  const ran = await cli.run(['doctor', '--json'])
  const found = JSON.parse(ran.out) as Doctor
  assert.equal(ran.code, found.failed > 0 ? 1 : 0)
  for (const name of [
    'platform',
    'memory',
    'clock',
    'configuration',
    'data',
    'disk',
    'server',
    'projects',
    'orphans',
    'drift',
    'versions',
    'processes',
  ])
    assert.equal(check(found, name)?.state, 'ok', `${name}: ${JSON.stringify(check(found, name))}`)
  assert.equal(check(found, 'file-system')?.state, statfsSync(dataDir).type === TMPFS ? 'warn' : 'ok')
  for (const one of found.checks) if (one.state === 'warn' || one.state === 'fail') assert.ok(one.remedy, one.name)
})

test('doctor speaks French where the locale does; names and states are the same', async () => {
  const env = { LC_ALL: 'fr_FR.UTF-8' }
  const [french, english] = await Promise.all([
    cli.run(['doctor', '--json'], { env }),
    cli.run(['doctor', '--json'], { env: { LC_ALL: 'C' } }),
  ])
  const [ours, theirs] = [french, english].map(({ out }) => (JSON.parse(out) as Doctor).checks)
  const named = (checks: Doctor['checks'] = []) => checks.map(({ name, state }) => [name, state])
  assert.deepEqual(named(ours), named(theirs))
  assert.match(ours?.find(({ name }) => name === 'orphans')?.says ?? '', /chaque volume appartient à un projet/)
  const without = await cli.run(['doctor'], { env: { ...env, SOVRABASE_DATA_DIR: join(empty, 'none') } })
  assert.match(without.out, /data: .* sera créé au premier démarrage[\s\S]*server: aucun ne tourne ici/)
})

test('the support bundle has no secret and no name of a project', async () => {
  const file = join(empty, 'support.json.gz')
  const ran = await cli.run(['doctor', '--bundle', file], { env: { SOVRABASE_JWT_SECRET: 'a-secret-of-more-than-32-characters!' } })
  assert.match(ran.out, /Wrote .*support/)
  const text = gunzipSync(readFileSync(file)).toString()
  for (const secret of ['a-secret-of-more', server.localToken, projects[0]!.service, projects[0]!.anon, 'acme'])
    assert.ok(!text.includes(secret), secret)
  assert.ok(text.includes(projects[0]!.ref))
})

test('without a server doctor finds what would stop a start', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => taken.once('listening', resolve))
  const { port } = taken.address() as { port: number }
  const env = { SOVRABASE_DATA_DIR: join(empty, 'data'), SOVRABASE_API_PORT: String(port) }
  const ran = await cli.run(['doctor', '--json'], { env })
  taken.close()
  assert.equal(ran.code, 1)
  const found = JSON.parse(ran.out) as Doctor
  assert.equal(check(found, 'port-api')?.state, 'fail')
  assert.match(check(found, 'port-api')?.remedy ?? '', /SOVRABASE_API_PORT/)
  assert.deepEqual(
    ['server', 'file-system'].map((name) => check(found, name)?.state),
    ['skipped', 'ok'],
  )

  // What works in the directory of a cluster without a server, and data of tomorrow.
  const volume = join(empty, 'data/projects/somebody')
  mkdirSync(volume, { recursive: true })
  const left = spawn('sleep', ['600'], { cwd: volume, stdio: 'ignore' })
  t.after(() => left.kill('SIGKILL'))
  writeFileSync(join(empty, 'data/metadata.sqlite'), '')
  const tomorrow = Date.now() / 1000 + 86_400
  utimesSync(join(empty, 'data/metadata.sqlite'), tomorrow, tomorrow)
  const odd = JSON.parse((await cli.run(['doctor', '--json'], { env })).out) as Doctor
  assert.match(check(odd, 'processes')?.remedy ?? '', new RegExp(`kill -INT ${left.pid}$`))
  assert.equal(check(odd, 'clock-data')?.state, 'fail')

  const config = join(empty, 'config.yaml')
  writeFileSync(config, 'api:\n  prot: 80\n')
  chmodSync(config, 0o600)
  const wrong = JSON.parse((await cli.run(['doctor', '--json'], { env: { CONFIG_PATH: config } })).out) as Doctor
  assert.equal(check(wrong, 'configuration')?.state, 'fail')
})
