import type { Endpoint } from './driver.ts'
import type { Attachment } from './engine.ts'
import type { Service } from './services.ts'

/** Why a run of a service ends. */
export type Ending = 'sleep' | 'crash' | 'deleted' | 'shutdown'

/** A connection that does not keep its service awake by being open (a session of the wire protocol): busy only while it says so. */
export interface Link {
  /** ms since the epoch of the last bytes or statement. */
  lastActivity(): number
  /** True while a statement of its peer runs. */
  busy(): boolean
  /** The service goes to sleep or ended: say so to the peer and close. */
  end(reason: Ending): void
  /** Kept open at any price: the service then does not sleep under it. */
  readonly keepsAwake?: boolean
}

/** A share in an awake service. While held, it does not sleep. */
export interface Hold {
  readonly endpoint: Endpoint
  readonly service: Service
  /** What `Engine.attach` opened for this run. */
  attached<T extends Attachment>(): T
  /** Turns this hold into a link, which alone does not keep the service awake. Answers what to call when the peer is gone. */
  relax(link: Link): () => void
  /** Idempotent. */
  release(): void
}

export type EntryState = 'asleep' | 'waking' | 'awake' | 'sleeping'

/** What this node knows of one service: the state machine asleep → waking → awake → sleeping → asleep lives in connect.ts. */
export interface Entry {
  readonly id: string
  service: Service
  state: EntryState
  endpoint: Endpoint | null
  attachment: Attachment | null
  /** Requests under way, by reason. */
  holds: number
  readonly reasons: Map<string, number>
  readonly links: Set<Link>
  lastUsed: number
  wokenAt: number
  /** The wake or sleep under way: everyone waits on this one promise. */
  turning: Promise<void> | null
  /** What callers are told who wait too long for the end of that; undefined: that it did not start. */
  late: (() => Error) | undefined
  /** Its wake waits for a place among the awake ones of this node. */
  placing: boolean
  /** Ends a wake under way: its process has ended. */
  abort: ((detail: string) => void) | null
  /** Why the last run ended, and which it was: word of its end may come late. */
  ending: Ending
  formerRun: string | null
  /** Statuses are written one after the other, so that the last one seen is the one that stays. */
  reporting: Promise<void>
  /** Grows with failed starts, so that a broken one is not started at every request. */
  failures: number
  failedUntil: number
  failure: unknown
}

export function newEntry(service: Service): Entry {
  return {
    id: service.id,
    service,
    state: 'asleep',
    endpoint: null,
    attachment: null,
    holds: 0,
    reasons: new Map(),
    links: new Set(),
    lastUsed: 0,
    wokenAt: 0,
    turning: null,
    late: undefined,
    placing: false,
    abort: null,
    ending: 'sleep',
    formerRun: null,
    reporting: Promise.resolve(),
    failures: 0,
    failedUntil: 0,
    failure: null,
  }
}

const count = (reasons: Map<string, number>, reason: string, by: number) => {
  const next = (reasons.get(reason) ?? 0) + by
  if (next > 0) reasons.set(reason, next)
  else reasons.delete(reason)
}

/** Takes a share in an entry that is awake. */
export function holdEntry(entry: Entry, reason: string, now: () => number, onFree: () => void): Hold {
  let held = true
  entry.holds++
  count(entry.reasons, reason, 1)
  entry.lastUsed = now()
  const { endpoint, attachment, service } = entry
  const release = () => {
    if (!held) return
    held = false
    entry.holds--
    count(entry.reasons, reason, -1)
    entry.lastUsed = now()
    if (entry.holds === 0) onFree()
  }
  return {
    endpoint: endpoint!,
    service,
    attached: <T extends Attachment>() => attachment as T,
    release,
    relax(link) {
      // Its run has ended meanwhile: nobody would end this link any more.
      if (entry.endpoint !== endpoint) {
        release()
        link.end(entry.ending)
        return () => {}
      }
      entry.links.add(link)
      release()
      return () => {
        entry.links.delete(link)
        if (entry.attachment === attachment) attachment?.left?.()
        if (entry.links.size === 0 && entry.holds === 0) onFree()
      }
    },
  }
}

const some = (links: Set<Link>, is: (link: Link) => boolean): boolean => {
  for (const link of links) if (is(link)) return true
  return false
}

/** A request or statement is under way. */
export const isBusy = (entry: Readonly<Entry>): boolean => entry.holds > 0 || some(entry.links, (link) => link.busy())

/** Busy, or bound to stay awake by a connection that is kept open. */
export const isKept = (entry: Readonly<Entry>): boolean => isBusy(entry) || some(entry.links, (link) => link.keepsAwake === true)

/** ms since the epoch at which anything was last seen on the entry, without asking the engine. */
export function lastSeen(entry: Entry, now: number): number {
  if (entry.holds > 0) return now
  let last = entry.lastUsed
  for (const link of entry.links) {
    if (link.keepsAwake) return now
    last = Math.max(last, link.lastActivity())
  }
  return last
}

/** Why it is awake, for people: `["2 requests (rest)", "1 idle wire connection"]`. */
export function whyAwake(entry: Entry, sleepAfter: number, now: number): string[] {
  if (entry.state !== 'awake') return []
  const why = [...entry.reasons].map(([reason, n]) => `${n} under way (${reason})`)
  if (entry.links.size > 0) why.push(`${entry.links.size} wire connection${entry.links.size > 1 ? 's' : ''}`)
  if (sleepAfter === 0) why.push('sleep is off')
  else if (entry.holds === 0) why.push(`last used ${Math.max(0, Math.round((now - lastSeen(entry, now)) / 1000))} s ago`)
  return why
}
