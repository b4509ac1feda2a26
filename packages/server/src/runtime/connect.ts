import { fail, isSovraError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Capacity, makeCapacity } from './capacity.ts'
import type { Driver } from './driver.ts'
import type { Attachment, Copied, Engine } from './engine.ts'
import { type Entry, type Hold, holdEntry, isBusy, lastSeen, newEntry } from './entry.ts'
import type { SeenStatus, Service, ServiceStatus } from './services.ts'

export type { Hold, Link } from './entry.ts'

export interface ConnectorOptions {
  readonly engine: (name: string) => Engine
  readonly driver: (name: string) => Driver
  /** The wanted state of a service, from metadata. */
  readonly load: (id: string) => Promise<Service | undefined>
  readonly find: (project: string, name: string) => Promise<Service | undefined>
  /** For a service that was made as a copy and never ran: what it was copied from. */
  readonly copied?: (service: Service) => Promise<Copied | undefined>
  /** Writes what was seen; may fail when metadata is away: that stops no request. */
  readonly seen: (id: string, status: ServiceStatus, seen: SeenStatus) => Promise<void>
  readonly maxAwake: number
  /** True while the node's memory does not suffice for one more. */
  readonly short?: () => boolean
  readonly maxQueue: number
  readonly patience: number
  readonly log: Log
  readonly now?: () => number
  /** Called with ms of each successful wake. */
  readonly onWake?: (ms: number) => void
}

/** First pause after a failed start, doubled at each further one up to the limit. */
const FAILURE_PAUSE = 500
const FAILURE_PAUSE_LIMIT = 30_000

/**
 * The way to every running service: `hold()` wakes it when it sleeps (all callers share one wake) and keeps it awake until released.
 * Requests that come while it goes to sleep wait and wake it again. A service that ends by itself is started again by its next caller.
 */
export class Connector {
  readonly #options: ConnectorOptions
  readonly #entries = new Map<string, Entry>()
  /** `<project>/<name>` → entry. */
  readonly #named = new Map<string, Entry>()
  readonly #capacity: Capacity
  readonly #now: () => number
  #closing = false

  constructor(options: ConnectorOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#capacity = makeCapacity({
      maxAwake: options.maxAwake,
      short: options.short ?? (() => false),
      maxQueue: options.maxQueue,
      patience: options.patience,
      makeRoom: () => this.#sleepIdlest(),
    })
  }

  /** The synchronous fast path: a hold when the service is awake, else null. */
  now(project: string, name: string, reason: string): Hold | null {
    const entry = this.#named.get(`${project}/${name}`)
    return entry?.state === 'awake' ? this.#take(entry, reason) : null
  }

  /** Wakes it if need be. Rejects with `project_not_found`, `project_unavailable` (did not start) or `node_busy`. */
  async hold(project: string, name: string, reason: string): Promise<Hold> {
    const quick = this.now(project, name, reason)
    if (quick) return quick
    return this.#hold(await this.#entry(project, name), reason)
  }

  /** The same by id; also for a service that no project has claimed. */
  async holdById(id: string, reason: string): Promise<Hold> {
    return this.#hold(await this.#entryById(id), reason)
  }

  #take(entry: Entry, reason: string): Hold {
    return holdEntry(entry, reason, this.#now, () => {
      if (this.#capacity.waiting > 0) void this.#capacity.nudge()
    })
  }

  async #hold(entry: Entry, reason: string): Promise<Hold> {
    for (;;) {
      if (entry.state === 'awake') return this.#take(entry, reason)
      if (this.#closing) throw fail('node_closing', {}, { headers: { 'retry-after': '1' } })
      if (entry.state === 'asleep') this.#startWake(entry)
      await entry.turning
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

  #startWake(entry: Entry): void {
    const left = entry.failedUntil - this.#now()
    if (left > 0) {
      const seconds = String(Math.ceil(left / 1000))
      throw fail('project_unavailable', { seconds }, { cause: entry.failure, headers: { 'retry-after': seconds } })
    }
    entry.state = 'waking'
    entry.turning = this.#wake(entry).finally(() => {
      entry.turning = null
    })
    entry.turning.catch(() => {})
  }

  async #wake(entry: Entry): Promise<void> {
    const start = this.#now()
    let placed = false
    try {
      await this.#capacity.take()
      placed = true
      const service = await this.#wanted(entry)
      await this.#run(entry, service)
    } catch (error) {
      entry.state = 'asleep'
      if (placed) this.#capacity.free()
      if (isSovraError(error, 'node_busy') || isSovraError(error, 'service_not_found')) throw error
      throw this.#failed(entry, error)
    }
    entry.failures = 0
    entry.failure = null
    entry.wokenAt = this.#now()
    entry.lastUsed = entry.wokenAt
    entry.state = 'awake'
    this.#options.onWake?.(entry.wokenAt - start)
  }

  /** The wanted state as metadata has it now; the last one known while metadata is away. */
  async #wanted(entry: Entry): Promise<Service> {
    let service: Service | undefined = entry.service
    try {
      service = await this.#options.load(entry.id)
    } catch (error) {
      this.#options.log.warn({ err: error, service: entry.id }, 'metadata is away: waking with the last known spec')
    }
    if (!service || service.wanted !== 'active') {
      this.forget(entry.id)
      throw fail('service_not_found', { name: entry.service.name })
    }
    return this.#remember(service).service
  }

  async #run(entry: Entry, service: Service): Promise<void> {
    const engine = this.#options.engine(service.engine)
    const driver = this.#options.driver(service.driver)
    const workload = engine.workload(service)
    const ended = new Promise<never>((_, reject) => {
      entry.abort = (detail) => reject(fail('service_ended', { detail }))
    })
    ended.catch(() => {})
    const steps = async () => {
      const endpoint = await driver.apply(workload)
      entry.endpoint = endpoint
      await engine.ready(endpoint, service)
      const copied = service.observedVersion === 0 && service.source ? await this.#options.copied?.(service) : undefined
      if (copied) await engine.adopt?.(endpoint, service, copied)
      await engine.prepare(endpoint, service)
      entry.attachment = (await engine.attach?.(endpoint, service)) ?? null
    }
    try {
      await Promise.race([steps(), ended])
    } catch (error) {
      entry.abort = null
      await driver
        .sleep(entry.id)
        .catch((stopping: unknown) => this.#options.log.error({ err: stopping, service: entry.id }, 'could not stop'))
      entry.endpoint = null
      throw error
    }
    entry.abort = null
    this.#report(entry, entry.attachment?.degraded ? 'degraded' : 'awake', {
      detail: { ...entry.attachment?.degraded, since: this.#now() },
      observedVersion: service.specVersion,
      ...versions(entry.attachment),
    })
  }

  #failed(entry: Entry, error: unknown): Error {
    entry.failures++
    entry.failure = error
    entry.failedUntil = this.#now() + Math.min(FAILURE_PAUSE * 2 ** (entry.failures - 1), FAILURE_PAUSE_LIMIT)
    this.#options.log.error({ err: error, service: entry.id, project: entry.service.project }, 'service did not start')
    const known = isSovraError(error)
    this.#report(entry, 'failed', {
      detail: { code: known ? error.code : 'internal', message: known ? error.message : 'See the server log.', since: this.#now() },
    })
    const seconds = String(Math.ceil((entry.failedUntil - this.#now()) / 1000))
    return fail('project_unavailable', { seconds }, { cause: error, headers: { 'retry-after': seconds } })
  }

  #report(entry: Entry, status: ServiceStatus, seen: SeenStatus): void {
    this.#options.seen(entry.id, status, seen).catch((error: unknown) => {
      this.#options.log.warn({ err: error, service: entry.id, status }, 'could not record a status')
    })
  }

  /**
   * Puts it to sleep; true when it then sleeps. Without `force` only if nothing is under way. Connections of its own that are open but idle
   * are ended with a word.
   */
  async sleep(id: string, options: { force?: boolean; reason?: 'sleep' | 'deleted' | 'shutdown' } = {}): Promise<boolean> {
    const entry = this.#entries.get(id)
    if (!entry) return true
    while (entry.turning) await entry.turning.catch(() => {})
    if (entry.state === 'asleep') return true
    if (!options.force && (entry.holds > 0 || [...entry.links].some((link) => link.busy()))) return false
    entry.state = 'sleeping'
    entry.turning = this.#sleep(entry, options.reason ?? 'sleep').finally(() => {
      entry.turning = null
    })
    await entry.turning
    return true
  }

  async #sleep(entry: Entry, reason: 'sleep' | 'deleted' | 'shutdown'): Promise<void> {
    for (const link of entry.links) link.end(reason)
    entry.links.clear()
    const { attachment } = entry
    entry.attachment = null
    try {
      await attachment?.close()
      await this.#options.driver(entry.service.driver).sleep(entry.id)
    } catch (error) {
      this.#options.log.error({ err: error, service: entry.id }, 'could not put to sleep cleanly')
    } finally {
      this.#ended(entry)
    }
    this.#report(entry, 'asleep', {})
  }

  #ended(entry: Entry): void {
    entry.state = 'asleep'
    entry.endpoint = null
    this.#capacity.free()
  }

  /** The driver says that it ended though nobody asked for it. */
  crashed(id: string, detail: string): void {
    const entry = this.#entries.get(id)
    entry?.abort?.(detail)
    if (entry?.state !== 'awake') return
    this.#options.log.error({ service: id, project: entry.service.project, detail }, 'service ended by itself')
    const { attachment } = entry
    entry.attachment = null
    for (const link of entry.links) link.end('crash')
    entry.links.clear()
    this.#ended(entry)
    void attachment?.close().catch(() => {})
    this.#report(entry, 'asleep', { detail: { code: 'crashed', message: detail, since: this.#now() } })
  }

  /** Runs `work` while the service is stopped and nobody can wake it (its files are copied): callers wait for the end of it. */
  async still<R>(id: string, work: (service: Service) => Promise<R>): Promise<R> {
    const entry = await this.#entryById(id)
    await this.sleep(id, { force: true })
    while (entry.turning) await entry.turning.catch(() => {})
    if (entry.state !== 'asleep') return this.still(id, work)
    entry.state = 'sleeping'
    const working = work(entry.service)
    entry.turning = working.then(
      () => {},
      () => {},
    )
    try {
      return await working
    } finally {
      entry.state = 'asleep'
      entry.turning = null
    }
  }

  async #sleepIdlest(): Promise<boolean> {
    const now = this.#now()
    const idle = [...this.#entries.values()]
      .filter((entry) => entry.state === 'awake' && !isBusy(entry))
      .sort((a, b) => lastSeen(a, now) - lastSeen(b, now))
    for (const entry of idle) if (await this.sleep(entry.id)) return true
    return false
  }

  /** Drops what is known of a service (its data is gone, or its project's name for it changed). */
  forget(id: string): void {
    const entry = this.#entries.get(id)
    if (!entry) return
    this.#entries.delete(id)
    for (const [name, named] of this.#named) if (named === entry) this.#named.delete(name)
  }

  /** A prepared service got its project: the next `hold` finds it by that name. */
  claimed(service: Service): void {
    this.#remember(service)
  }

  entry(id: string): Readonly<Entry> | undefined {
    return this.#entries.get(id)
  }

  entryOf(project: string, name: string): Readonly<Entry> | undefined {
    return this.#named.get(`${project}/${name}`)
  }

  *awake(): Generator<Readonly<Entry>> {
    for (const entry of this.#entries.values()) if (entry.state === 'awake') yield entry
  }

  get queued(): number {
    return this.#capacity.waiting
  }

  /** No new wakes; everything is put to sleep. */
  async close(): Promise<void> {
    this.#closing = true
    const sleeping = [...this.#entries.keys()].map((id) => this.sleep(id, { force: true, reason: 'shutdown' }))
    await Promise.allSettled(sleeping)
  }
}

const versions = (attachment: Attachment | null): SeenStatus => ({
  ...(attachment?.engineVersion === undefined ? {} : { engineVersion: attachment.engineVersion }),
  ...(attachment?.systemVersion === undefined ? {} : { systemVersion: attachment.systemVersion }),
})
