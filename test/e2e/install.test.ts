/** What `make install` puts on a machine, in a scratch directory: started as its unit would, used, upgraded, removed. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { alive, family } from '../processes.ts'
import { until } from '../until.ts'

const run = promisify(execFile)
const root = resolve(import.meta.dirname, '../..')
const scratch = mkdtempSync(join(tmpdir(), 'sovra-install-'))
// As /opt is: the server's own uid passes through.
chmodSync(scratch, 0o755)
const at = (...names: string[]) => join(scratch, ...names)
const places = {
  PREFIX: at('opt', 'sovrabase'),
  SYSCONFDIR: at('etc'),
  STATEDIR: at('var'),
  BINDIR: at('bin'),
  UNITDIR: at('units'),
  START: 'no',
}
const install = (...args: string[]) =>
  run('bash', [join(root, 'scripts/install.sh'), ...args], { env: { ...process.env, ...places }, maxBuffer: 1 << 24 })
const unit = () => readFileSync(join(places.UNITDIR, 'sovrabase.service'), 'utf8')
const config = join(places.SYSCONFDIR, 'config.yaml')
// No variable of the tests' own.
const clean = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: scratch, LANG: 'C.UTF-8' }
const sovra = (...args: string[]) => run(join(places.BINDIR, 'sovra'), args, { env: clean, cwd: scratch })

/** What systemd would do with the unit: environment, arguments, working directory, rights, a socket for notifications. */
function startUnit(): { child: ChildProcess; heard: () => string; output: () => string } {
  const values = (key: string) => [...unit().matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value)
  const socket = at('notify')
  const listener = spawn('python3', ['-uc', LISTEN, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  let heard = ''
  listener.stdout.setEncoding('utf8').on('data', (text: string) => (heard += text))
  after(() => listener.kill('SIGKILL'))
  const environment = Object.fromEntries(values('Environment').map((pair) => pair.split(/=(.*)/s).slice(0, 2)))
  const rights = values('CapabilityBoundingSet')[0]!.toLowerCase().replaceAll('cap_', '+').split(' ').join(',')
  const limited = process.geteuid?.() === 0 ? ['--bounding-set', `-all,${rights}`, '--no-new-privs'] : []
  let output = ''
  const child = spawn('setpriv', ['--pdeathsig=KILL', ...limited, '--', ...values('ExecStart')[0]!.split(' ')], {
    cwd: values('WorkingDirectory')[0],
    env: { ...clean, ...environment, NODE_COMPILE_CACHE: join(root, '.cache/compile'), NOTIFY_SOCKET: socket },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => (output += text))
  return { child, heard: () => heard, output: () => output }
}

const LISTEN = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('LISTENING')
while True:
    text, fds, _, _ = socket.recv_fds(s, 4096, 4)
    print(text.decode())
    # Whoever notifies waits until it is read: until its descriptor is closed.
    for fd in fds: os.close(fd)
`

before(async () => {
  const { stdout } = await install()
  assert.match(stdout, /Installed in/)
})
after(() => rmSync(scratch, { recursive: true, force: true }))

test('program, configuration, unit and command are where they belong, and nothing of developers', () => {
  assert.equal(statSync(config).mode & 0o777, 0o640)
  assert.match(readFileSync(config, 'utf8'), new RegExp(`^ {2}dir: ${places.STATEDIR}$`, 'm'))
  assert.ok(!unit().includes('@'), 'each place is filled in')
  const modules = readdirSync(join(places.PREFIX, 'node_modules'))
  for (const name of ['typescript', 'playwright-core', '@biomejs']) assert.ok(!modules.includes(name), name)
  assert.ok(!existsSync(join(places.PREFIX, 'packages/server/src/config.test.ts')))
  assert.ok(statSync(places.PREFIX).uid === process.geteuid?.())
})

test('systemd accepts the unit', async () => {
  const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', join(places.UNITDIR, 'sovrabase.service')]).catch(
    (error: { stdout: string; stderr: string }) => error,
  )
  const own = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('sovrabase'))
  assert.deepEqual(own, [])
})

/** `systemctl reload`: what ExecReload does, and what the manager must hear: which reload it is, then that it is through. */
async function reloads({ child, heard, output }: ReturnType<typeof startUnit>): Promise<void> {
  const [, command = ''] = /^ExecReload=(.*)$/m.exec(unit()) ?? []
  assert.match(unit(), /^Type=notify\nNotifyAccess=main$/m)
  const before = heard().length
  const asked = process.hrtime.bigint() / 1000n
  await run('sh', ['-c', command.replace('$MAINPID', String(child.pid))])
  if (process.geteuid?.() !== 0) return
  await until(() => heard().slice(before).includes('READY=1'), 90_000).catch(() => assert.fail(output()))
  const said = heard().slice(before)
  const [, usec = '0'] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)\n[\s\S]*^READY=1$/m.exec(said) ?? []
  assert.ok(BigInt(usec) >= asked && BigInt(usec) <= process.hrtime.bigint() / 1000n, said)
  // The main process is the one that it was.
  assert.ok(!said.includes('MAINPID') && child.exitCode === null)
  assert.equal((JSON.parse((await sovra('status', '--json')).stdout) as { projects: { active: number } }).projects.active, 1)
}

test('it starts as the unit would, says so to systemd, serves, logs, and stops cleanly', async () => {
  const free = readFileSync(config, 'utf8').replaceAll(/^ {2}#port: .*$/gm, '  port: 0')
  writeFileSync(config, free)
  const server = startUnit()
  try {
    await until(() => server.child.exitCode !== null || server.heard().includes('READY=1'), 90_000)
    assert.match(server.heard(), /READY=1/, server.output())
    assert.ok(!server.output().includes('Demo project'), 'no demo on a server')
    const status = JSON.parse((await sovra('status', '--json')).stdout) as { projects: { active: number } }
    assert.equal(status.projects.active, 0)
    await sovra('orgs', 'create', 'acme')
    await sovra('projects', 'create', 'shop', '--wait')
    assert.match((await sovra('db', 'exec', 'shop', 'select 6 * 7 as answer')).stdout, /42/)
    assert.match((await sovra('logs', '--limit', '500')).stdout, /INFO\s+request.*route=\/v1/)
    assert.match((await sovra('logs', 'shop')).stdout, /postgres: database system is ready/)
    await reloads(server)
    const all = family(server.child.pid!)
    server.child.kill('SIGTERM')
    await until(() => server.child.exitCode !== null, 60_000)
    assert.equal(server.child.exitCode, 0, server.output())
    await until(() => server.heard().includes('STOPPING=1'))
    assert.deepEqual(alive(all), [])
  } finally {
    server.child.kill('SIGKILL')
  }
})

test('the command starts it as the unit does: without a demo', async () => {
  await sovra('start', '--background')
  try {
    const { projects } = JSON.parse((await sovra('status', '--json')).stdout) as { projects: { active: number } }
    assert.equal(projects.active, 1, 'what was made before, and nothing else')
  } finally {
    await sovra('stop')
  }
})

test('again is an upgrade that keeps the configuration; uninstalling keeps configuration and data, and says where', async () => {
  const before = readFileSync(config, 'utf8')
  writeFileSync(join(places.PREFIX, 'old-file'), '')
  assert.match((await install()).stdout, /Kept .*config\.yaml/)
  assert.equal(readFileSync(config, 'utf8'), before)
  assert.ok(!existsSync(join(places.PREFIX, 'old-file')))
  const { stdout } = await install('--uninstall')
  assert.ok(stdout.includes(places.STATEDIR) && stdout.includes(places.SYSCONFDIR))
  for (const gone of [places.PREFIX, join(places.BINDIR, 'sovra'), join(places.UNITDIR, 'sovrabase.service')])
    assert.ok(!existsSync(gone), gone)
  assert.ok(existsSync(config))
  assert.ok(readdirSync(join(places.STATEDIR, 'projects')).length > 0)
  assert.match((await install('--uninstall')).stdout, /Removed/)
})
