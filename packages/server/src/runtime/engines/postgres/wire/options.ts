import { makeMetrics, type PoolMetrics } from './metrics.ts'
import type { ShapeLimits } from './shapes.ts'
import type { SignIn } from './sign-in.ts'

/** The limits of a pool, each named. */
export interface PoolLimits extends ShapeLimits {
  /** Connections that many requests share, each with many requests under way. */
  readonly shared: number
  /** Connections that one request at a time has for itself. */
  readonly exclusive: number
  /** Requests under way on one shared connection, at most. */
  readonly outstanding: number
  /** A further shared connection is opened when the least busy one has this many under way. */
  readonly growAt: number
  /** Requests that wait for a connection, at most. */
  readonly waiting: number
  /** ms that a request waits for a connection of its own. */
  readonly waitTimeout: number
  /** Prepared statements of one connection. */
  readonly statements: number
  /** ms until a statement on a shared connection gives way and is run again on one of its own. */
  readonly quickTimeout: number
  /** ms until a statement is ended, where its request says nothing else. */
  readonly timeout: number
  /** ms until a transaction that waits for its caller is ended. */
  readonly idleInTransaction: number
  /** ms until an unused connection is closed (one shared one is kept). */
  readonly idleTimeout: number
  /** Largest result in bytes of a request that is not streamed. */
  readonly maxBytes: number
}

export const DEFAULT_LIMITS: PoolLimits = {
  shared: 2,
  exclusive: 16,
  outstanding: 1_024,
  growAt: 4,
  waiting: 1_000,
  waitTimeout: 10_000,
  statements: 200,
  quickTimeout: 250,
  timeout: 30_000,
  idleInTransaction: 30_000,
  idleTimeout: 30_000,
  maxBytes: 64 * 1024 * 1024,
  slowAfter: 50,
  largeAfter: 256 * 1024,
  slowShare: 0.1,
  slowFor: 60_000,
  trustAfter: 3,
  remembered: 2_000,
}

export interface PoolOptions extends Omit<SignIn, 'connectTimeout'> {
  readonly connectTimeout?: number
  /** Search path of the sessions; an identity with the same one costs nothing more. Unquoted, as in `public, extensions`. */
  readonly searchPath: string
  /** Settings of the sessions beside ours. */
  readonly settings?: Readonly<Record<string, string>>
  readonly limits?: Partial<PoolLimits>
  readonly metrics?: PoolMetrics
  /** Clock in ms, monotonic. */
  readonly now?: () => number
}

export interface Setup {
  readonly at: SignIn
  readonly limits: PoolLimits
  readonly metrics: PoolMetrics
  readonly now: () => number
  readonly sharedSettings: Readonly<Record<string, string>>
  readonly exclusiveSettings: Readonly<Record<string, string>>
}

const CONNECT_TIMEOUT = 5_000

/** Completes what the caller left open. Shared sessions can only read, and end what is not quick: that holds without a word per request. */
export function setUp(options: PoolOptions): Setup {
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const both = { TimeZone: 'UTC', search_path: options.searchPath, ...options.settings }
  return {
    at: { ...options, connectTimeout: options.connectTimeout ?? CONNECT_TIMEOUT },
    limits,
    metrics: options.metrics ?? makeMetrics(),
    now: options.now ?? (() => performance.now()),
    sharedSettings: { ...both, default_transaction_read_only: 'on', statement_timeout: String(limits.quickTimeout) },
    exclusiveSettings: {
      ...both,
      statement_timeout: String(limits.timeout),
      idle_in_transaction_session_timeout: String(limits.idleInTransaction),
    },
  }
}
