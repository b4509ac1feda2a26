import { LRUCache } from 'lru-cache'

/** By size, which grows with what is kept; `max` alone takes room for all of it at once. */
const lru = <V extends object>(max: number, weigh: (value: V) => number = () => 1) =>
  new LRUCache<string, V>({ maxSize: max, sizeCalculation: weigh })

/** Callers that ask for the same key while its work is under way share that one run; its end (good or bad) is forgotten. */
export function singleFlight<V>(run: (key: string) => Promise<V>): (key: string) => Promise<V> {
  const flights = new Map<string, Promise<V>>()
  return (key) => {
    const before = flights.get(key)
    if (before) return before
    const flight = run(key).finally(() => flights.delete(key))
    flights.set(key, flight)
    return flight
  }
}

export interface LoadingCacheOptions<V> {
  /** Entries; the least recently used goes first. */
  readonly max: number
  /** ms that an entry is believed; without: until dropped. */
  readonly ttl?: number
  /** ms that "there is none" is believed; without: not kept. */
  readonly missTtl?: number
  readonly load: (key: string) => Promise<V | undefined>
  readonly now?: () => number
}

export interface LoadingCache<V> {
  /** At once when known, else a promise shared by all who ask meanwhile. */
  get(key: string): V | undefined | Promise<V | undefined>
  /** What is known now, without loading. */
  peek(key: string): V | undefined
  /** Forgets; a load that is under way answers those who wait for it, but is not kept. */
  drop(key: string): void
  clear(): void
  readonly size: number
}

interface Entry<V> {
  readonly value: V | undefined
  readonly until: number
}

/** A bounded cache that loads what it lacks. */
export function loadingCache<V extends object | string | number | boolean>(options: LoadingCacheOptions<V>): LoadingCache<V> {
  const { load, ttl = Number.POSITIVE_INFINITY, missTtl = 0, now = Date.now } = options
  const entries = lru<Entry<V>>(options.max)
  const flights = new Map<string, Promise<V | undefined>>()

  function fetch(key: string): Promise<V | undefined> {
    const flight = load(key)
      .then((value) => {
        const kept = value === undefined ? missTtl : ttl
        // Dropped meanwhile: what was read may be older than what dropped it.
        if (flights.get(key) === flight && kept > 0) entries.set(key, { value, until: now() + kept })
        return value
      })
      .finally(() => {
        if (flights.get(key) === flight) flights.delete(key)
      })
    flights.set(key, flight)
    return flight
  }

  function fresh(key: string): Entry<V> | undefined {
    const entry = entries.get(key)
    if (entry && entry.until > now()) return entry
    if (entry) entries.delete(key)
    return undefined
  }

  return {
    get(key) {
      const entry = fresh(key)
      return entry ? entry.value : (flights.get(key) ?? fetch(key))
    },
    peek: (key) => fresh(key)?.value,
    drop(key) {
      entries.delete(key)
      flights.delete(key)
    },
    clear() {
      entries.clear()
      flights.clear()
    },
    get size() {
      return entries.size
    },
  }
}

/** A small map of what is used again and again: cheap at each use, it forgets by halves, all that was not asked for meanwhile. */
export interface RecentMap<V> {
  get(key: string): V | undefined
  set(key: string, value: V): void
}

/** Holds between `size` and twice as many entries. */
export function recentMap<V>(size: number): RecentMap<V> {
  let young = new Map<string, V>()
  let old = new Map<string, V>()
  function set(key: string, value: V): void {
    if (young.size >= size) {
      old = young
      young = new Map()
    }
    young.set(key, value)
  }
  return {
    get(key) {
      const value = young.get(key)
      if (value !== undefined) return value
      const before = old.get(key)
      if (before !== undefined) set(key, before)
      return before
    },
    set,
  }
}

/**
 * A bounded map whose entries end at a time of their own (a token's `exp`). `until` in ms since the epoch;
 * `weigh`: how many of `max` an entry counts for, 1 at least.
 */
export interface ExpiringMap<V> {
  get(key: string): V | undefined
  set(key: string, value: V, until: number): void
  delete(key: string): void
  clear(): void
  readonly size: number
}

export function expiringMap<V>(max: number, now: () => number = Date.now, weigh: (value: V) => number = () => 1): ExpiringMap<V> {
  const entries = lru<{ readonly value: V; readonly until: number }>(max, ({ value }) => weigh(value))
  return {
    get(key) {
      const entry = entries.get(key)
      if (!entry) return undefined
      if (entry.until > now()) return entry.value
      entries.delete(key)
      return undefined
    },
    set: (key, value, until) => void entries.set(key, { value, until }),
    delete: (key) => void entries.delete(key),
    clear: () => entries.clear(),
    get size() {
      return entries.size
    },
  }
}
