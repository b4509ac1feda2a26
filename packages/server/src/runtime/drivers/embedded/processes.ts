import type { ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, chown, lchown, mkdir, open, readdir, readFile, rename, rm, rmdir, unlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fail } from '../../../base/errors.ts'
import type { Accounts } from './accounts.ts'
import type { ExitListener, Programs, Started, StartOrder } from './hands.ts'
import { launch } from './launch.ts'
import type { Layout } from './layout.ts'
import type { Limits } from './limits.ts'
import { kill, killAll, processesOf, proportionalSize, startTime } from './proc.ts'
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
const FIRST_LINE = 32

async function programOf(name: string, programs: Programs): Promise<string> {
  const program = Object.hasOwn(programs, name) ? programs[name] : undefined
  if (program === undefined) throw fail('order_refused', { reason: `program ${JSON.stringify(name).slice(0, 40)} is not of the list` })
  return typeof program === 'string' ? program : await program()
}

/** Replaces the placeholders of a command and finds its program. */
export async function resolveCommand(
  command: readonly string[],
  programs: Programs,
  places: { volume: string; runtime: string },
): Promise<string[]> {
  const [name = '', ...args] = command
  const resolved = [await programOf(name, programs)]
  for (const arg of args) {
    const [placeholder, other = ''] = /\{bin:([a-z0-9_-]+)\}/.exec(arg) ?? []
    const own = placeholder === undefined ? arg : arg.split(placeholder).join(dirname(await programOf(other, programs)))
    resolved.push(own.replaceAll('{volume}', places.volume).replaceAll('{runtime}', places.runtime))
  }
  return resolved
}

/** First bytes of a file that its owner may have exchanged: neither followed nor waited for. Null: it is none. */
async function firstLine(path: string): Promise<string | null> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => null)
  if (file === null) return null
  try {
    if (!(await file.stat()).isFile()) return null
    const { buffer, bytesRead } = await file.read(Buffer.alloc(FIRST_LINE), 0, FIRST_LINE, 0)
    return buffer.toString('latin1', 0, bytesRead).split('\n')[0] ?? ''
  } finally {
    await file.close()
  }
}

/** True for an ordinary file of that owner with exactly this text; what stands there may be anything, so it is neither followed nor waited for. */
async function holds(path: string, uid: number, text: string): Promise<boolean> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => null)
  if (file === null) return false
  try {
    const stat = await file.stat()
    const safe = stat.isFile() && stat.nlink === 1 && stat.uid === uid && (stat.mode & 0o777) === 0o600
    const fits = safe && stat.size === Buffer.byteLength(text)
    return fits && (await file.readFile('utf8')) === text
  } finally {
    await file.close()
  }
}

/** Never to a pid that was given back: it may be another's by now. */
const send = ({ child, started }: Running, signal: NodeJS.Signals): void => {
  if (child.exitCode === null && child.signalCode === null) kill(started.pid, signal)
}

/** The processes of volumes, one each. Calls for one volume are serialised by the caller. */
export class Processes {
  readonly #at: Surroundings
  readonly #running = new Map<string, Running>()
  readonly #crashed = new Set<string>()
  readonly #listeners: ExitListener[] = []
  /** File names of the programs, and whether a uid tells whose a process is. */
  readonly #names: readonly string[]
  readonly #sharedUid: boolean

  constructor(at: Surroundings) {
    this.#at = at
    const names = Object.entries(at.programs).map(([name, program]) =>
      typeof program === 'string' ? basename(program) : name.replace(/-\d+$/, ''),
    )
    this.#names = [...new Set(names)]
    this.#sharedUid = at.accounts.projects === null || at.accounts.projects.count === 1
  }

  isRunning(volume: string): boolean {
    return this.#running.has(volume)
  }

  pid(volume: string): number | null {
    return this.#running.get(volume)?.started.pid ?? null
  }

  hasCrashed(volume: string): boolean {
    return this.#crashed.has(volume)
  }

  /** PSS of the whole tree: the processes of one volume share their buffers. */
  async memory(volume: string): Promise<number> {
    const uid = this.#running.has(volume) ? await this.#at.volumes.owner(volume) : null
    if (uid === null) return 0
    return this.#stragglers(volume, uid)().reduce((sum, pid) => sum + proportionalSize(pid), 0)
  }

  forget(volume: string): void {
    this.#crashed.delete(volume)
  }

  onExit(listener: ExitListener): void {
    this.#listeners.push(listener)
  }

  async start(order: StartOrder): Promise<Started> {
    const fingerprint = createHash('sha256').update(JSON.stringify(order)).digest('hex')
    const one = this.#running.get(order.volume)
    if (one && one.fingerprint === fingerprint && startTime(one.started.pid) !== null) return one.started
    if (one) await this.stop(order.volume)
    return await this.#begin(order, fingerprint)
  }

  signal(volume: string, signal: NodeJS.Signals): void {
    const one = this.#running.get(volume)
    if (one) send(one, signal)
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#running.keys()].map((volume) => this.stop(volume)))
  }

  /** Short: the path of a socket below it has a limit. */
  #socketDir(volume: string): string {
    return join(this.#at.layout.runtime, 's', createHash('sha256').update(volume).digest('hex').slice(0, 10))
  }

  /** `pid start-time` of the run. */
  #record(volume: string): string {
    return join(this.#at.layout.runtime, 'r', volume)
  }

  #stragglers(volume: string, uid: number): () => number[] {
    const { limits, volumes } = this.#at
    const dir = volumes.path(volume)
    return () => [...new Set([...(limits.members(volume) ?? []), ...processesOf(dir, this.#sharedUid ? null : uid, this.#names)])]
  }

  /** Ends what works anywhere in a volume whose process is not ours: a program that was killed leaves those that it has started. */
  async reap(volume: string): Promise<void> {
    const uid = await this.#at.volumes.owner(volume)
    if (uid !== null) await killAll(() => processesOf(this.#at.volumes.path(volume), this.#sharedUid ? null : uid, this.#names, true))
  }

  /** A program that is run once gets a directory for its sockets; nothing of it is left afterwards. */
  async within<R>(volume: string, uid: number, work: (runtime: string) => Promise<R>): Promise<R> {
    const runtime = await this.#makeSocketDir(volume, uid)
    try {
      return await work(runtime)
    } finally {
      await this.reap(volume)
      await this.#dropSocketDir(volume)
    }
  }

  async #makeSocketDir(volume: string, uid: number): Promise<string> {
    const dir = this.#socketDir(volume)
    await this.#dropSocketDir(volume)
    await mkdir(dir, { mode: 0o700 })
    if (this.#at.accounts.server !== null) {
      // Its owner makes the socket, the server's group may pass to it, nobody else.
      await chown(dir, uid, this.#at.accounts.server)
      await chmod(dir, 0o710)
    }
    return dir
  }

  async #dropSocketDir(volume: string): Promise<void> {
    const dir = this.#socketDir(volume)
    for (const name of await readdir(dir).catch(() => [])) await unlink(join(dir, name)).catch(() => {})
    await rmdir(dir).catch(async () => await rm(dir, { recursive: true, force: true }))
  }

  /** Ends what an earlier run left (normally nothing: the death signal), sure by pid and start time or by directory, before its traces are removed. */
  async #clearLeftovers(volume: string, uid: number, pidFile: string | null): Promise<void> {
    const stale = pidFile === null ? null : join(this.#at.volumes.path(volume), pidFile)
    const [said, trace] = await Promise.all(
      [this.#record(volume), stale].map((file) => (file === null ? null : readFile(file, 'utf8').catch(() => null))),
    )
    if (said === null && trace === null) return
    const [pid = '', since] = (said ?? '').split(' ')
    if (Number(pid) > 0 && startTime(Number(pid)) === since) {
      kill(Number(pid), 'SIGQUIT')
      for (let tries = 0; tries < 100 && startTime(Number(pid)) === since; tries++) await pause(20)
      if (startTime(Number(pid)) === since) kill(Number(pid), 'SIGKILL')
    }
    await killAll(this.#stragglers(volume, uid))
    if (stale !== null && trace !== null) await rm(stale, { force: true })
    await rm(this.#record(volume), { force: true })
  }

  /** Written beside and renamed: neither a link in the way nor a kill between can harm. One that is as it should be stays. */
  async #writeFile(target: string, uid: number, text: string): Promise<void> {
    if (await holds(target, uid, text)) return
    const fresh = `${target}.${randomBytes(6).toString('hex')}`
    await writeFile(fresh, text, { flag: 'wx', mode: 0o600 })
    if (this.#at.accounts.server !== null) await lchown(fresh, uid, uid)
    await rename(fresh, target)
  }

  async #writeFiles(volume: string, uid: number, files: StartOrder['files']): Promise<void> {
    const top = this.#at.volumes.path(volume)
    await Promise.all(Object.entries(files).map(([name, text]) => this.#writeFile(join(top, name), uid, text)))
  }

  async #cleanUp(volume: string): Promise<void> {
    await this.#dropSocketDir(volume)
    await rm(this.#record(volume), { force: true })
    for (let tries = 0; tries < GROUP_TRIES && !this.#at.limits.release(volume); tries++) await pause(5)
  }

  async #onEnd(volume: string, uid: number, one: Running, code: number | null, signal: string | null): Promise<void> {
    try {
      if (code !== 0) await killAll(this.#stragglers(volume, uid))
      await this.#cleanUp(volume)
    } finally {
      this.#running.delete(volume)
    }
    if (one.asked) return
    this.#crashed.add(volume)
    const words = (await this.#at.volumes.readLog(volume, LAST_WORDS).catch(() => '')).trim()
    const detail = `${signal === null ? `ended with code ${code}` : `ended by ${signal}`}${words === '' ? '' : `: ${words.split('\n').slice(-3).join(' | ')}`}`
    for (const listener of this.#listeners) listener(volume, detail, one.started.run)
  }

  /** Command and files for what lies in the volume; `engine_major_missing`: it is of a version that has no programs here. */
  async #fitting({ volume, versions, command, files }: StartOrder): Promise<Pick<StartOrder, 'command' | 'files'>> {
    const version = versions === null ? null : await firstLine(join(this.#at.volumes.path(volume), versions.file))
    if (versions === null || version === null || version === versions.own) return { command, files }
    const other = Object.hasOwn(versions.known, version) ? versions.known[version] : undefined
    if (!other) throw fail('engine_major_missing', { version: version.replace(/[^0-9.]/g, '') })
    return { command: other.command, files: { ...files, ...other.files } }
  }

  async #begin(order: StartOrder, fingerprint: string): Promise<Started> {
    const { volume } = order
    const uid = await this.#at.volumes.owner(volume)
    if (uid === null) throw fail('volume_missing', { volume })
    if (this.#at.accounts.server === null && uid !== process.geteuid?.())
      throw fail('directory_unusable', { dir: this.#at.volumes.path(volume), reason: `it belongs to uid ${uid}` })
    await this.#clearLeftovers(volume, uid, order.pidFile)
    const fitting = await this.#fitting(order)
    const runtime = await this.#makeSocketDir(volume, uid)
    const command = await resolveCommand(fitting.command, this.#at.programs, { volume: this.#at.volumes.path(volume), runtime })
    await this.#writeFiles(volume, uid, fitting.files)
    const output = await this.#at.volumes.openLog(volume)
    try {
      const data = order.memory * 1024
      const child = await launch(
        { command, environment: order.environment, uid: this.#at.accounts.server === null ? null : uid, cwd: '/', data },
        output.fd,
      )
      return this.#register(order, fingerprint, child, uid, runtime)
    } finally {
      await output.close()
    }
  }

  #register(order: StartOrder, fingerprint: string, child: ChildProcess, uid: number, runtime: string): Started {
    const { volume } = order
    const pid = child.pid!
    const since = startTime(pid) ?? '0'
    const started: Started = { pid, run: `${pid}-${since}`, runtime }
    if (since !== '0' && order.memory > 0) void this.#at.limits.place(volume, pid, order.memory * MIB)
    const exited = Promise.withResolvers<void>()
    const one: Running = { child, started, order, fingerprint, exited: exited.promise, asked: false }
    this.#running.set(volume, one)
    this.#crashed.delete(volume)
    const end = (code: number | null, signal: string | null) => void this.#onEnd(volume, uid, one, code, signal).finally(exited.resolve)
    if (child.exitCode !== null || child.signalCode !== null) end(child.exitCode, child.signalCode)
    else child.once('exit', end)
    void writeFile(this.#record(volume), `${pid} ${since}`, { mode: 0o600 }).catch(() => {})
    return started
  }

  async stop(volume: string): Promise<void> {
    const one = this.#running.get(volume)
    if (!one) return
    one.asked = true
    for (const { signal, wait } of [...one.order.stop, { signal: 'SIGKILL' as const, wait: 10_000 }]) {
      send(one, signal)
      const timer = new AbortController()
      const late = pause(wait, 'late', { signal: timer.signal }).catch(() => 'ended')
      const how = await Promise.race([one.exited.then(() => 'ended'), late])
      timer.abort()
      if (how === 'ended') return
    }
    throw fail('start_failed', { volume, reason: 'its process cannot be ended' })
  }
}
