import type { ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmod, chown, lchown, mkdir, readdir, readFile, rename, rm, rmdir, unlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fail } from '../../../base/errors.ts'
import type { Accounts } from './accounts.ts'
import type { ExitListener, Programs, Started, StartOrder } from './hands.ts'
import { launch } from './launch.ts'
import type { Layout } from './layout.ts'
import type { Limits } from './limits.ts'
import { kill, killAll, processesOf, startTime } from './proc.ts'
import type { Volumes } from './volumes.ts'

interface Running {
  readonly child: ChildProcess
  readonly started: Started
  readonly order: StartOrder
  readonly fingerprint: string
  readonly exited: Promise<void>
  asked: boolean
}

interface Surroundings {
  readonly layout: Layout
  readonly accounts: Accounts
  readonly programs: Programs
  readonly limits: Limits
  readonly volumes: Volumes
}

const MIB = 1 << 20
const LAST_WORDS = 600
const GROUP_TRIES = 40

/** Replaces the placeholders of a command and finds its program. */
export function resolveCommand(command: readonly string[], programs: Programs, places: { volume: string; runtime: string }): string[] {
  const [name = '', ...args] = command
  const program = Object.hasOwn(programs, name) ? programs[name] : undefined
  if (program === undefined) throw fail('order_refused', { reason: `program ${JSON.stringify(name).slice(0, 40)} is not of the list` })
  return [program, ...args.map((arg) => arg.replaceAll('{volume}', places.volume).replaceAll('{runtime}', places.runtime))]
}

/** The processes of volumes, one each. Calls for one volume are serialised by the caller. */
export function openProcesses({ layout, accounts, programs, limits, volumes }: Surroundings) {
  const running = new Map<string, Running>()
  const crashed = new Set<string>()
  const listeners: ExitListener[] = []
  const sharedUid = accounts.projects === null || accounts.projects.count === 1

  const names = Object.values(programs).map((program) => basename(program))

  const short = (volume: string): string => createHash('sha256').update(volume).digest('hex').slice(0, 10)
  const socketDir = (volume: string): string => join(layout.runtime, 's', short(volume))
  const record = (volume: string): string => join(layout.runtime, 'r', volume)
  const stragglers = (volume: string, uid: number) => () => [
    ...new Set([...(limits.members(volume) ?? []), ...processesOf(volumes.path(volume), sharedUid ? null : uid, names)]),
  ]

  async function makeSocketDir(volume: string, uid: number): Promise<string> {
    const dir = socketDir(volume)
    await dropSocketDir(volume)
    await mkdir(dir, { mode: 0o700 })
    if (accounts.server !== null) {
      // Its owner makes the socket, the server's group may pass to it, nobody else.
      await chown(dir, uid, accounts.server)
      await chmod(dir, 0o710)
    }
    return dir
  }

  async function dropSocketDir(volume: string): Promise<void> {
    const dir = socketDir(volume)
    for (const name of await readdir(dir).catch(() => [])) await unlink(join(dir, name)).catch(() => {})
    await rmdir(dir).catch(async () => await rm(dir, { recursive: true, force: true }))
  }

  /** Ends what an earlier run left (normally nothing: the death signal), sure by pid and start time or by directory, before its traces are removed. */
  async function clearLeftovers(volume: string, uid: number, pidFile: string | null): Promise<void> {
    const stale = pidFile === null ? null : join(volumes.path(volume), pidFile)
    const [said, trace] = await Promise.all(
      [record(volume), stale].map((file) => (file === null ? null : readFile(file, 'utf8').catch(() => null))),
    )
    if (said === null && trace === null) return
    const [pid = '', since] = (said ?? '').split(' ')
    if (Number(pid) > 0 && startTime(Number(pid)) === since) {
      kill(Number(pid), 'SIGQUIT')
      for (let tries = 0; tries < 100 && startTime(Number(pid)) === since; tries++) await pause(20)
      if (startTime(Number(pid)) === since) kill(Number(pid), 'SIGKILL')
    }
    await killAll(stragglers(volume, uid))
    if (stale !== null && trace !== null) await rm(stale, { force: true })
    await rm(record(volume), { force: true })
  }

  /** Written beside and renamed: neither a link in the way nor a kill between can harm. */
  async function writeFiles(volume: string, uid: number, files: StartOrder['files']): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      const target = join(volumes.path(volume), name)
      const fresh = `${target}.${randomBytes(6).toString('hex')}`
      await writeFile(fresh, text, { flag: 'wx', mode: 0o600 })
      if (accounts.server !== null) await lchown(fresh, uid, uid)
      await rename(fresh, target)
    }
  }

  async function cleanUp(volume: string): Promise<void> {
    await dropSocketDir(volume)
    await rm(record(volume), { force: true })
    for (let tries = 0; tries < GROUP_TRIES && !limits.release(volume); tries++) await pause(5)
  }

  async function onEnd(volume: string, uid: number, one: Running, code: number | null, signal: string | null): Promise<void> {
    if (code !== 0) await killAll(stragglers(volume, uid))
    await cleanUp(volume)
    running.delete(volume)
    if (one.asked) return
    crashed.add(volume)
    const words = (await volumes.readLog(volume, LAST_WORDS).catch(() => '')).trim()
    const detail = `${signal === null ? `ended with code ${code}` : `ended by ${signal}`}${words === '' ? '' : `: ${words.split('\n').slice(-3).join(' | ')}`}`
    for (const listener of listeners) listener(volume, detail)
  }

  async function begin(order: StartOrder, fingerprint: string): Promise<Started> {
    const { volume } = order
    const uid = await volumes.owner(volume)
    if (uid === null) throw fail('volume_missing', { volume })
    if (accounts.server === null && uid !== process.geteuid?.())
      throw fail('directory_unusable', { dir: volumes.path(volume), reason: `it belongs to uid ${uid}` })
    await clearLeftovers(volume, uid, order.pidFile)
    const runtime = await makeSocketDir(volume, uid)
    const command = resolveCommand(order.command, programs, { volume: volumes.path(volume), runtime })
    await writeFiles(volume, uid, order.files)
    const output = await volumes.openLog(volume)
    try {
      const data = order.memory * 1024
      const child = await launch(
        { command, environment: order.environment, uid: accounts.server === null ? null : uid, cwd: '/', data },
        output.fd,
      )
      return register(order, fingerprint, child, uid, runtime)
    } finally {
      await output.close()
    }
  }

  function register(order: StartOrder, fingerprint: string, child: ChildProcess, uid: number, runtime: string): Started {
    const { volume } = order
    const pid = child.pid!
    const since = startTime(pid) ?? '0'
    const started: Started = { pid, run: `${pid}-${since}`, runtime }
    if (since !== '0' && order.memory > 0) void limits.place(volume, pid, order.memory * MIB)
    const exited = Promise.withResolvers<void>()
    const one: Running = { child, started, order, fingerprint, exited: exited.promise, asked: false }
    running.set(volume, one)
    crashed.delete(volume)
    const end = (code: number | null, signal: string | null) => void onEnd(volume, uid, one, code, signal).finally(exited.resolve)
    if (child.exitCode !== null || child.signalCode !== null) end(child.exitCode, child.signalCode)
    else child.once('exit', end)
    void writeFile(record(volume), `${pid} ${since}`, { mode: 0o600 }).catch(() => {})
    return started
  }

  async function stop(volume: string): Promise<void> {
    const one = running.get(volume)
    if (!one) return
    one.asked = true
    for (const { signal, wait } of [...one.order.stop, { signal: 'SIGKILL' as const, wait: 10_000 }]) {
      kill(one.started.pid, signal)
      const timer = new AbortController()
      const late = pause(wait, 'late', { signal: timer.signal }).catch(() => 'ended')
      const how = await Promise.race([one.exited.then(() => 'ended'), late])
      timer.abort()
      if (how === 'ended') return
    }
    throw fail('start_failed', { volume, reason: 'its process cannot be ended' })
  }

  return {
    isRunning: (volume: string): boolean => running.has(volume),
    pid: (volume: string): number | null => running.get(volume)?.started.pid ?? null,
    hasCrashed: (volume: string): boolean => crashed.has(volume),
    forget: (volume: string): boolean => crashed.delete(volume),
    stop,

    async start(order: StartOrder): Promise<Started> {
      const fingerprint = createHash('sha256').update(JSON.stringify(order)).digest('hex')
      const one = running.get(order.volume)
      if (one && one.fingerprint === fingerprint && startTime(one.started.pid) !== null) return one.started
      if (one) await stop(order.volume)
      return await begin(order, fingerprint)
    },

    signal(volume: string, signal: NodeJS.Signals): void {
      const one = running.get(volume)
      if (one) kill(one.started.pid, signal)
    },

    onExit: (listener: ExitListener): void => void listeners.push(listener),

    async close(): Promise<void> {
      await Promise.allSettled([...running.keys()].map(stop))
    },
  }
}
