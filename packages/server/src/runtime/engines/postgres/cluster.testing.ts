import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { until } from '../../../../../../test/until.ts'
import { silentLog } from '../../../base/log.ts'
import type { Endpoint, Workload } from '../../driver.ts'
import type { Copied } from '../../engine.ts'
import type { Service } from '../../services.ts'
import type { Cluster } from './cluster.ts'
import { prepareTree, TREE_RULES } from './extensions.ts'
import { type PostgresEngine, postgresEngine } from './index.ts'
import type { PostgresSpec } from './spec.ts'
import { openTree, type Tree } from './tree.ts'

/** Real clusters of this engine without a driver: own directory, unprivileged uid, ended with this process. */
export interface Workshop {
  readonly tree: Tree
  readonly directory: string
  readonly engine: PostgresEngine
  /** Builds the engine's template into a directory of its own, in an environment of the caller's choice; answers the directory. */
  build(engine: PostgresEngine, environment?: Record<string, string>): Promise<string>
  /** A new service whose volume is a copy of `from` (default: the template). */
  create(spec?: Partial<PostgresSpec>, from?: string, source?: Service['source']): TestService
  close(): Promise<void>
}

export interface TestService {
  service: Service<Partial<PostgresSpec>>
  readonly volume: string
  /** One wake: start, ready, adopt, prepare, attach. `engine`: another one than the workshop's. */
  wake(options?: { engine?: PostgresEngine; copied?: Copied }): Promise<Awake>
}

export interface Awake {
  readonly at: Endpoint
  readonly cluster: Cluster
  readonly service: Service<Partial<PostgresSpec>>
  /** Signs in as the project's owner, or as another role. */
  connect(user?: string, password?: string, database?: string): Promise<pg.Client>
  kill(): Promise<void>
  sleep(): Promise<void>
}

const TREES = '/tmp/sovrabase-test-engines'
const NOBODY = 65_534
const asRoot = process.getuid?.() === 0
export const BOOTSTRAP = 'bootstrap-of-the-tests'
const setpriv = (): string[] => [
  '/usr/bin/setpriv',
  ...(asRoot ? ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'] : []),
  '--pdeathsig',
  'QUIT',
]

interface Process {
  readonly at: Endpoint
  stop(signal: NodeJS.Signals): Promise<void>
}

let serial = 0

/** What a driver does of a workload, in short. */
function start(tree: Tree, directory: string, workload: Workload, volume: string, environment: Record<string, string> = {}): Process {
  const runtime = mkdtempSync(join(directory, 'r-'))
  if (asRoot) chownSync(runtime, NOBODY, NOBODY)
  for (const [file, text] of Object.entries(workload.files)) writeFileSync(join(volume, file), text)
  rmSync(join(volume, 'postmaster.pid'), { force: true })
  own(volume)
  const args = workload.command.slice(1).map((arg) => arg.replace('{volume}', volume).replace('{runtime}', runtime))
  const [program, ...drop] = setpriv()
  const child = spawn(program ?? '', [...drop, tree.programs.postgres, ...args], {
    env: { ...environment, ...workload.environment },
    cwd: volume,
    stdio: 'ignore',
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const run = String(++serial)
  return {
    at: { service: workload.id, host: runtime, port: 5432, pid: child.pid ?? 0, run },
    async stop(signal) {
      child.kill(signal)
      await exited
      // The others see the end of their parent a moment later; a start before that is refused.
      await until(() => !processesIn(volume))
    },
  }
}

function processesIn(volume: string): boolean {
  return readdirSync('/proc').some((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === volume
    } catch {
      return false
    }
  })
}

function own(path: string): void {
  if (asRoot) spawnSync('chown', ['-R', `${NOBODY}:${NOBODY}`, path])
  chmodSync(path, 0o700)
}

export const testEngine = (version: string, more: { system?: string; bootstrap?: string } = {}): PostgresEngine =>
  postgresEngine({ version, bootstrap: BOOTSTRAP, log: silentLog, ...more })

export async function openWorkshop(): Promise<Workshop> {
  const tree = await openTree({ engines: TREES, prepare: { name: TREE_RULES, prepare: prepareTree } })
  const directory = mkdtempSync(join(tmpdir(), 'sb-pg-'))
  chmodSync(directory, 0o711)
  const engine = testEngine(tree.version)
  const running = new Set<Process>()
  let ready: Promise<string> | undefined

  async function build(of: PostgresEngine, environment: Record<string, string> = {}): Promise<string> {
    const volume = join(directory, `t-${++serial}`)
    mkdirSync(volume)
    own(volume)
    const [program, ...drop] = setpriv()
    const init = of.template.init.map((arg) => arg.replace('{volume}', volume))
    const made = spawnSync(program ?? '', [...drop, tree.programs.initdb, ...init.slice(1), '--no-sync'], {
      env: { ...environment, ...of.template.environment },
      cwd: volume,
    })
    if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
    const process = start(tree, directory, of.template.workload('t', 't'), volume, environment)
    try {
      await of.template.fill(process.at)
    } finally {
      await process.stop('SIGINT')
    }
    return volume
  }

  function create(spec: Partial<PostgresSpec> = {}, from?: string, source: Service['source'] = null): TestService {
    const id = `s-${++serial}`
    const volume = join(directory, id)
    const secret = (name: string) => Buffer.from(`${id} ${name} of the tests`).toString('base64url')
    const own: TestService = {
      volume,
      service: {
        id,
        project: id,
        name: 'db',
        volume: id,
        engine: 'postgres',
        driver: 'test',
        region: 'local',
        node: 'n',
        spec,
        specVersion: 1,
        observedVersion: 0,
        wanted: 'active',
        status: 'pending',
        detail: {},
        secrets: { sovrabase_admin: secret('admin'), sovrabase_gateway: secret('gateway'), postgres: secret('owner') },
        source,
        engineVersion: null,
        systemVersion: null,
      },
      async wake(options = {}) {
        const by = options.engine ?? engine
        ready ??= build(engine)
        if (!existsSync(volume)) spawnSync('cp', ['-a', '--sparse=always', from ?? (await ready), volume])
        const process = start(tree, directory, by.workload(own.service), volume)
        running.add(process)
        const end = async (signal: NodeJS.Signals) => {
          await process.stop(signal)
          running.delete(process)
        }
        try {
          await by.ready(process.at, own.service)
          if (options.copied) await by.adopt?.(process.at, own.service, options.copied)
          await by.prepare(process.at, own.service)
          const cluster = await by.attach(process.at, own.service)
          own.service = { ...own.service, observedVersion: 1 }
          return {
            at: process.at,
            cluster,
            service: own.service,
            connect: (user = 'postgres', password = own.service.secrets.postgres, database = 'postgres') =>
              connect(process.at, user, password, database),
            kill: async () => {
              await end('SIGKILL')
              await cluster.close()
            },
            sleep: async () => {
              await cluster.close()
              await end('SIGINT')
            },
          }
        } catch (error) {
          await end('SIGINT')
          throw error
        }
      },
    }
    return own
  }

  return {
    tree,
    directory,
    engine,
    build,
    create,
    async close() {
      for (const process of running) await process.stop('SIGQUIT')
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function connect(at: Endpoint, user: string, password: string | undefined, database: string): Promise<pg.Client> {
  const client = new pg.Client({ host: at.host, port: at.port, user, password: password ?? '', database })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** SQLSTATE of a statement that must fail. */
export async function refused(client: pg.Client, sql: string, values?: unknown[]): Promise<string> {
  try {
    await client.query(sql, values)
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'allowed'
}
