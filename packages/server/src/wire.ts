import { createHash } from 'node:crypto'
import { Budget } from './apis/wire/budget.ts'
import { wireApi } from './apis/wire/listener.ts'
import type { WireListener } from './apis/wire/options.ts'
import { choosePort } from './apis/wire/port.ts'
import { type Handles, handleName } from './base/handles.ts'
import type { Log } from './base/log.ts'
import type { Metrics } from './base/metrics.ts'
import { readTls, watchTls } from './base/tls.ts'
import type { Config } from './config.ts'
import type { Foundation } from './foundation.ts'
import type { Resolver } from './gateway/resolve.ts'
import { getFact, setFact } from './metadata/facts.ts'
import type { Connector } from './runtime/connect.ts'
import { fullSpec } from './runtime/engines/postgres/spec.ts'
import type { ServiceStore } from './runtime/services.ts'

const PORT = 'wire.port'
/** ms that a project's limits are believed. */
const BELIEVED = 5_000
const HOUR = 3_600_000

export interface WireParts {
  readonly config: Config
  readonly foundation: Foundation
  readonly connector: Connector
  readonly services: ServiceStore
  readonly projects: Resolver
  readonly metrics: Metrics
  readonly log: Log
  readonly inherited: Handles
}

/** What the listener must know of a project, from the gateway's cache and the service's spec. */
function projectsOf({ projects, services, foundation }: WireParts) {
  const known = new Map<string, { at: number; connections: number; keepIdle: boolean }>()
  return async (ref: string) => {
    if (!(await projects.get(ref))) return null
    const now = Date.now()
    const remembered = known.get(ref)
    if (remembered && now - remembered.at < BELIEVED) return remembered
    const service = await services.byName(foundation.metadata.kysely, ref, 'db')
    if (!service) return null
    const spec = fullSpec(service.spec as Parameters<typeof fullSpec>[0])
    const fresh = { at: now, connections: spec.connections, keepIdle: spec.keep_idle_connections }
    if (known.size > 10_000) known.clear()
    known.set(ref, fresh)
    return fresh
  }
}

/** The listener of PostgreSQL's own protocol. Its port is chosen once, recorded, and never changed by itself: connection strings name it. */
export async function startWire(parts: WireParts): Promise<WireListener> {
  const { config, foundation, connector, metrics, log, inherited } = parts
  const { metadata, secrets } = foundation
  const { host } = config.wire
  const configured = config.wire.port === 'auto' ? null : config.wire.port
  const fact = `${PORT}.${foundation.nodeName}`
  const recorded = (await getFact<number>(metadata.kysely, fact)) ?? null
  const former = inherited.take(handleName('wire', host, config.wire.port))
  const port = 'handle' in former ? 0 : await choosePort({ host, configured, recorded })
  const listener = await wireApi({
    listen: { host, port, ...former },
    tls: readTls(config.wire.tls),
    resolve: projectsOf(parts),
    hold: (ref, service, reason) => connector.hold(ref, service, reason),
    // Monotonic: a clock that is put back locks nobody out.
    budget: new Budget({ limit: config.limits.rates.failed_wire_sign_ins, window: HOUR, now: () => performance.now() }),
    limits: { connections: config.limits.wire.connections, startup: config.limits.wire.startup },
    decoySecret: createHash('sha256').update(`wire decoy ${secrets.jwtSecret}`).digest(),
    log,
    metrics,
  })
  if (configured === null && recorded === null) await metadata.transaction((trx) => setFact(trx, fact, listener.port))
  const unwatch = watchTls(config.wire.tls, (pair) => listener.useTls(pair), log)
  return {
    host: listener.host,
    port: listener.port,
    sessions: (ref) => listener.sessions(ref),
    useTls: (pair) => listener.useTls(pair),
    handle: () => listener.handle(),
    close(grace) {
      unwatch()
      return listener.close(grace)
    },
  }
}

/** Host that people write into a connection string. */
export function wireHost(config: Config, publicUrl: string): string {
  const { host } = config.wire
  return host === '0.0.0.0' || host === '::' ? new URL(publicUrl).hostname : host
}
