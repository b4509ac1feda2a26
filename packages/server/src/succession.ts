import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type { Handle } from './base/handles.ts'
import { notifyManager, notifyReloading } from './base/notify.ts'

/*
 * One server after the other under the same keeper; the clusters stay. The heir is started and loads its modules while the former serves.
 * Then the former gives its listening sockets, takes no more and finishes what it has; the heir opens the metadata and answers. Connections
 * that come in between wait in the sockets' queues: nobody is refused. A heir that cannot load leaves all as it was.
 *
 *   keeper → former { handOver }      former → keeper { bequeath: name } + handle, …, { bequeathed }
 *   heir → keeper { heir: 'loaded' | 'loaded, alone' }   keeper → heir { inherit: name } + handle, …, { go }
 *
 * `alone`: it changes what the former reads and writes, and waits for its very end.
 */

export interface SuccessionOptions {
  /** Starts a server; an heir waits for its `go`. */
  readonly start: (heir: boolean) => ChildProcess
  /** What the new version needs before it is started. */
  readonly before: () => Promise<void>
  /** ms for the server to drain after SIGTERM, then SIGKILL. */
  readonly patience: number
}

export interface Succession {
  /** Resolves with the exit code of the server that was in charge. */
  readonly ended: Promise<number>
  /** SIGTERM and SIGINT go to the server as a message; the second SIGINT, or too long a drain, ends it at once. SIGUSR2: the next one. */
  close(): void
}

/** ms that the heir waits for what the former still answers; longer requests go on beside it. */
const OVERLAP = 3_000
/** ms for the heir to load, and for the former to give its sockets. */
const LOADING = 60_000

type Bequest = readonly [name: string, handle: Handle]

const isRunning = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode === null && signalCode === null

const codeOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? 128 + (signal === null ? 0 : constants.signals[signal])

/** The first message for which `take` answers something; rejects when the process ends before. */
function heard<T>(child: ChildProcess, take: (message: Record<string, unknown>, handle: unknown) => T | undefined): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const listen = (message: unknown, handle: unknown) => {
    const taken = take(message as Record<string, unknown>, handle)
    if (taken !== undefined) resolve(taken)
  }
  const gone = () => reject(new Error('it ended'))
  const timer = setTimeout(() => reject(new Error(`no word for ${LOADING / 1000} s`)), LOADING)
  child.on('message', listen).once('exit', gone)
  return promise.finally(() => {
    clearTimeout(timer)
    child.off('message', listen).off('exit', gone)
  })
}

function handOver(former: ChildProcess): Promise<Bequest[]> {
  const bequests: Bequest[] = []
  const all = heard(former, (message, handle) => {
    if (typeof message.bequeath === 'string' && handle) bequests.push([message.bequeath, handle as Handle])
    return message.bequeathed === true ? bequests : undefined
  })
  former.send({ handOver: true }, () => {})
  return all
}

export function makeSuccession({ start, before, patience }: SuccessionOptions): Succession {
  const { promise: ended, resolve, reject } = Promise.withResolvers<number>()
  let current: ChildProcess
  let asked = 0
  let reloading = false
  let timer: NodeJS.Timeout | undefined

  function take(heir: boolean): ChildProcess {
    const child = start(heir)
    child.once('error', (error) => (child === current ? reject(error) : undefined))
    child.once('exit', (code, signal) => (child === current ? resolve(codeOf(code, signal)) : undefined))
    return child
  }

  async function next(): Promise<void> {
    await before()
    const heir = take(true)
    try {
      const loaded = await heard(heir, ({ heir: said }) => (said === 'loaded' || said === 'loaded, alone' ? said : undefined))
      if (asked > 0) throw new Error('the server is stopping')
      const former = current
      const bequests = await handOver(former)
      current = heir
      const gone = new Promise((done) => former.once('exit', done))
      for (const [name, handle] of bequests) heir.send({ inherit: name }, handle as never, () => handle.close())
      if (isRunning(former)) await Promise.race([gone, pause(loaded === 'loaded' ? OVERLAP : patience)])
      // What it would write now would be lost where the heir's change fails and is put back.
      if (loaded !== 'loaded' && isRunning(former)) {
        former.kill('SIGKILL')
        await gone
      }
      heir.send({ go: true }, () => {})
    } catch (error) {
      if (heir !== current) heir.kill('SIGKILL')
      throw error
    }
  }

  function reload(): void {
    if (reloading || asked > 0) return
    reloading = true
    notifyReloading()
    next()
      .catch((error: unknown) => {
        process.stderr.write(`sovrabase: the former server stays: ${(error as Error).message}\n`)
        // The heir says it itself, once it answers.
        notifyManager('READY=1', 'STATUS=The former server stays: see the log')
      })
      .finally(() => {
        reloading = false
      })
  }

  function pass(signal: NodeJS.Signals): void {
    if (asked === 0) notifyManager('STOPPING=1')
    asked++
    if (asked > 1 && signal === 'SIGINT') return void current.kill('SIGKILL')
    if (current.connected) current.send({ stop: signal }, () => {})
    timer ??= setTimeout(() => current.kill('SIGKILL'), patience)
  }

  current = take(false)
  process.on('SIGTERM', pass).on('SIGINT', pass).on('SIGHUP', pass).on('SIGUSR2', reload)
  return { ended, close: () => clearTimeout(timer) }
}
