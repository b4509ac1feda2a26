import { setTimeout as pause } from 'node:timers/promises'
import { fail, isSovraError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { ObjectStore } from '../../base/objects/store.ts'
import type { Hold } from '../entry.ts'
import type { Following, History, Position } from '../history.ts'
import type { Service } from '../services.ts'
import { type BaseRecord, basesOf, positionOf } from './layout.ts'
import { LogWriter } from './log-writer.ts'
import { takeBase } from './take-base.ts'

/** What holds for one project. */
export interface ArchiveRules {
  /** ms from a commit until it must be in the archive. */
  readonly within: number
  /** ms between two bases. */
  readonly baseEvery: number
}

export interface FollowerOptions {
  readonly service: Service
  readonly history: History
  /** The lineage that was followed last; null: none was. */
  readonly last: () => Promise<string | null>
  /** The name of a new one. */
  readonly fresh: () => string
  readonly open: (lineage: string) => ObjectStore
  readonly rules: () => ArchiveRules
  /** A share in the running service, null where it does not run. */
  readonly hold: () => Hold | null
  /** One base at a time on this node. */
  readonly inTurn: <R>(work: () => Promise<R>) => Promise<R>
  /** Whether bases of what changed since can be put together here. */
  readonly incremental: boolean
  /** Wholes are taken after so many of changes. */
  readonly chain: number
  readonly stored: (bytes: number) => void
  readonly based: (base: BaseRecord) => void
  readonly log: Log
  readonly now: () => number
}

/** Log since the last base that is worth a new one. */
const WORTH = 1n << 20n
/** ms between two looks whether the log has come. */
const LOOK = 20

/** Follows one run of a service into its archive, and takes its bases. Ends with the run, or rejects: what is not confirmed is kept and comes again. */
export class Follower {
  readonly #options: FollowerOptions
  #writer: LogWriter | null = null
  #following: Following | null = null
  #position: Position = 0n
  #bases: BaseRecord[] = []
  #lineage = ''
  #basing: Promise<void> | null = null
  #baseFailedAt: number | null = null
  #failure = Promise.withResolvers<never>()
  readonly #begun = Promise.withResolvers<void>()
  /** Resolves when the log is on its way. */
  readonly begun = this.#begun.promise
  /** ms since when everything before was in the archive; null: all is. */
  get unstoredSince(): number | null {
    return this.#writer?.unstoredSince ?? null
  }
  get lastBase(): BaseRecord | null {
    return this.#bases.at(-1) ?? null
  }

  constructor(options: FollowerOptions) {
    this.#options = options
    this.#failure.promise.catch(() => {})
    this.begun.catch(() => {})
  }

  /** Until the run has ended and all of it is in the archive. */
  async run(): Promise<void> {
    try {
      await this.#follow()
      this.#begun.resolve()
    } catch (error) {
      this.#begun.reject(error)
      this.close()
      throw error
    }
    try {
      await Promise.race([this.#following?.ended, this.#failure.promise])
      await this.#basing
    } finally {
      this.close()
    }
  }

  async #follow(): Promise<void> {
    const { last, fresh, open, log, service } = this.#options
    const known = await last()
    this.#lineage = known ?? fresh()
    this.#bases = known === null ? [] : await basesOf(open(known))
    try {
      return await this.#begin(this.#bases.length === 0)
    } catch (error) {
      if (!isSovraError(error, 'history_lost')) throw error
      log.warn({ project: service.project, err: error }, 'the archive begins anew: its log has a gap')
    }
    // Never within the former: after a gap it may be another history altogether.
    this.#lineage = fresh()
    this.#bases = []
    await this.#begin(true)
  }

  async #begin(fresh: boolean): Promise<void> {
    const { service, history, open, rules, hold, now } = this.#options
    const share = hold()
    if (!share) throw fail('archive_follow_failed', { reason: 'it sleeps' })
    let writer: LogWriter | null = null
    const early: [Position, Buffer][] = []
    try {
      const following = await history.follow(share.endpoint, service, {
        fresh,
        write: (at, bytes) => (writer ? writer.write(at, bytes) : early.push([at, bytes]) > 0),
        asked: () => void this.#asked(),
      })
      this.#following = following
      this.#position = following.from
      writer = new LogWriter({
        store: open(this.#lineage),
        timeline: following.timeline,
        // Half of the time is for the way into the store.
        after: () => rules().within / 2,
        stored: (end, bytes) => this.#stored(end, bytes),
        failed: (error) => this.#failure.reject(error),
        now,
      })
      this.#writer = writer
      for (const [at, bytes] of early) writer.write(at, bytes)
    } finally {
      share.release()
    }
    this.look()
  }

  async #asked(): Promise<void> {
    const before = this.#position
    await this.#writer?.flush()
    // What was stored is confirmed already: a second word could meet an end that has gone, and cost us its last one.
    if (this.#position === before && this.#writer?.unstoredSince === null) this.#following?.confirm(before)
  }

  #stored(end: Position, bytes: number): void {
    this.#position = end
    this.#following?.confirm(end)
    this.#following?.resume()
    this.#options.stored(bytes)
  }

  /** Until all that is committed by now is in the archive. */
  async reach(): Promise<void> {
    const { hold, history, service } = this.#options
    const share = hold()
    if (!share) return
    try {
      const wanted = await history.position(share.endpoint, service)
      while (this.#position < wanted && this.#writer) {
        await this.#writer.flush()
        if (this.#position < wanted) await Promise.race([pause(LOOK), this.#failure.promise])
      }
    } finally {
      share.release()
    }
  }

  /** Takes a base where one is due. Called every now and then. */
  look(): void {
    if (this.#basing || !this.#following || !this.#isDue()) return
    void this.#under(this.#base())
  }

  /** One now; rejects where it fails. */
  async takeBase(): Promise<void> {
    while (this.#basing) await this.#basing
    const base = this.#base()
    void this.#under(base)
    await base
  }

  #under(base: Promise<void>): Promise<void> {
    this.#basing = base
      .catch((error: unknown) => {
        this.#baseFailedAt = this.#options.now()
        // Without any there is no archive; a further one may be late.
        if (this.#bases.length === 0) this.#failure.reject(error)
        else this.#options.log.error({ project: this.#options.service.project, err: error }, 'a base of an archive failed')
      })
      .finally(() => {
        this.#basing = null
      })
    return this.#basing
  }

  #isDue(): boolean {
    const { rules, now } = this.#options
    const last = this.lastBase
    if (!last) return true
    const { baseEvery } = rules()
    if (this.#baseFailedAt !== null && now() - this.#baseFailedAt < baseEvery / 24) return false
    return now() - last.began_at >= baseEvery && this.#position - positionOf(last.stop) >= WORTH
  }

  #parent(): BaseRecord | null {
    const { incremental, chain } = this.#options
    const last = this.lastBase
    if (!incremental || !last?.manifest) return null
    let length = 0
    for (let base: BaseRecord | undefined = last; base?.parent; base = this.#bases.find(({ id }) => id === base?.parent)) length++
    return length < chain ? last : null
  }

  async #base(): Promise<void> {
    const { service, history, open, hold, inTurn, incremental, based, now } = this.#options
    await inTurn(async () => {
      const share = hold()
      if (!share) return
      try {
        const common = {
          lineage: this.#lineage,
          store: open(this.#lineage),
          history,
          endpoint: share.endpoint,
          service,
          manifest: incremental,
          now,
        }
        const parent = this.#parent()
        const base = await takeBase({ ...common, parent }).catch((error: unknown) => {
          // Its summaries of changes may be gone: then it is a whole one.
          if (!parent) throw error
          this.#options.log.warn({ err: error, project: service.project }, 'a base of changes was not to be had: a whole one is taken')
          return takeBase({ ...common, parent: null })
        })
        // What it needs to be whole is in the store before it counts for anybody.
        await this.#writer?.flush()
        this.#bases.push(base)
        based(base)
      } finally {
        share.release()
      }
    })
  }

  close(): void {
    this.#writer?.close()
    this.#following?.close()
  }
}
