/** Counters of a pool, plain numbers so that a request allocates nothing for them; read by whoever exposes metrics. */
export interface PoolMetrics {
  queries: number
  errors: number
  /** Sent again: stale plans, lost connections, reads that were too slow for a shared connection. */
  retried: number
  cancelled: number
  overloaded: number
  parsed: number
  evicted: number
  connected: number
  lost: number
  bytesRead: number
}

export const makeMetrics = (): PoolMetrics => ({
  queries: 0,
  errors: 0,
  retried: 0,
  cancelled: 0,
  overloaded: 0,
  parsed: 0,
  evicted: 0,
  connected: 0,
  lost: 0,
  bytesRead: 0,
})
