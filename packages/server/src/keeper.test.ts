import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { until } from '../../../test/until.ts'
import { lives, processes, tempDir, testPrograms } from './runtime/drivers/embedded/postgres.testing.ts'

const root = process.geteuid?.() === 0
const needsRoot = { skip: !root && 'needs root' }
const SCRIPT = join(import.meta.dirname, 'keeper.testing.ts')
const dirs: string[] = []
const started: ChildProcess[] = []

interface Ready {
  pid: number
  uid: number
  pids: number[]
  counts: number[]
  isolation: string
  limits: string
  refused: string
  data: string
  shownDataDir: string
  app: string
}

interface Line {
  ready?: Ready
  failed?: { code: string; message: string; hint: string }
  stop?: string
  exit?: string
}

/** Starts it and collects what it says. */
function start(
  dataDir: string,
  clusters: string[],
  how: { before?: string[]; env?: NodeJS.ProcessEnv; script?: string; node?: string } = {},
) {
  const [program = '', ...args] = [...(how.before ?? []), how.node ?? process.execPath, how.script ?? SCRIPT, dataDir, ...clusters]
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...how.env }, cwd: '/' })
  started.push(child)
  const lines: Line[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line) as Line))
  const ended = new Promise<number | null>((done) => child.once('close', done))
  const first = <K extends keyof Line>(kind: K) => until(() => lines.find((line) => line[kind] !== undefined)?.[kind], 30_000)
  const ready = async (): Promise<Ready> => {
    const line = await until(() => lines.find((one) => one.ready ?? one.failed), 30_000)
    assert.ok(line.ready, JSON.stringify(line))
    return line.ready
  }
  return { child, lines, ended, first, ready }
}

function fresh(mode?: number): string {
  const dir = tempDir(mode)
  dirs.push(dir)
  return dir
}

/** Processes that belong to the data directory: the server's and the projects' uids, or what names it. */
const leftOf = (data: string) =>
  processes((pid) => {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return words.includes(data) || (words.startsWith('postgres:') && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(data))
  })

let data: string
before(async () => {
  await testPrograms()
  data = join(fresh(), 'data')
})
after(() => {
  for (const child of started) child.kill('SIGKILL')
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
})

test(
  'as root: the server is its child without rights, each cluster has a uid of its own; a second start learns of the first',
  needsRoot,
  async () => {
    const one = start(data, ['a', 'b'])
    const ready = await one.ready()
    assert.notEqual(ready.pid, one.child.pid)
    assert.equal(ready.isolation, 'full')
    assert.equal(ready.refused, 'order_refused')
    const uids = [ready.uid, ...ready.pids.map((pid) => statSync(`/proc/${pid}`).uid)]
    assert.ok(!uids.includes(0))
    assert.equal(new Set(uids).size, 3)
    const status = readFileSync(`/proc/${ready.pid}/status`, 'utf8')
    assert.match(status, /CapEff:\t0+\n/)
    assert.match(status, /NoNewPrivs:\t1/)
    assert.match(status, /Groups:\t\s*\n/)

    const second = start(data, [])
    const failed = await second.first('failed')
    assert.equal(failed.code, 'already_running')
    assert.match(failed.message, new RegExp(`pid ${one.child.pid}, http://localhost:4711`))
    assert.equal(await second.ended, 3)

    // What the server, taken over, could do to the directories that the keeper works in: nothing.
    const as = (command: string) =>
      spawnSync('setpriv', [`--reuid=${ready.uid}`, `--regid=${ready.uid}`, '--clear-groups', 'sh', '-c', command]).status
    assert.equal(as(`touch ${data}/metadata.db`), 0)
    for (const name of ['projects', 'templates', 'engines', 'lock', 'logs']) assert.notEqual(as(`mv ${data}/${name} ${data}/x`), 0, name)
    assert.notEqual(as(`ls ${data}/projects/v-a`), 0)

    one.child.kill('SIGTERM')
    assert.equal(await one.first('stop'), 'SIGTERM')
    assert.equal(await one.ended, 0)
    for (const pid of [ready.pid, ...ready.pids]) assert.ok(!lives(pid))
  },
)

test('SIGKILL of the keeper ends the server and every cluster; the next start recovers them', needsRoot, async () => {
  const one = start(data, ['a', 'b'])
  const ready = await one.ready()
  one.child.kill('SIGKILL')
  await until(() => [ready.pid, ...ready.pids].every((pid) => !lives(pid)))
  await until(() => leftOf(data).length === 0)
  const two = start(data, ['a', 'b'])
  const again = await two.ready()
  assert.ok(
    again.counts.every((n, index) => n > ready.counts[index]!),
    'acknowledged rows are there',
  )

  // And of the server: the keeper ends the clusters and says how it ended.
  process.kill(again.pid, 'SIGKILL')
  assert.equal(await two.ended, 137)
  for (const pid of again.pids) assert.ok(!lives(pid))
})

test('a server whose keeper is gone ends before it takes that for an answer', async () => {
  // We are its keeper, and never answer.
  const dir = fresh()
  const places = { dataDir: dir, shownDataDir: dir, runtimeDir: dir, used: false, app: dir }
  const seat = JSON.stringify({ ...places, keeper: process.pid, heir: false, isolation: 'full', limits: 'rlimit' })
  const child = spawn(process.execPath, [SCRIPT, dir], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: { ...process.env, SOVRABASE_SEAT: seat },
  })
  started.push(child)
  let said = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = new Promise<NodeJS.Signals | null>((done) => child.once('exit', (_code, signal) => done(signal)))
  await new Promise((asked) => child.once('message', asked))
  child.disconnect()
  assert.equal(await ended, 'SIGKILL')
  assert.equal(said, '')
})

test('a signal to the process group reaches the keeper only, which drains', needsRoot, async () => {
  const one = start(data, ['a'], { before: ['setsid', '--wait'] })
  const ready = await one.ready()
  const keeper = Number(/PPid:\t(\d+)/.exec(readFileSync(`/proc/${ready.pid}/status`, 'utf8'))?.[1])
  process.kill(-keeper, 'SIGINT')
  assert.equal(await one.first('stop'), 'SIGINT')
  assert.equal(await one.ended, 0)
  assert.deepEqual(
    one.lines.filter((line) => line.exit),
    [],
  )
})

test('few uids: one for the server and one for all projects', needsRoot, async () => {
  const one = start(join(fresh(), 'data'), ['a', 'b'], { env: { TEST_UID_MAP: '0 0 1\n1 1 300\n' } })
  const ready = await one.ready()
  assert.equal(ready.isolation, 'same-user')
  assert.equal(ready.uid, 299)
  assert.deepEqual(
    ready.pids.map((pid) => statSync(`/proc/${pid}`).uid),
    [300, 300],
  )
  one.child.kill('SIGTERM')
  assert.equal(await one.ended, 0)
})

test('no uid but root: in a user namespace of its own, as somebody else', needsRoot, async () => {
  const one = start(join(fresh(), 'data'), ['a'], { before: ['unshare', '--user', '--map-root-user'] })
  const ready = await one.ready()
  assert.equal(ready.isolation, 'same-user')
  assert.notEqual(ready.uid, 0)
  one.child.kill('SIGTERM')
  assert.equal(await one.ended, 0)
})

test('as a normal user without an account: one process, its clusters end with it', needsRoot, async () => {
  const dir = fresh()
  mkdirSync(join(dir, 'home'))
  spawnSync('chown', ['31337:31337', join(dir, 'home')])
  const user = ['setpriv', '--reuid=31337', '--regid=31337', '--clear-groups']
  const mine = join(dir, 'home/data')
  const one = start(mine, ['a'], { before: user })
  const ready = await one.ready()
  assert.equal(ready.isolation, 'same-user')
  assert.equal(ready.pid, one.child.pid)
  assert.equal(ready.uid, 31337)
  const second = start(mine, [], { before: user })
  assert.equal(await second.ended, 3)
  one.child.kill('SIGKILL')
  await until(() => ready.pids.every((pid) => !lives(pid)))
  const two = start(mine, ['a'], { before: user })
  assert.deepEqual((await two.ready()).counts, [2])
  two.child.kill('SIGINT')
  assert.equal(await two.ended, 0)
  // As root on the same directory: nothing is touched until it is given to root; then everything is taken over.
  const other = async (how: { before?: string[] }) => {
    const refused = start(mine, ['a'], how)
    const failed = await refused.first('failed')
    assert.equal(failed.code, 'directory_of_another')
    assert.ok(failed.message.includes(mine))
    assert.match(failed.hint, /chown/)
    assert.equal(await refused.ended, 2)
  }
  await other({})
  spawnSync('chown', ['-R', 'root:', mine])
  const three = start(mine, ['a'])
  const taken = await three.ready()
  assert.equal(taken.isolation, 'full')
  assert.deepEqual(taken.counts, [3])
  three.child.kill('SIGTERM')
  assert.equal(await three.ended, 0)
  // And back.
  await other({ before: user })
})

test('data and clone below a directory that others cannot enter', needsRoot, async () => {
  const dir = fresh(0o700)
  const clone = join(dir, 'clone')
  const repository = resolve(import.meta.dirname, '../../..')
  for (const part of ['packages/server/src', 'packages/contract', 'packages/server/package.json', 'test/until.ts', 'package.json']) {
    cpSync(join(repository, part), join(clone, part), { recursive: true, filter: (file) => !file.includes('node_modules') })
  }
  symlinkSync(join(repository, 'node_modules'), join(clone, 'node_modules'))
  const node = join(dir, 'node')
  cpSync(process.execPath, node)
  const script = join(clone, 'packages/server/src/keeper.testing.ts')
  const one = start(join(clone, 'data'), ['a'], { script, node })
  const ready = await one.ready()
  assert.equal(ready.isolation, 'full')
  assert.equal(ready.shownDataDir, join(clone, 'data'))
  assert.ok(ready.app.startsWith('/run/sovrabase/') && ready.data.startsWith('/run/sovrabase/'))
  one.child.kill('SIGTERM')
  assert.equal(await one.ended, 0)
  assert.deepEqual(spawnSync('findmnt', ['-n', '/run/sovrabase'], { encoding: 'utf8' }).stdout, '')

  // Where mounting is not permitted, one error names the directory.
  const refused = start(join(clone, 'data'), ['a'], { script, node, before: ['setpriv', '--bounding-set=-sys_admin'] })
  const failed = await refused.first('failed')
  assert.equal(failed.code, 'directory_closed')
  assert.ok(failed.message.includes(`${dir} is closed`), failed.message)
  assert.match(failed.hint, new RegExp(`chmod o\\+x ${dir}`))
  assert.equal(await refused.ended, 2)
})

test('a place that cannot be used is one error that names it', async () => {
  const file = join(fresh(), 'file')
  writeFileSync(file, '')
  const one = start(file, [])
  const failed = await one.first('failed')
  assert.equal(failed.code, 'directory_unusable')
  assert.ok(failed.message.includes(file))
  assert.equal(await one.ended, 2)
})
