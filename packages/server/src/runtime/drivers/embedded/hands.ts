import { fail } from '../../../base/errors.ts'
import type { RefitProgram, Usage, WorkloadVersions } from '../../driver.ts'
import type { Pipe } from './pipes.ts'

/**
 * What the embedded driver needs done with rights that the server does not have. Two implementations: `directHands` does it in this process
 * (the keeper's, or a server that was not started as root), `remoteHands` asks the keeper for it. Every path is derived from a name that was
 * checked here; a path never travels.
 */
export interface Hands {
  readonly facts: HandsFacts
  /** Names of all volumes. */
  volumes(): Promise<string[]>
  templates(): Promise<string[]>
  /** A new volume: a copy of the template, or empty. Whole and on disk when it resolves; false when it was there already. */
  make(volume: string, template: string | null): Promise<boolean>
  /** Copies a volume that no process uses. */
  copy(from: string, to: string): Promise<void>
  /** Renames a volume that no process uses. */
  move(from: string, to: string): Promise<void>
  /** Ends its process and removes it with its log; idempotent. */
  remove(volume: string): Promise<void>
  state(volume: string): Promise<VolumeState>
  /** Allocated bytes. */
  disk(volume: string): Promise<number>
  /** Allocated bytes: all of it, those of each directory at its top, and its log beside it. */
  usage(volume: string): Promise<Usage>
  /** Bytes of memory of all its processes, shared pages by their part (PSS); 0 when none runs. */
  memory(volume: string): Promise<number>
  /** Starts the process, or answers the running one when nothing in the order changed; a changed order restarts it. */
  start(order: StartOrder): Promise<Started>
  /** Ends the process by the signals of its order, SIGKILL last; idempotent. */
  stop(volume: string): Promise<void>
  signal(volume: string, signal: NodeJS.Signals): Promise<void>
  /** The last bytes of what the process wrote to stdout and stderr. */
  log(volume: string, bytes: number): Promise<string>
  /** Runs a program once on a volume, as the volume's owner, until it ends and nothing of it is left; answers what it printed. */
  init(volume: string, command: readonly string[], environment: Readonly<Record<string, string>>, input?: string): Promise<string>
  /** A new volume with a copy of another, which no process uses, in its directory `old`, and these files at its top. */
  stage(from: string, to: string, files: Readonly<Record<string, string>>): Promise<void>
  /** A volume that no process uses becomes what lies in a directory at its top. */
  unfold(volume: string, inner: string): Promise<void>
  /** A way for the bytes of a volume: its socket takes one connection. */
  pipe(): Promise<Pipe>
  /** Writes a volume that no process uses to the pipe, as a tar. */
  pack(volume: string, pipe: string): Promise<void>
  /** A new volume from the tar that comes by the pipe: whole and on disk when it resolves. */
  unpack(volume: string, pipe: string): Promise<void>
  /** Makes a stopped volume the template of this name. */
  promote(volume: string, template: string): Promise<void>
  /** Called once for each end of a process that nobody asked for, when nothing of it is left. `run`: as its start answered. */
  onExit(listener: ExitListener): void
  /** Ends every process. */
  close(): Promise<void>
}

export type ExitListener = (volume: string, detail: string, run: string) => void

export interface HandsFacts {
  /** full: each volume's processes run under a uid of their own. */
  readonly isolation: 'full' | 'same-user'
  /** What holds the memory limit. */
  readonly limits: 'cgroup2' | 'cgroup1' | 'rlimit'
}

export interface StartOrder {
  readonly volume: string
  /** Name of a known program and its arguments; `{volume}` and `{runtime}` are replaced. */
  readonly command: readonly string[]
  readonly versions: WorkloadVersions | null
  readonly environment: Readonly<Record<string, string>>
  /** Name at the top of the volume → text. */
  readonly files: Readonly<Record<string, string>>
  readonly pidFile: string | null
  readonly stop: readonly { readonly signal: NodeJS.Signals; readonly wait: number }[]
  /** MiB, 0: none. */
  readonly memory: number
}

export interface Started {
  readonly pid: number
  /** pid and its start time: one run. */
  readonly run: string
  /** Directory of its sockets. */
  readonly runtime: string
}

export interface VolumeState {
  readonly exists: boolean
  readonly pid: number | null
  /** Its last process ended unasked. */
  readonly crashed: boolean
}

/** Logical program name → absolute path, or how to get it where it is seldom wanted. */
export type Programs = Readonly<Record<string, string | (() => Promise<string>)>>

const NAME = /^[a-z0-9][a-z0-9._-]{0,99}$/
const FILE = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,99}$/
// Nothing that changes how setpriv or the shell before the program behaves (LD_*, BASH_ENV, …).
const VARIABLE = /^(PG[A-Z_]+|LC_[A-Z]+|LANG|TZ|SOVRABASE_[A-Z_]+)$/
const SIGNALS: readonly string[] = ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGKILL', 'SIGUSR1', 'SIGUSR2']
const MAX_MEMORY = 1 << 24
const MAX_WAIT = 600_000
const MAX_INPUT = 1 << 16

const refuse = (reason: string) => fail('order_refused', { reason })
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A volume's or template's name, or `order_refused`. */
export function checkName(value: unknown): string {
  if (typeof value !== 'string' || !NAME.test(value)) throw refuse('not a valid volume or template name')
  return value
}

export function checkSignal(value: unknown): NodeJS.Signals {
  if (typeof value !== 'string' || !SIGNALS.includes(value)) throw refuse('not a signal of the list')
  return value as NodeJS.Signals
}

export function checkNumber(value: unknown, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) throw refuse(`not a number between 0 and ${max}`)
  return value
}

function checkCommand(value: unknown): readonly string[] {
  const texts = Array.isArray(value) && value.length > 0 && value.every((part) => typeof part === 'string' && !part.includes('\0'))
  if (!texts) throw refuse('not a command')
  return value as string[]
}

function checkTexts(value: unknown, name: RegExp, what: string): Readonly<Record<string, string>> {
  if (!isRecord(value)) throw refuse(`${what}: not an object`)
  for (const [key, text] of Object.entries(value)) {
    if (!name.test(key) || typeof text !== 'string' || text.includes('\0')) throw refuse(`${what}: ${JSON.stringify(key).slice(0, 60)}`)
  }
  return value as Record<string, string>
}

const checkEnvironment = (value: unknown) => checkTexts(value, VARIABLE, 'environment')
export const checkFiles = (value: unknown) => checkTexts(value, FILE, 'files')
export const checkFile = (value: unknown): string => Object.keys(checkFiles({ [String(value)]: '' }))[0]!

export function checkProgram(command: unknown, environment: unknown, input: unknown = ''): RefitProgram {
  if (typeof input !== 'string' || input.length > MAX_INPUT) throw refuse('not an input')
  return { command: checkCommand(command), environment: checkEnvironment(environment), input }
}

function checkVersions(value: unknown): WorkloadVersions | null {
  // A server of before, under this keeper, says nothing.
  if (value === null || value === undefined) return null
  if (!isRecord(value) || !isRecord(value.known)) throw refuse('not versions')
  const known = Object.entries(value.known).map(([version, other]) => {
    if (!isRecord(other)) throw refuse('not a version')
    return [version, { command: checkCommand(other.command), files: checkFiles(other.files) }] as const
  })
  return { file: checkFile(value.file), own: String(value.own), known: Object.fromEntries(known) }
}

/** A start order with every part checked: it may come from a process that is not trusted. */
export function checkOrder(value: unknown): StartOrder {
  if (!isRecord(value)) throw refuse('not an order')
  if (!Array.isArray(value.stop)) throw refuse('no way to stop it')
  return {
    volume: checkName(value.volume),
    command: checkCommand(value.command),
    versions: checkVersions(value.versions),
    environment: checkEnvironment(value.environment),
    // At the top of the volume only: the volume itself cannot be exchanged by its owner, directories in it can.
    files: checkFiles(value.files),
    pidFile: value.pidFile === null ? null : checkFile(value.pidFile),
    stop: value.stop.map((step: unknown) => {
      if (!isRecord(step)) throw refuse('not a step of stopping')
      return { signal: checkSignal(step.signal), wait: checkNumber(step.wait, MAX_WAIT) }
    }),
    memory: checkNumber(value.memory, MAX_MEMORY),
  }
}
