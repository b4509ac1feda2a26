import { setTimeout as pause } from 'node:timers/promises'
import { fail, isSovraError } from '../../base/errors.ts'
import type { Bus } from '../../base/events.ts'
import type { Log } from '../../base/log.ts'
import { within } from '../../base/objects/store.ts'
import type { Metadata } from '../../metadata/open.ts'
import type { Connector } from '../connect.ts'
import type { Engine } from '../engine.ts'
import type { Entry } from '../entry.ts'
import type { Service, ServiceStore } from '../services.ts'
import { Follower } from './follower.ts'
import { type BaseRecord, followedLineage, lineageFolder, lineageName, lineageNames } from './layout.ts'
import { pruneProject } from './prune.ts'
import type { BackupSettings, Places } from './settings.ts'
import { type ArchiveFact, archiveFacts, writeArchiveFact } from './state.ts'

export interface ArchiverOptions {
  readonly metadata: Metadata
  readonly services: ServiceStore
  readonly connector: () => Connector
  readonly engine: (name: string) => Engine
  readonly places: Places
  readonly bus: Bus
  readonly node: string
  /** Of the data directory. */
  readonly incarnation: string
  /** Whether bases of changes can be put together here. */
  readonly incremental: () => Promise<boolean>
  /** Whether those of this service are of the version that is put together. */
  readonly combinable: (service: Service) => boolean
  readonly stored: (bytes: number) => void
  readonly failed: () => void
  readonly log: Log
  readonly now?: () => number
}

interface Followed {
  readonly service: Service
  /** Its endpoint's: a run is followed once at a time. */
  readonly run: string
  /** Until this try has ended. */
  active: boolean
  follower: Follower | null
  /** Settles with the follower, once the log is on its way. */
  readonly ready: PromiseWithResolvers<Follower>
  failures: number
  /** No try before. */
  notBefore: number
  failure: { readonly at: number; readonly reason: string } | null
  done: Promise<void>
}

const EVERY = 500
/** To find a follower, that often. */
const TRIES = 20
const SECOND = 1000
const HOUR = 3_600_000
const DAY = 24 * HOUR
const PAUSE = SECOND
const LONGEST_PAUSE = 60 * SECOND
/** So many bases of changes follow a whole one. */
const CHAIN = 6

const reasonOf = (error: unknown): string => (isSovraError(error) ? error.message : 'see the server log')

/** Keeps the archives of those projects that want one: follows what is awake, wakes what has something left to archive. */
export class Archiver {
  readonly #options: ArchiverOptions
  readonly #now: () => number
  readonly #followed = new Map<string, Followed>()
  readonly #settings = new Map<string, Promise<BackupSettings>>()
  /** Of services that nobody follows. */
  #facts = new Map<string, ArchiveFact>()
  #timer: NodeJS.Timeout | null = null
  #looking: Promise<void> | null = null
  #turn: Promise<unknown> = Promise.resolve()
  #offBus: (() => void) | null = null
  #incremental = false
  #closing = false

  constructor(options: ArchiverOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  async start(): Promise<void> {
    const { metadata, bus, incremental } = this.#options
    this.#incremental = await incremental()
    this.#facts = await archiveFacts(metadata.kysely)
    this.#offBus = bus.on(['settings.changed'], ({ subject, project_ref }) => {
      if (subject !== 'backup' || project_ref === null) return
      this.#settings.delete(project_ref)
      void this.#changed(project_ref)
    })
    void this.#fetchLeft()
    this.#timer = setInterval(() => {
      this.#looking ??= this.look().finally(() => {
        this.#looking = null
      })
    }, EVERY)
    this.#timer.unref()
  }

  /** What was written before a crash lies in logs of clusters that sleep: one after the other is woken for it. */
  async #fetchLeft(): Promise<void> {
    const { services, metadata } = this.#options
    for (const [id, { whole }] of [...this.#facts]) {
      if (this.#closing) return
      if (!(await services.byId(metadata.kysely, id))) await this.#drop(id)
      else if (!whole) await this.#wake(id)
    }
  }

  #settingsOf(ref: string): Promise<BackupSettings> {
    const known = this.#settings.get(ref)
    if (known) return known
    const read = this.#options.places.settings(ref)
    this.#settings.set(ref, read)
    read.catch(() => this.#settings.delete(ref))
    return read
  }

  /** Follows those awake that nobody follows yet. */
  async look(): Promise<void> {
    if (this.#closing) return
    for (const entry of [...this.#options.connector().awake()]) {
      try {
        await this.#one(entry)
      } catch (error) {
        this.#options.log.warn({ err: error, service: entry.id }, 'could not look after an archive')
      }
    }
  }

  async #one(entry: Readonly<Entry>): Promise<void> {
    const { service, endpoint } = entry
    const { history } = this.#options.engine(service.engine)
    if (!endpoint || !history || service.project === '') return
    const known = this.#followed.get(entry.id)
    // One of a former run ends by itself.
    if (known?.active) return known.run === endpoint.run ? known.follower?.look() : undefined
    if (known && known.run === endpoint.run && this.#now() < known.notBefore) return
    const settings = await this.#settingsOf(service.project)
    if (!settings.point_in_time || this.#followed.get(entry.id)?.active || entry.endpoint !== endpoint) return
    this.#follow(entry, endpoint.run, settings, known)
  }

  #follow({ service, id }: Readonly<Entry>, run: string, settings: BackupSettings, before: Followed | undefined): void {
    const followed: Followed = {
      service,
      run,
      active: true,
      follower: null,
      ready: Promise.withResolvers<Follower>(),
      failures: before?.failures ?? 0,
      notBefore: 0,
      failure: before?.failure ?? null,
      done: Promise.resolve(),
    }
    this.#followed.set(id, followed)
    followed.ready.promise.catch(() => {})
    followed.done = this.#run(followed, settings).catch((error: unknown) => {
      this.#options.log.error({ err: error, project: service.project }, 'could not record the state of an archive')
    })
  }

  async #make({ service }: Followed, settings: BackupSettings): Promise<Follower> {
    const { places, engine, connector, incarnation, stored, log } = this.#options
    const { project, name, volume } = service
    const store = await places.archive(project, settings)
    let rules = settings
    const { history } = engine(service.engine)
    if (!history) throw fail('backup_unsupported', { name: service.engine })
    return new Follower({
      service,
      history,
      last: async () => followedLineage(await lineageNames(store, project), volume, incarnation),
      fresh: () => lineageName(volume, incarnation, this.#now()),
      open: (lineage) => within(store, lineageFolder(project, lineage)),
      rules: () => {
        // As they are now, without waiting for them.
        void this.#settingsOf(project).then(
          (now) => {
            rules = now
          },
          () => {},
        )
        return { within: rules.within * SECOND, baseEvery: rules.base_every * HOUR }
      },
      hold: () => connector().now(project, name, 'archive'),
      inTurn: (work) => {
        const mine = this.#turn.then(work, work)
        this.#turn = mine.catch(() => {})
        return mine
      },
      incremental: this.#incremental && this.#options.combinable(service),
      chain: CHAIN,
      stored,
      based: (base) => this.#based(service, base),
      log,
      now: this.#now,
    })
  }

  async #run(followed: Followed, settings: BackupSettings): Promise<void> {
    const { service } = followed
    await this.#record(service, false, null)
    try {
      const follower = await this.#make(followed, settings)
      followed.follower = follower
      follower.begun.then(() => followed.ready.resolve(follower), followed.ready.reject)
      const began = this.#now()
      const settled = setTimeout(() => {
        followed.failure = null
        followed.failures = 0
      }, settings.within * SECOND)
      try {
        await followed.follower.run()
      } finally {
        clearTimeout(settled)
        if (this.#now() - began > LONGEST_PAUSE) followed.failures = 0
      }
      followed.failure = null
      await this.#record(service, true, null)
    } catch (error) {
      followed.follower?.close()
      followed.ready.reject(error)
      // It sleeps, crashed or was switched off: what is not confirmed is kept.
      const ended = isSovraError(error, 'archive_follow_failed')
      if (!ended) {
        followed.failures++
        followed.failure = { at: followed.failure?.at ?? this.#now(), reason: reasonOf(error) }
        this.#options.failed()
        this.#options.log.error({ err: error, project: service.project }, 'an archive does not get what it should')
        await this.#record(service, false, followed.failure.reason)
      }
      followed.notBefore = this.#now() + Math.min(PAUSE * 2 ** Math.min(followed.failures, 10), LONGEST_PAUSE)
      if (!this.#closing) this.#again(followed, ended ? LONGEST_PAUSE : followed.notBefore - this.#now())
    } finally {
      followed.follower = null
      followed.active = false
    }
  }

  /** One that fell asleep with something left is woken for it, once its place answers again. */
  #again(followed: Followed, after: number): void {
    setTimeout(() => {
      if (!this.#closing && this.#followed.get(followed.service.id) === followed) void this.#wake(followed.service.id)
    }, after).unref()
  }

  async #record({ id, project }: Service, whole: boolean, reason: string | null): Promise<void> {
    const fact: ArchiveFact = { ref: project, whole, at: this.#now(), reason }
    this.#facts.set(id, fact)
    await writeArchiveFact(this.#options.metadata, id, fact)
  }

  async #wake(id: string): Promise<void> {
    try {
      const hold = await this.#options.connector().holdById(id, 'archive')
      const settings = await this.#settingsOf(hold.service.project)
      if (settings.point_in_time) await this.look()
      else await this.#forget(hold.service)
      hold.release()
    } catch (error) {
      if (isSovraError(error, 'service_not_found')) await this.#drop(id)
      else this.#options.log.warn({ err: error, service: id }, 'could not wake what has something left for its archive')
    }
  }

  async #drop(id: string): Promise<void> {
    this.#facts.delete(id)
    this.#followed.delete(id)
    await writeArchiveFact(this.#options.metadata, id, null).catch(() => {})
  }

  /** Switched on or off, or another place. */
  async #changed(ref: string): Promise<void> {
    const { services, metadata, node } = this.#options
    for (const service of await services.list(metadata.kysely, { projects: [ref], node })) {
      const followed = this.#followed.get(service.id)
      followed?.follower?.close()
      await followed?.done
      this.#followed.delete(service.id)
      if (service.wanted === 'active' && service.observedVersion > 0) await this.#wake(service.id)
    }
  }

  /** It wants no archive any more: its log is not kept for one. */
  async #forget(service: Service): Promise<void> {
    const hold = this.#options.connector().now(service.project, service.name, 'archive')
    try {
      if (hold) await this.#options.engine(service.engine).history?.forget(hold.endpoint, service)
      if (hold) await this.#drop(service.id)
    } finally {
      hold?.release()
    }
  }

  #based(service: Service, base: BaseRecord): void {
    this.#options.log.info({ project: service.project, bytes: base.size, whole: base.parent === null }, 'a base of an archive was taken')
    void this.prune(service.project).catch((error: unknown) =>
      this.#options.log.warn({ err: error, project: service.project }, 'could not thin out an archive'),
    )
  }

  /** All that a service has committed by now is in its archive; what is not, because it sleeps since a crash, is fetched. */
  async catchUp({ id }: Service): Promise<void> {
    const fact = this.#facts.get(id)
    if (!fact || (fact.whole && !this.#followed.get(id)?.follower)) return
    const hold = await this.#options.connector().holdById(id, 'archive')
    try {
      for (let tried = 1; ; tried++) {
        await this.look()
        const follower = await this.#followed.get(id)?.ready.promise.catch((error: unknown) => {
          // The server before this one may not have let go of it yet.
          if (tried >= TRIES || !isSovraError(error, 'archive_follow_failed')) throw error
        })
        if (follower) return await follower.reach()
        await pause(EVERY)
        if (tried >= TRIES) throw fail('archive_follow_failed', { reason: 'nobody follows it' })
      }
    } finally {
      hold.release()
    }
  }

  /** A base now, whenever the last one was; `archive_off`. */
  async takeBase({ id, project }: Service): Promise<void> {
    const hold = await this.#options.connector().holdById(id, 'archive')
    try {
      await this.look()
      const follower = await this.#followed.get(id)?.ready.promise
      if (!follower) throw fail('archive_off', { ref: project })
      await follower.takeBase()
    } finally {
      hold.release()
    }
  }

  /** Removes what is older than the project keeps. */
  async prune(ref: string): Promise<number> {
    const settings = await this.#settingsOf(ref)
    const store = await this.#options.places.archive(ref, settings)
    return await pruneProject(store, ref, this.#now() - settings.keep_days * DAY, !settings.point_in_time)
  }

  /** What people must know. */
  states(): ArchiveState[] {
    const states: ArchiveState[] = []
    for (const [id, fact] of this.#facts) {
      const followed = this.#followed.get(id)
      const follower = followed?.follower ?? null
      states.push({
        ref: fact.ref,
        following: follower !== null,
        unstored_since: follower ? follower.unstoredSince : fact.whole ? null : fact.at,
        last_base_at: follower?.lastBase?.ended_at ?? null,
        failed_at: followed?.failure?.at ?? (fact.reason === null ? null : fact.at),
        reason: followed ? (followed.failure?.reason ?? null) : fact.reason,
      })
    }
    return states
  }

  /** After everything sleeps: what is under way ends by itself, but not for ever. */
  async close(patience: number): Promise<void> {
    this.#closing = true
    if (this.#timer) clearInterval(this.#timer)
    this.#offBus?.()
    await this.#looking
    const all = Promise.allSettled([...this.#followed.values()].map(({ done }) => done))
    let timer: NodeJS.Timeout | undefined
    await Promise.race([
      all,
      new Promise((resolve) => {
        timer = setTimeout(resolve, patience).unref()
      }),
    ])
    clearTimeout(timer)
    for (const { follower } of this.#followed.values()) follower?.close()
    await all
  }
}

export interface ArchiveState {
  readonly ref: string
  readonly following: boolean
  /** When the oldest change came that is not in the archive; null: all is. */
  readonly unstored_since: number | null
  readonly last_base_at: number | null
  readonly failed_at: number | null
  readonly reason: string | null
}
