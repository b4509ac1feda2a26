/** The smallest engine and driver that are real: a process that does nothing, with a directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from 'typebox'
import { isAlive } from '../base/alive.ts'
import { fail } from '../base/errors.ts'
import type { Driver, Endpoint, ServiceId, Workload } from './driver.ts'
import type { Attachment, Engine } from './engine.ts'
import { testService } from './service.testing.ts'
import type { Service } from './services.ts'

export const TinySpec = Type.Object({ greeting: Type.String({ default: 'hello' }) }, { additionalProperties: false })

export interface TinyDriver extends Driver {
  /** Of a volume. */
  path(volume: string): string
  /** Ids in the order of their starts. */
  readonly starts: ServiceId[]
  running(): number
}

interface Running {
  readonly child: ChildProcess
  readonly at: Endpoint
  readonly order: string
  readonly exited: Promise<void>
  asked: boolean
}

/** Its processes: one a service, in the directory of a volume. */
class Processes {
  readonly starts: ServiceId[] = []
  readonly running = new Map<ServiceId, Running>()
  readonly crashed = new Set<string>()
  readonly listeners: Parameters<Driver['onExit']>[0][] = []
  #serial = 0

  async start(workload: Workload, dir: string): Promise<Endpoint> {
    const { id, volume } = workload
    const order = JSON.stringify(workload)
    const former = this.running.get(id)
    if (former?.order === order) return former.at
    if (former) await this.stop(id)
    mkdirSync(dir, { recursive: true })
    for (const [name, text] of Object.entries(workload.files)) writeFileSync(join(dir, name), text)
    const child = spawn('setpriv', ['--pdeathsig=KILL', '--', ...workload.command], { stdio: 'ignore', cwd: dir })
    const at = { service: id, host: dir, port: 1, pid: child.pid ?? 0, run: `run-${++this.#serial}` }
    const exited = Promise.withResolvers<void>()
    const one: Running = { child, at, order, exited: exited.promise, asked: false }
    this.running.set(id, one)
    this.crashed.delete(volume)
    this.starts.push(id)
    child.once('exit', (_code, signal) => {
      this.running.delete(id)
      exited.resolve()
      if (one.asked) return
      this.crashed.add(volume)
      for (const listener of this.listeners) listener(id, `ended by ${signal}`, at.run)
    })
    return at
  }

  async stop(id: ServiceId): Promise<void> {
    const one = this.running.get(id)
    if (!one) return
    one.asked = true
    one.child.kill('SIGTERM')
    await one.exited
  }
}

const bytesOf = (dir: string): number => readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0)

export function tinyDriver(): TinyDriver {
  const root = mkdtempSync(join(tmpdir(), 'sovra-tiny-'))
  const processes = new Processes()
  const { running, crashed } = processes
  const path = (volume: string) => join(root, volume)
  return {
    name: 'tiny',
    options: Type.Object({}),
    isolation: 'same-user',
    starts: processes.starts,
    path,
    running: () => running.size,
    apply: (workload) => processes.start(workload, path(workload.volume)),
    sleep: (id) => processes.stop(id),
    async remove(id, volume) {
      await processes.stop(id)
      crashed.delete(volume)
      rmSync(path(volume), { recursive: true, force: true })
    },
    async copy(from, to) {
      if ([...running.values()].some(({ at }) => at.host === path(from))) throw fail('volume_running', { volume: from })
      if (!existsSync(path(from))) throw fail('volume_missing', { volume: from })
      if (existsSync(path(to))) throw fail('volume_exists', { volume: to })
      cpSync(path(from), path(to), { recursive: true })
    },
    async inspect(id, volume, options) {
      if (!existsSync(path(volume))) return { state: 'absent' }
      const pid = running.get(id)?.at.pid
      return {
        state: pid !== undefined ? 'awake' : crashed.has(volume) ? 'crashed' : 'asleep',
        ...(pid === undefined ? {} : { pid }),
        ...(options?.disk ? { disk: bytesOf(path(volume)) } : {}),
        ...(options?.memory ? { memory: pid === undefined ? 0 : 1 << 20 } : {}),
      }
    },
    onExit: (listener) => void processes.listeners.push(listener),
    async close() {
      await Promise.all([...running.keys()].map((id) => processes.stop(id)))
      rmSync(root, { recursive: true, force: true })
    },
  }
}

export interface TinyEngine extends Engine<{ greeting?: string }> {
  /** Runs in `prepare`: a test holds a wake up there, or lets it fail. */
  onPrepare: (at: Endpoint, service: Service) => Promise<void>
  /** Attachments open now. */
  open(): number
  lastActivity: number
  readonly adopted: ServiceId[]
  readonly enforced: { readonly disk: number | undefined; readonly quiet?: boolean }[]
}

export function tinyEngine(): TinyEngine {
  const open = new Set<Attachment>()
  const adopted: ServiceId[] = []
  const enforced: TinyEngine['enforced'] = []
  const engine: TinyEngine = {
    name: 'tiny',
    spec: TinySpec,
    secrets: ['word'],
    adopted,
    enforced,
    lastActivity: 0,
    onPrepare: async () => {},
    open: () => open.size,
    workload: (service) => ({
      id: service.id,
      engine: 'tiny',
      project: service.project,
      volume: service.volume,
      command: ['sleep', 'infinity'],
      environment: {},
      files: { greeting: service.spec.greeting ?? 'hello' },
      socket: '1',
      stop: [{ signal: 'SIGTERM', wait: 1000 }],
      limits: { memory: 0, disk: 0 },
    }),
    async ready(at) {
      if (!isAlive(at.pid ?? 0)) throw fail('engine_not_ready', { seconds: 0, reason: 'its process ended' })
    },
    prepare: (at, service) => engine.onPrepare(at, service),
    async adopt(at) {
      adopted.push(at.service)
    },
    async attach() {
      const attachment: Attachment = {
        engineVersion: '1.0',
        lastActivity: async () => engine.lastActivity,
        enforce: async (seen) => void enforced.push(seen),
        close: async () => void open.delete(attachment),
      }
      open.add(attachment)
      return attachment
    },
  }
  return engine
}

export const tinyService = (id: string, more: Partial<Service> = {}): Service =>
  testService(id, { engine: 'tiny', driver: 'tiny', ...more })
