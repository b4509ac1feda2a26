import { setTimeout as pause } from 'node:timers/promises'
import { fail, isSovraError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { Capacity, nodeBusy, nodeClosing } from './capacity.ts'
import type { Driver } from './driver.ts'
import type { Attachment, Copied, Engine } from './engine.ts'
import { type Ending, type Entry, type Hold, holdEntry, isBusy, isKept, lastSeen, newEntry } from './entry.ts'
import type { SeenStatus, Service, ServiceStatus } from './services.ts'
import { start } from './start.ts'

export type { Hold, Link } from './entry.ts'

export interface ConnectorOptions {
  /** Name of this node: services of others are not started here. */
  readonly node: string
  readonly engine: (name: string) => Engine
  readonly driver: (name: string) => Driver
  /** The wanted state of a service, from metadata. */
  readonly load: (id: string) => Promise<Service | undefined>
  readonly find: (project: string, name: string) => Promise<Service | undefined>
  /** For a service that was made as a copy and never ran: what it was copied from. */
  readonly copied?: (service: Service) => Promise<Copied | undefined>
  /** Fills the volume of a copy in a way of its own; false: its source is to be copied while it stands still. */
  readonly copy?: (service: Service) => Promise<boolean>
  /** Writes what was seen; may fail when metadata is away: that stops no request. */
  readonly seen: (id: string, status: ServiceStatus, seen: SeenStatus) => Promise<void>
  readonly maxAwake: number
  /** True while the node's memory does not suffice for one more. */
  readonly short?: () => boolean
  /** Most callers that wait because no place is free. */
  readonly maxQueue: number
  /** ms that a caller waits for a place and for the wake. */
  readonly patience: number
  /** ms that what is under way may take where a service must stop (another spec, a copy of it). */
  readonly drain: number
  readonly log: Log
  readonly now?: () => number
  /** Called with ms of each successful wake. */
  readonly onWake?: (ms: number) => void
}

export interface SleepOptions {
  /** Also while something is under way. */
  readonly force?: boolean
  /** With `force`: ms that what is under way may still take; nothing new begins meanwhile. Default 0. */
  readonly drain?: number
  readonly reason?: Ending
}

/** First pause after a failed start, doubled at each further one up to the limit. */
const FAILURE_PAUSE = 500
const FAILURE_PAUSE_LIMIT = 30_000
/** ms between two looks whether the statements of links have ended: they end without a word. */
const DRAIN_LOOK = 20
/** Errors of a wake that say nothing against the service. */
const NOT_ITS_FAULT = ['node_busy', 'node_closing', 'service_not_found', 'service_elsewhere'] as const

const slow = () => fail('project_unavailable', { seconds: 2 }, { headers: { 'retry-after': '2' } })

const settled = (promise: Promise<unknown>): Promise<void> =>
  promise.then(
    () => {},
    () => {},
  )

/**
 * The way to every running service: `hold()` wakes it when it sleeps (all callers share one wake) and keeps it awake until released.
 * Requests that come while it goes to sleep wait and wake it again. A service that ends by itself is started again by its next caller.
 *
 * One rule keeps the states apart: whoever changes a state does it in the same tick in which it saw that no other change is under way
 * (`entry.turning`), and everyone else waits on that one promise and looks again.
 */
export class Connector {
  readonly #options: ConnectorOptions
  readonly #entries = new Map<string, Entry>()
  /** `<project>/<name>` → entry. */
  readonly #named = new Map<string, Entry>()
  readonly #capacity: Capacity
  readonly #now: () => number
  /** Callers that wait because no place is free. */
  #callers = 0
  #closing = false

  constructor(options: ConnectorOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#capacity = new Capacity({
      maxAwake: options.maxAwake,
      short: options.short ?? (() => false),
      patience: options.patience,
      makeRoom: () => this.#sleepIdlest(),
    })
  }

  /** The synchronous fast path: a hold when the service is awake, else null. */
  now(project: string, name: string, reason: string): Hold | null {
    const entry = this.#named.get(`${project}/${name}`)
    return entry?.state === 'awake' ? this.#take(entry, reason) : null
  }

  /** What is attached to it while it is awake; looking neither wakes it nor keeps it awake. */
  seen(project: string, name: string): Attachment | undefined {
    const entry = this.#named.get(`${project}/${name}`)
    return entry?.state === 'awake' ? (entry.attachment ?? undefined) : undefined
  }

  /** Wakes it if need be. Rejects with `service_not_found`, `project_unavailable` (did not start), `node_busy` or `node_closing`. */
  async hold(project: string, name: string, reason: string): Promise<Hold> {
    const quick = this.now(project, name, reason)
    if (quick) return quick
    return this.#hold(await this.#entry(project, name), reason, this.#options.patience)
  }

  /** The same by id, for the server's own work: waits as long as the wake takes; also for a service that no project has claimed. */
  async holdById(id: string, reason: string): Promise<Hold> {
    return this.#hold(await this.#entryById(id), reason, null)
  }

  #take(entry: Entry, reason: string): Hold {
    return holdEntry(entry, reason, this.#now, () => this.#capacity.look())
  }

  async #hold(entry: Entry, reason: string, patience: number | null): Promise<Hold> {
    const until = patience === null ? null : this.#now() + patience
    for (;;) {
      if (entry.state === 'awake') return this.#take(entry, reason)
      if (this.#closing) throw nodeClosing()
      if (entry.state === 'asleep') this.#startWake(entry)
      if (entry.placing && this.#callers >= this.#options.maxQueue) throw nodeBusy()
      await this.#wait(entry, until)
    }
  }

  /** Until the change under way is through, or the caller's patience. */
  async #wait(entry: Entry, until: number | null): Promise<void> {
    const { placing } = entry
    if (placing) this.#callers++
    let timer: NodeJS.Timeout | undefined
    try {
      if (until === null) return void (await entry.turning)
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(entry.placing ? nodeBusy() : (entry.late?.() ?? slow())), Math.max(0, until - this.#now()))
      })
      await Promise.race([entry.turning, late])
    } finally {
      clearTimeout(timer)
      if (placing) this.#callers--
    }
  }

  async #entry(project: string, name: string): Promise<Entry> {
    const known = this.#named.get(`${project}/${name}`)
    if (known) return known
    const service = await this.#options.find(project, name)
    if (!service) throw fail('service_not_found', { name })
    return this.#remember(service)
  }

  async #entryById(id: string): Promise<Entry> {
    const known = this.#entries.get(id)
    if (known) return known
    const service = await this.#options.load(id)
    if (!service) throw fail('service_not_found', { name: id })
    return this.#remember(service)
  }

  #remember(service: Service): Entry {
    const entry = this.#entries.get(service.id) ?? newEntry(service)
    this.#entries.set(service.id, entry)
    entry.service = service
    if (service.project !== '') this.#named.set(`${service.project}/${service.name}`, entry)
    return entry
  }

  /** Drops what is known of a service, within its own change of state: its place is accounted for there. */
  #forget(entry: Entry): void {
    if (this.#entries.get(entry.id) === entry) this.#entries.delete(entry.id)
    for (const [name, named] of this.#named) if (named === entry) this.#named.delete(name)
  }

  /** Begins a change of state; the caller has seen in this very tick that none is under way. */
  #turn<R>(entry: Entry, state: 'waking' | 'sleeping', work: () => Promise<R>): Promise<R> {
    entry.state = state
    const done = work().finally(() => {
      entry.turning = null
    })
    // Who waits for a wake is told why it failed; who waits for the end of something else is not concerned.
    entry.turning = state === 'waking' ? done.then(() => {}) : settled(done)
    entry.turning.catch(() => {})
    return done
  }

  #startWake(entry: Entry): void {
    const left = entry.failedUntil - this.#now()
    if (left > 0) throw this.#unavailable(left, entry.failure)
    const placed = this.#capacity.tryTake()
    if (!placed && this.#callers >= this.#options.maxQueue) throw nodeBusy()
    entry.placing = !placed
    this.#turn(entry, 'waking', () => this.#wake(entry, placed)).catch(() => {})
  }

  async #wake(entry: Entry, placedAlready: boolean): Promise<void> {
    const began = this.#now()
    let placed = placedAlready
    try {
      if (!placed) await this.#capacity.take()
      placed = true
      entry.placing = false
      const service = await this.#wanted(entry)
      if (this.#closing) throw nodeClosing()
      const started = await start(this.#partsOf(service), entry, service)
      entry.endpoint = started.endpoint
      entry.attachment = started.attachment
    } catch (error) {
      entry.state = 'asleep'
      entry.placing = false
      if (placed) this.#capacity.free()
      if (this.#closing) throw nodeClosing()
      if (NOT_ITS_FAULT.some((code) => isSovraError(error, code))) throw error
      throw this.#failed(entry, error)
    }
    entry.failures = 0
    entry.failure = null
    entry.failedUntil = 0
    entry.wokenAt = this.#now()
    entry.lastUsed = entry.wokenAt
    entry.state = 'awake'
    this.#report(entry, entry.attachment?.degraded ? 'degraded' : 'awake', this.#seenAwake(entry))
    this.#options.onWake?.(entry.wokenAt - began)
  }

  #partsOf(service: Service) {
    const driver = this.#options.driver(service.driver)
    const copy = async (copied: Service) => {
      const { source, volume } = copied
      if (await this.#options.copy?.(copied)) return
      // Its volume of now: since the copy was asked for it may have been moved to another.
      if (source) await this.still(source.service, (from) => driver.copy(from.volume, volume), { drain: this.#options.drain })
    }
    return { engine: this.#options.engine(service.engine), driver, copy, copied: this.#options.copied, log: this.#options.log }
  }

  /** The wanted state as metadata has it now; the last one known while metadata is away. */
  async #wanted(entry: Entry): Promise<Service> {
    let service: Service | undefined = entry.service
    try {
      service = await this.#options.load(entry.id)
    } catch (error) {
      this.#options.log.warn({ err: error, service: entry.id }, 'metadata is away: waking with the last known spec')
    }
    if (service?.wanted !== 'active') {
      this.#forget(entry)
      throw fail('service_not_found', { name: entry.service.name })
    }
    // Its data is there: here an empty volume would be made.
    if (service.node !== null && service.node !== this.#options.node) throw fail('service_elsewhere', { node: service.node })
    return this.#remember(service).service
  }

  #unavailable(ms: number, cause: unknown) {
    const seconds = String(Math.ceil(ms / 1000))
    return fail('project_unavailable', { seconds }, { cause, headers: { 'retry-after': seconds } })
  }

  #failed(entry: Entry, error: unknown): Error {
    entry.failures++
    entry.failure = error
    const wait = Math.min(FAILURE_PAUSE * 2 ** Math.min(entry.failures - 1, 10), FAILURE_PAUSE_LIMIT)
    entry.failedUntil = this.#now() + wait
    this.#options.log.error({ err: error, service: entry.id, project: entry.service.project }, 'service did not start')
    const known = isSovraError(error)
    const told = { code: known ? error.code : 'internal', message: known ? error.message : 'See the server log.' }
    this.#report(entry, 'failed', { detail: { ...told, since: this.#now() } })
    return this.#unavailable(wait, error)
  }

  #report(entry: Entry, status: ServiceStatus, seen: SeenStatus): void {
    entry.reporting = entry.reporting
      .then(() => this.#options.seen(entry.id, status, seen))
      .catch((error: unknown) => this.#options.log.warn({ err: error, service: entry.id, status }, 'could not record a status'))
  }

  #seenAwake({ attachment, service }: Entry): SeenStatus {
    return {
      detail: { ...attachment?.degraded, since: this.#now() },
      observedVersion: service.specVersion,
      ...(attachment?.engineVersion === undefined ? {} : { engineVersion: attachment.engineVersion }),
      ...(attachment?.systemVersion === undefined ? {} : { systemVersion: attachment.systemVersion }),
    }
  }

  /** Resolves when all that was seen of it so far is written. */
  async reported(id: string): Promise<void> {
    await this.#entries.get(id)?.reporting
  }

  /**
   * Puts it to sleep; true when it then sleeps. Without `force` only if nothing is under way. Connections of its own that are open but idle
   * are ended with a word.
   */
  async sleep(id: string, { force = false, drain = 0, reason = 'sleep' }: SleepOptions = {}): Promise<boolean> {
    const entry = this.#entries.get(id)
    if (!entry) return true
    while (entry.turning) await settled(entry.turning)
    if (entry.state === 'asleep') return true
    if (!force && isBusy(entry)) return false
    await this.#turn(entry, 'sleeping', () => this.#stop(entry, reason, drain).finally(() => this.#slept(entry)))
    return true
  }

  #slept(entry: Entry): void {
    entry.state = 'asleep'
  }

  /** Ends the run; the state stays the caller's. */
  async #stop(entry: Entry, reason: Ending, drain: number): Promise<void> {
    const until = this.#now() + drain
    while (isBusy(entry) && this.#now() < until) await pause(DRAIN_LOOK)
    const attachment = this.#part(entry, reason)
    try {
      await attachment?.close().catch((error: unknown) => this.#options.log.warn({ err: error, service: entry.id }, 'could not detach'))
      await this.#options.driver(entry.service.driver).sleep(entry.id)
    } catch (error) {
      this.#options.log.error({ err: error, service: entry.id }, 'could not put to sleep cleanly')
    } finally {
      this.#capacity.free()
    }
    this.#report(entry, 'asleep', {})
  }

  /** The run is over for everybody here: its links are told, later ones find another run. */
  #part(entry: Entry, reason: Ending): Attachment | null {
    const { attachment, endpoint } = entry
    entry.formerRun = endpoint?.run ?? null
    entry.ending = reason
    entry.endpoint = null
    entry.attachment = null
    const links = [...entry.links]
    entry.links.clear()
    for (const link of links) link.end(reason)
    return attachment
  }

  /** The driver says that this run ended though nobody asked for it. */
  crashed(id: string, detail: string, run: string): void {
    const entry = this.#entries.get(id)
    if (!entry) return
    if (entry.state === 'waking' && run !== entry.formerRun) entry.abort?.(detail)
    if (entry.state !== 'awake' || entry.endpoint?.run !== run) return
    this.#options.log.error({ service: id, project: entry.service.project, detail }, 'service ended by itself')
    const attachment = this.#part(entry, 'crash')
    entry.state = 'asleep'
    this.#capacity.free()
    attachment?.close().catch(() => {})
    // The log's words stay in the server's log: they may name what a project's people named.
    this.#report(entry, 'asleep', { detail: { code: 'crashed', message: detail.replace(/:.*/s, ''), since: this.#now() } })
  }

  /**
   * Runs `work` while the service is stopped and nobody can wake it (its files are copied or removed): callers wait for the end of it.
   * What is under way may take `drain` ms first. `forget`: it is gone afterwards.
   */
  async still<R>(id: string, work: (service: Service) => Promise<R>, options: StillOptions = {}): Promise<R> {
    const entry = await this.#entryById(id)
    while (entry.turning) await settled(entry.turning)
    const running = entry.state === 'awake'
    return this.#turn(entry, 'sleeping', async () => {
      try {
        entry.late = options.late
        if (running) await this.#stop(entry, options.reason ?? 'sleep', options.drain ?? 0)
        const result = await work(entry.service)
        if (options.forget) this.#forget(entry)
        return result
      } finally {
        entry.late = undefined
        this.#slept(entry)
      }
    })
  }

  /** As `still`, but only where it sleeps already; undefined: it is awake. */
  async whileAsleep<R>(id: string, work: (service: Service) => Promise<R>): Promise<{ readonly value: R } | undefined> {
    const entry = await this.#entryById(id)
    while (entry.turning) await settled(entry.turning)
    if (entry.state !== 'asleep') return undefined
    return this.#turn(entry, 'sleeping', async () => {
      try {
        return { value: await work(entry.service) }
      } finally {
        this.#slept(entry)
      }
    })
  }

  async #sleepIdlest(): Promise<boolean> {
    const now = this.#now()
    const idle = [...this.#entries.values()]
      .filter((entry) => entry.state === 'awake' && !isKept(entry))
      .sort((a, b) => lastSeen(a, now) - lastSeen(b, now))
    for (const entry of idle) if (await this.sleep(entry.id)) return true
    return false
  }

  /** A prepared service got its project: the next `hold` finds it by that name. */
  claimed(service: Service): void {
    this.#remember(service)
  }

  /** What metadata say of it now. */
  renew(service: Service): void {
    if (this.#entries.has(service.id)) this.#remember(service)
  }

  entry(id: string): Readonly<Entry> | undefined {
    return this.#entries.get(id)
  }

  *awake(): Generator<Readonly<Entry>> {
    for (const entry of this.#entries.values()) if (entry.state === 'awake') yield entry
  }

  /** Ends what is open to it, not the service. */
  async #letGo(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    while (entry?.turning) await settled(entry.turning)
    if (entry?.state !== 'awake') return
    await this.#turn(entry, 'sleeping', async () => {
      await this.#part(entry, 'shutdown')
        ?.close()
        .catch(() => {})
      this.#slept(entry)
    })
  }

  /** Callers that wait for a place. */
  get queued(): number {
    return this.#callers
  }

  /** Places in use, those of wakes under way included. */
  get taken(): number {
    return this.#capacity.taken
  }

  /**
   * No new wakes; those under way are broken off and everything is put to sleep, or with `leave` only let go: the process after this one goes on
   * with what runs. Waits no longer than a caller would.
   */
  async close({ leave = false }: { readonly leave?: boolean } = {}): Promise<void> {
    this.#closing = true
    this.#capacity.close()
    for (const entry of this.#entries.values()) entry.abort?.('the server is shutting down')
    const end = (id: string) => (leave ? this.#letGo(id) : this.sleep(id, { force: true, reason: 'shutdown' }))
    const sleeping = Promise.allSettled([...this.#entries.keys()].map(end))
    const stop = new AbortController()
    await Promise.race([sleeping, pause(this.#options.patience, undefined, { signal: stop.signal }).catch(() => {})])
    stop.abort()
    await Promise.allSettled([...this.#entries.values()].map((entry) => entry.reporting))
  }
}

export interface StillOptions {
  readonly reason?: Ending
  readonly drain?: number
  readonly forget?: boolean
  /** What callers are told whose patience ends meanwhile. */
  readonly late?: () => Error
}
