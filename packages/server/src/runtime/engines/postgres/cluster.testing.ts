import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { until } from '../../../../../../test/until.ts'
import { silentLog } from '../../../base/log.ts'
import type { Endpoint, Workload } from '../../driver.ts'
import type { Copied } from '../../engine.ts'
import { testService } from '../../service.testing.ts'
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

export interface Started {
  readonly at: Endpoint
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface TestService {
  service: Service<Partial<PostgresSpec>>
  readonly volume: string
  /** Its process only: nothing has been asked of it yet. */
  start(engine?: PostgresEngine): Promise<Started>
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

export const testEngine = (version: string, more: { system?: string; bootstrap?: string; catalogues?: string } = {}): PostgresEngine =>
  postgresEngine({ version, bootstrap: BOOTSTRAP, log: silentLog, ...more })

/** The workshop's own state, shared with its services. */
interface Bench {
  readonly tree: Tree
  readonly directory: string
  readonly engine: PostgresEngine
  readonly running: Set<Process>
  build(engine: PostgresEngine): Promise<string>
  /** Built at the first use. */
  template(): Promise<string>
}

async function build(tree: Tree, directory: string, of: PostgresEngine, environment: Record<string, string> = {}): Promise<string> {
  const volume = join(directory, `t-${++serial}`)
  mkdirSync(volume)
  own(volume)
  const [program, ...drop] = setpriv()
  const init = of.template.init.map((arg) => arg.replace('{volume}', volume))
  const made = spawnSync(program ?? '', [...drop, tree.programs.initdb, ...init.slice(1), '--no-sync'], {
    env: { ...environment, ...of.template.environment },
    cwd: volume,
  })
  assert.equal(made.status, 0, `initdb: ${made.stderr}`)
  const process = start(tree, directory, of.template.workload('t', 't'), volume, environment)
  try {
    await of.template.fill(process.at)
  } finally {
    await process.stop('SIGINT')
  }
  return volume
}

export async function openWorkshop(): Promise<Workshop> {
  const tree = await openTree({ engines: TREES, prepare: { name: TREE_RULES, prepare: prepareTree } })
  const directory = mkdtempSync(join(tmpdir(), 'sb-pg-'))
  chmodSync(directory, 0o711)
  const engine = testEngine(tree.version)
  const running = new Set<Process>()
  let ready: Promise<string> | undefined
  const bench: Bench = {
    tree,
    directory,
    engine,
    running,
    build: (of) => build(tree, directory, of),
    template: () => (ready ??= bench.build(engine)),
  }
  return {
    tree,
    directory,
    engine,
    build: (of, environment) => build(tree, directory, of, environment),
    create: (spec = {}, from, source = null) => new OneService(bench, spec, { from, source }),
    async close() {
      for (const process of running) await process.stop('SIGQUIT')
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** A row of `services` as the store would answer it. */
function serviceRow(id: string, spec: Partial<PostgresSpec>, source: Service['source']): Service<Partial<PostgresSpec>> {
  const secret = (name: string) => Buffer.from(`${id} ${name} of the tests`).toString('base64url')
  const secrets = { sovrabase_admin: secret('admin'), sovrabase_gateway: secret('gateway'), postgres: secret('owner') }
  return testService(id, { volume: id, engine: 'postgres', driver: 'test', spec, secrets, source })
}

class OneService implements TestService {
  readonly #bench: Bench
  readonly #from: string | undefined
  readonly volume: string
  service: Service<Partial<PostgresSpec>>

  constructor(bench: Bench, spec: Partial<PostgresSpec>, { from, source }: { from: string | undefined; source: Service['source'] }) {
    const id = `s-${++serial}`
    this.#bench = bench
    this.#from = from
    this.volume = join(bench.directory, id)
    this.service = serviceRow(id, spec, source)
  }

  async start(engine: PostgresEngine = this.#bench.engine): Promise<Started> {
    const { tree, directory, running } = this.#bench
    const from = this.#from ?? (await this.#bench.template())
    if (!existsSync(this.volume)) spawnSync('cp', ['-a', '--sparse=always', from, this.volume])
    const process = start(tree, directory, engine.workload(this.service), this.volume)
    running.add(process)
    const stop = async (signal: NodeJS.Signals = 'SIGINT') => {
      await process.stop(signal)
      running.delete(process)
    }
    return { at: process.at, stop }
  }

  async wake({ engine = this.#bench.engine, copied }: { engine?: PostgresEngine; copied?: Copied } = {}): Promise<Awake> {
    const { at, stop } = await this.start(engine)
    try {
      await engine.ready(at, this.service)
      if (copied) await engine.adopt?.(at, this.service, copied)
      await engine.prepare(at, this.service)
      const cluster = await engine.attach(at, this.service)
      this.service = { ...this.service, observedVersion: 1 }
      return {
        at,
        cluster,
        service: this.service,
        connect: (user = 'postgres', password = this.service.secrets.postgres, database = 'postgres') =>
          connect(at, user, password, database),
        kill: async () => {
          await stop('SIGKILL')
          await cluster.close()
        },
        sleep: async () => {
          await cluster.close()
          await stop()
        },
      }
    } catch (error) {
      await stop()
      throw error
    }
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
