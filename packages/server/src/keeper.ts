import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fail, isSovraError } from './base/errors.ts'
import { type Handle, Handles } from './base/handles.ts'
import { acquireLock, type Lock } from './base/lock.ts'
import { notifyManager } from './base/notify.ts'
import { type Accounts, chooseAccounts, ownAccounts } from './runtime/drivers/embedded/accounts.ts'
import { directHands } from './runtime/drivers/embedded/direct.ts'
import type { Hands, HandsFacts, Programs } from './runtime/drivers/embedded/hands.ts'
import { dataHash, type Layout, makeData, openLayout, refuseOfAnother, runtimeDirectory } from './runtime/drivers/embedded/layout.ts'
import { bind, closed, howToReach, type Reached } from './runtime/drivers/embedded/reach.ts'
import { type Channel, remoteHands, serveHands } from './runtime/drivers/embedded/remote.ts'
import { makeSuccession } from './succession.ts'

/*
 * How main.ts uses this:
 *
 *   const options = { dataDir, programs: async (engines) => (await openTree({ engines, binDir, prepare })).programs }
 *   if (needsKeeper()) process.exit(await startKeeper(options))   // root: this process keeps, its child is the same main.ts again
 *   const seat = await openSeat(options)                          // the server, under a keeper or alone: the one place that chooses
 *   const driver = embeddedDriver(seat.hands)
 *   seat.onStop(() => drain().then(() => process.exit(0)))        // SIGTERM, SIGINT: from the keeper, or our own
 *   seat.announce(url)                                            // what a second start is told
 *
 * Under a keeper use `seat.dataDir` and `seat.app` (paths that this uid can enter), show people `seat.shownDataDir`; import HTTP after `needsKeeper()`.
 */

export interface KeeperOptions {
  /** Absolute, or relative to the working directory. */
  readonly dataDir: string
  /** Makes or finds the programs that may be started; `engines` is the directory for private copies. */
  readonly programs: (engines: string) => Promise<Programs>
  /** Root of the installation: what the server must be able to read. Default: the checkout or node_modules this file lies in. */
  readonly app?: string
  /** The script that the server child runs and its arguments; default: this process's own. */
  readonly argv?: readonly string[]
  /** A file that the server reads: copied for it where it may not read the original, with CONFIG_PATH set. */
  readonly configPath?: string | null
  /** ms for the server to drain after SIGTERM, then SIGKILL. */
  readonly patience?: number
  /** Simulates another user namespace (tests): text as in /proc/self/uid_map. */
  readonly uidMap?: string
  readonly limits?: HandsFacts['limits']
}

/** The server's place: what it works with. */
export interface Seat {
  readonly hands: Hands
  readonly dataDir: string
  readonly shownDataDir: string
  readonly runtimeDir: string
  /** There are projects already: then no root key is made. */
  readonly used: boolean
  readonly app: string
  readonly underKeeper: boolean
  announce(url: string): void
  /** It goes on where another server of this keeper stopped: clusters may run. */
  readonly heir: boolean
  /** Listening sockets of the server before this one. */
  readonly inherited: Handles
  /** Called once when the process shall drain and end. */
  onStop(listener: (signal: NodeJS.Signals) => void): void
  /** Called once when another server of this keeper takes over: give it the listening sockets, then drain and end. Never without a keeper. */
  onHandOver(listener: (bequeath: Bequeath) => void): void
  /** Ends the clusters that still run and gives the lock back; under a keeper that is its work. */
  close(): Promise<void>
}

/** What an heir tries while the server before it still serves; true: it must be alone for it in earnest. Rejects: then that one stays. */
export type Rehearse = (dataDir: string) => Promise<boolean>

/** Resolves when the keeper has them all: only then may they be closed here. */
export type Bequeath = (handles: Iterable<readonly [string, Handle]>) => Promise<void>

interface SeatFacts extends HandsFacts, Pick<Seat, 'dataDir' | 'shownDataDir' | 'runtimeDir' | 'used' | 'app'> {
  readonly keeper: number
  /** It waits until the server before it has given what it inherits. */
  readonly heir: boolean
}

const SEAT = 'SOVRABASE_SEAT'
const MOUNTED = 'SOVRABASE_MOUNTED'
const PATIENCE = 55_000
const URL_TEXT = /^https?:\/\/[^\s"\\]{1,300}$/
const NOBODY = 65_534

const underKeeper = (): boolean => process.env[SEAT] !== undefined && process.send !== undefined

/** Root, and not the server of a keeper. */
export const needsKeeper = (): boolean => process.geteuid?.() === 0 && !underKeeper()

const defaultApp = (): string => resolve(import.meta.dirname, '../../..')

/** Becomes the same command in another namespace: same pid, nothing of this process is left. */
function startAgain(unshare: readonly string[], mark: Record<string, string>): never {
  const argv = ['unshare', ...unshare, process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  process.execve!('/usr/bin/unshare', argv, { ...(process.env as Record<string, string>), ...mark })
  throw fail('internal', {}, { cause: 'execve came back' })
}

function accountsOf(options: KeeperOptions, data: string): Accounts {
  const chosen = options.uidMap === undefined ? ownAccounts(data) : chooseAccounts(0, options.uidMap, options.uidMap)
  // PostgreSQL refuses root, and there is nobody else here: in a namespace of our own we are somebody else, and the server is no root.
  if (chosen !== 'nested') return chosen
  const other = ['--user', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`]
  if (spawnSync('unshare', [...other, 'true']).status !== 0) throw fail('only_root')
  return startAgain(other, {})
}

interface Ground {
  readonly layout: Layout
  readonly accounts: Accounts
  readonly reached: Reached
  readonly shown: string
  readonly argv: readonly string[]
}

/** Chooses uids and finds (or makes) paths that they can enter. */
function prepareGround(options: KeeperOptions): Ground {
  refuseOfAnother(options.dataDir)
  const shown = makeData(options.dataDir)
  const accounts = accountsOf(options, shown)
  const hash = dataHash(shown)
  const [script = '', ...args] = options.argv ?? process.argv.slice(1)
  const places = { app: options.app ?? defaultApp(), entry: realpathSync(script), node: process.execPath, data: shown }
  const needs = { ...places, uid: accounts.server ?? 0 }
  if (process.env[MOUNTED] === undefined && howToReach(needs) === 'mount')
    startAgain(['--mount', '--propagation', 'private'], { [MOUNTED]: '1' })
  const reached = process.env[MOUNTED] === undefined ? places : bind(needs, join(runtimeDirectory(hash), 'm'))
  return { layout: openLayout(reached.data, { hash }), accounts, reached, shown, argv: [reached.entry, ...args] }
}

/** The server may not read an operator's 0600 file: it gets a copy. */
function configFor(options: KeeperOptions, { layout, accounts }: Ground): Record<string, string> {
  // None was read here: the child must not find one either.
  if (!options.configPath || !existsSync(options.configPath)) return { CONFIG_PATH: '/dev/null' }
  const path = resolve(options.configPath)
  if (closed(accounts.server ?? 0, [path]).length === 0) return { CONFIG_PATH: path }
  const copy = join(layout.runtime, 'config.yaml')
  writeFileSync(copy, readFileSync(options.configPath), { mode: 0o640 })
  chownSync(copy, 0, accounts.server ?? 0)
  return { CONFIG_PATH: copy }
}

/** Half of what Node takes while it works: smaller ones cost a fifth of the CPU of a request. `base/trim.ts` gives it back. */
const HEAP = ['--max-semi-space-size=16', '--min-semi-space-size=2']

/**
 * Of the C library's own: what is larger than a socket's read (64 KiB) goes back to the system when it is free, and so does the end of the
 * heap. By default both limits grow with use (mallopt(3)), so that bodies of 100 KiB once made a server take twice the memory for good.
 */
const MALLOC = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: String(68 << 10), MALLOC_TRIM_THRESHOLD_: String(4 << 20) }

const ownCache = ({ data }: Layout) => ({ NODE_COMPILE_CACHE: join(data, 'cache', 'compile') })
function startServer(options: KeeperOptions, ground: Ground, facts: HandsFacts, heir: boolean): ChildProcess {
  const { layout, accounts, reached, shown } = ground
  const uid = accounts.server ?? 0
  const seat: SeatFacts = {
    ...facts,
    keeper: process.pid,
    heir,
    dataDir: layout.data,
    shownDataDir: shown,
    runtimeDir: layout.runtime,
    used: layout.used || heir,
    app: reached.app,
  }
  const rights = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', '--pdeathsig=KILL', '--']
  return spawn('setpriv', [...rights, reached.node, ...HEAP, ...process.execArgv, ...ground.argv], {
    cwd: reached.app,
    // Its own compile cache: what the server may write, the keeper must never run.
    // The service manager is the keeper's to speak to.
    env: {
      ...process.env,
      NOTIFY_SOCKET: undefined,
      ...MALLOC,
      ...configFor(options, ground),
      ...ownCache(layout),
      [MOUNTED]: undefined,
      [SEAT]: JSON.stringify(seat),
    },
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    // A session of its own: a signal to the process group (Ctrl-C) reaches the keeper only, which lets it drain.
    detached: true,
  })
}

const toChild = (child: ChildProcess): Channel => ({
  send: (message) => void (child.connected && child.send(message as object, () => {})),
  on: (listener) => void child.on('message', listener),
  onClose: (listener) => void child.once('disconnect', listener),
})

/**
 * Keeps: makes this process the one with rights, starts the server as its child without any, and resolves with the server's exit code when
 * that has ended and no cluster is left. If this process is killed, the kernel ends the server and every cluster.
 * @throws SovraError `already_running`, `directory_closed`, `directory_unusable`, `program_missing`.
 */
export async function startKeeper(options: KeeperOptions): Promise<number> {
  const ground = prepareGround(options)
  const { layout, accounts } = ground
  const lock = await acquireLock(layout.data, ground.shown)
  try {
    const programs: Record<string, string | (() => Promise<string>)> = { ...(await options.programs(layout.engines)) }
    const hands = await directHands({ layout, accounts, programs, ...(options.limits ? { limits: options.limits } : {}) })
    // A newer version brings a newer PostgreSQL: what runs goes on, what starts from now on is that one.
    const renew = async () => void Object.assign(programs, await options.programs(layout.engines))
    return await keep(options, ground, { hands, lock, renew })
  } finally {
    lock.release()
  }
}

/** The server answers from now on. */
function tell(lock: Lock, url: string): void {
  lock.announce(url)
  notifyManager('READY=1', `STATUS=Answering on ${url}`)
}

interface Kept {
  readonly hands: Hands
  readonly lock: Lock
  /** Finds the programs anew. */
  readonly renew: () => Promise<void>
}

async function keep(options: KeeperOptions, ground: Ground, { hands, lock, renew }: Kept): Promise<number> {
  function start(heir: boolean): ChildProcess {
    const child = startServer(options, ground, hands.facts, heir)
    const channel = toChild(child)
    serveHands(channel, hands)
    channel.on((message) => {
      const url = (message as { announce?: unknown }).announce
      if (typeof url === 'string' && URL_TEXT.test(url)) tell(lock, url)
    })
    return child
  }
  const succession = makeSuccession({ start, before: renew, patience: options.patience ?? PATIENCE })
  try {
    return await succession.ended
  } finally {
    succession.close()
    await hands.close()
  }
}

/** The server's seat, under a keeper or alone: the one place that chooses its hands. Alone it takes the lock of the data directory. */
export async function openSeat(options: KeeperOptions, rehearse: Rehearse = async () => false): Promise<Seat> {
  return underKeeper() ? await seatUnderKeeper(rehearse) : await seatAlone(options)
}

/** An heir says that it is loaded, and waits: for the sockets, and for the word that the former takes nothing more. */
async function inherit(alone: boolean): Promise<Handles> {
  const inherited: [string, Handle][] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const listen = (message: { inherit?: unknown; go?: unknown }, handle: unknown) => {
    if (typeof message.inherit === 'string' && handle) inherited.push([message.inherit, handle as Handle])
    if (message.go === true) resolve()
  }
  process.on('message', listen)
  process.send?.({ heir: alone ? 'loaded, alone' : 'loaded' })
  await promise
  process.off('message', listen)
  return new Handles(inherited)
}

const bequeath: Bequeath = async (handles) => {
  const send = (message: object, handle?: Handle) =>
    new Promise<void>((done, reject) => process.send?.(message, handle as never, undefined, (error) => (error ? reject(error) : done())))
  for (const [name, handle] of handles) await send({ bequeath: name }, handle)
  await send({ bequeathed: true })
}

async function seatUnderKeeper(rehearse: Rehearse): Promise<Seat> {
  const { keeper, heir, isolation, limits, ...places } = JSON.parse(process.env[SEAT] ?? '{}') as SeatFacts
  delete process.env[SEAT]
  // Killed between our start and the death signal: nobody would end us.
  if (process.ppid !== keeper) process.exit(1)
  // The channel may end some ms before the death signal comes. What was asked of the keeper is broken off, it has not failed: nothing of it may be written.
  let leaving = false
  process.once('disconnect', () => void (leaving || process.kill(process.pid, 'SIGKILL')))
  const channel: Channel = {
    send: (message) => void process.send?.(message as object, undefined, undefined, () => {}),
    on: (listener) => void process.on('message', listener),
    onClose: (listener) => void process.once('disconnect', listener),
  }
  const stop = once<NodeJS.Signals>()
  const handOver = once<Bequeath>()
  channel.on((message) => {
    const { stop: signal, handOver: over } = message as { stop?: unknown; handOver?: unknown }
    if (signal === 'SIGTERM' || signal === 'SIGINT' || signal === 'SIGHUP') stop.call(signal)
    if (over === true) handOver.call(bequeath)
  })
  process.on('SIGTERM', stop.call).on('SIGINT', stop.call)
  return {
    ...places,
    heir,
    hands: remoteHands(channel, { isolation, limits }),
    underKeeper: true,
    inherited: heir ? await inherit(await rehearse(places.dataDir)) : new Handles(),
    announce: (url) => channel.send({ announce: url }),
    onStop: stop.listen,
    onHandOver: handOver.listen,
    async close() {
      leaving = true
      process.disconnect?.()
    },
  }
}

async function seatAlone(options: KeeperOptions): Promise<Seat> {
  refuseOfAnother(options.dataDir)
  const layout = openLayout(options.dataDir)
  const lock = await acquireLock(layout.data)
  try {
    const accounts: Accounts = { isolation: 'same-user', server: null, projects: null }
    const programs = await options.programs(layout.engines)
    const hands = await directHands({ layout, accounts, programs, ...(options.limits ? { limits: options.limits } : {}) })
    const stop = once<NodeJS.Signals>()
    process.on('SIGTERM', stop.call).on('SIGINT', stop.call)
    // By itself the signal would end the process, and its clusters uncleanly.
    process.on('SIGUSR2', () =>
      process.stderr.write('sovrabase: taking over needs the keeper (a start as root): stop and start it instead.\n'),
    )
    process.once('SIGTERM', () => notifyManager('STOPPING=1'))
    return {
      hands,
      dataDir: layout.data,
      shownDataDir: layout.data,
      runtimeDir: layout.runtime,
      used: layout.used,
      app: options.app ?? defaultApp(),
      underKeeper: false,
      heir: false,
      inherited: new Handles(),
      announce: (url) => tell(lock, url),
      onStop: stop.listen,
      onHandOver() {},
      async close() {
        await hands.close()
        lock.release()
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

/** What came before its listener is kept for it; a second one changes nothing. */
function once<T>() {
  let came: T | undefined
  let listener: ((what: T) => void) | undefined
  return {
    call(what: T): void {
      if (came !== undefined) return
      came = what
      listener?.(what)
    },
    listen(to: (what: T) => void): void {
      listener = to
      if (came !== undefined) to(came)
    },
  }
}

/** Exit code for an error that stops the start: 3 when another server has the directory, 2 for what the operator can mend, else 1. */
export function exitCode(error: unknown): number {
  if (isSovraError(error, 'already_running')) return 3
  return isSovraError(error) && error.code !== 'internal' ? 2 : 1
}
