import type { Handle } from '../../base/handles.ts'
import type { Log } from '../../base/log.ts'
import type { Metrics } from '../../base/metrics.ts'
import type { Hold } from '../../runtime/entry.ts'
import type { Budget } from './budget.ts'

/** What the listener must know of a project; none of it is asked of the cluster. */
export interface WireProject {
  /** Sessions at once. */
  readonly connections: number
  /** An open session keeps the project awake, also when idle. */
  readonly keepIdle: boolean
}

export interface WireLimits {
  /** Connections at once, of all projects. */
  readonly connections: number
  /** Of these, not yet signed in: of all addresses, and of one. */
  readonly pending: number
  readonly pendingPerAddress: number
  /** Sign-ins under way at one cluster: a stranger's must not take all its places. */
  readonly handshakes: number
  /** ms for the start-up packet and the sign-in, without the wake and without waiting in a row. */
  readonly startup: number
  /** ms between probes of a silent peer. */
  readonly keepAlive: number
}

export const WIRE_LIMITS: WireLimits = {
  connections: 2_000,
  pending: 512,
  pendingPerAddress: 128,
  handshakes: 8,
  startup: 10_000,
  keepAlive: 60_000,
}

export interface WireOptions {
  /** With a handle that is what it listens on. */
  readonly listen: { readonly host: string; readonly port: number; readonly handle?: Handle }
  /** PEM texts. */
  readonly tls?: { readonly cert: string; readonly key: string } | null
  /** Null: there is no such project, or it is not to be reached. From a cache: a start-up packet costs its sender nothing. */
  readonly resolve: (ref: string) => Promise<WireProject | null>
  /** `Connector.hold` */
  readonly hold: (ref: string, service: string, reason: string) => Promise<Hold>
  readonly budget: Budget
  readonly limits?: Partial<WireLimits>
  /** Makes the salts shown for unknown projects; the same after a restart, as real ones are. */
  readonly decoySecret?: Buffer
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'counter' | 'gauge'>
  readonly now?: () => number
}

export interface WireListener {
  readonly host: string
  readonly port: number
  /** Open sessions of a project that have signed in. */
  sessions(ref: string): number
  /** The listening socket, for another process. */
  handle(): Handle | null
  /** A renewed certificate, for new connections. Throws `wire_tls_invalid`. */
  useTls(tls: { cert: string; key: string }): void
  /** Refuses new ones, ends idle sessions with a word, waits for running statements up to `grace` ms, then ends those too. */
  close(grace?: number): Promise<void>
}
