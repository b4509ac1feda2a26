/** Token buckets by key (an address, a project): `amount` in each `window`, all at once or spread. */
export interface RateOptions {
  readonly amount: number
  /** ms */
  readonly window: number
  /** How many may be taken at once; default: `amount`. */
  readonly burst?: number
  /** Keys remembered at a time. */
  readonly maxKeys?: number
  readonly now?: () => number
}

export interface Taken {
  readonly ok: boolean
  /** Whole seconds until the same take succeeds (for Retry-After); 0 when ok. */
  readonly retryAfter: number
  readonly remaining: number
}

export interface Rate {
  /** Takes if there is enough. */
  take(key: string, n?: number): Taken
  /** As take(), taking nothing: for budgets that only failures use up. */
  check(key: string, n?: number): Taken
  /** A full bucket again (after a success, by an operator). */
  forget(key: string): void
  readonly size: number
}

interface Bucket {
  tokens: number
  at: number
}

const DEFAULT_MAX_KEYS = 10_000
const SWEEP = 8

/**
 * Bounded memory: only buckets that have filled up again are forgotten, so a flood of new keys gives nobody a fresh bucket; while none
 * can be forgotten, new keys share one.
 */
export function makeRate(options: RateOptions): Rate {
  const { amount, window, burst = amount, maxKeys = DEFAULT_MAX_KEYS, now = Date.now } = options
  const perMs = amount / window
  // In the order of last use: Map keeps insertion order.
  const buckets = new Map<string, Bucket>()
  const shared: Bucket = { tokens: burst, at: now() }

  function refill(bucket: Bucket, at: number): Bucket {
    bucket.tokens = Math.min(burst, bucket.tokens + Math.max(0, at - bucket.at) * perMs)
    bucket.at = at
    return bucket
  }

  function makeRoom(at: number): boolean {
    let looked = 0
    for (const [key, bucket] of buckets) {
      if (refill(bucket, at).tokens >= burst) buckets.delete(key)
      if (++looked === SWEEP) break
    }
    return buckets.size < maxKeys
  }

  function bucketOf(key: string, at: number): Bucket {
    const bucket = buckets.get(key)
    if (bucket) {
      buckets.delete(key)
      buckets.set(key, bucket)
      return refill(bucket, at)
    }
    if (buckets.size >= maxKeys && !makeRoom(at)) return refill(shared, at)
    const fresh = { tokens: burst, at }
    buckets.set(key, fresh)
    return fresh
  }

  const answer = (bucket: Bucket, n: number): Taken =>
    bucket.tokens >= n
      ? { ok: true, retryAfter: 0, remaining: Math.floor(bucket.tokens) }
      : { ok: false, retryAfter: Math.max(1, Math.ceil((n - bucket.tokens) / perMs / 1000)), remaining: Math.floor(bucket.tokens) }

  return {
    take(key, n = 1) {
      const bucket = bucketOf(key, now())
      if (bucket.tokens < n) return answer(bucket, n)
      bucket.tokens -= n
      return { ok: true, retryAfter: 0, remaining: Math.floor(bucket.tokens) }
    },
    check(key, n = 1) {
      const at = now()
      const bucket = buckets.get(key)
      if (bucket) return answer(refill(bucket, at), n)
      if (buckets.size >= maxKeys && !makeRoom(at)) return answer(refill(shared, at), n)
      return answer({ tokens: burst, at }, n)
    },
    forget: (key) => void buckets.delete(key),
    get size() {
      return buckets.size
    },
  }
}
