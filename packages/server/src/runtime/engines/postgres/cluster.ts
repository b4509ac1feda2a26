import type pg from 'pg'
import type { Log } from '../../../base/log.ts'
import type { Endpoint } from '../../driver.ts'
import type { Attachment } from '../../engine.ts'
import type { Service } from '../../services.ts'
import { type Admin, makeAdmin, newClient } from './admin.ts'
import { asRole, type Identity } from './as-role.ts'
import { type CatalogueHolder, holdCatalogue } from './catalogue/holder.ts'
import type { Catalogue } from './catalogue/types.ts'
import { GATEWAY_SETTINGS, secretOf } from './connections.ts'
import { ADMIN, DATABASE, GATEWAY } from './names.ts'
import type { PreparedCluster } from './prepare.ts'
import { fullSpec, type PostgresSpec } from './spec.ts'
import { letSessionsTell, logStatements, logsStatements } from './statements.ts'
import { makeWatchdog } from './watchdog.ts'
import type { PoolLimits } from './wire/options.ts'
import { PipelinePool } from './wire/pool.ts'

/** Search path of the gateway's sessions: what most requests want, so that it costs them nothing. */
export const GATEWAY_SEARCH_PATH = 'public, extensions'
const WARMING: Identity = { role: 'anon', claimsJson: '{}', searchPath: GATEWAY_SEARCH_PATH }
const ADMIN_IDLE_MS = 15_000
/** A backend that has read a catalogue holds some 8 MiB: it ends soon after. */
const READER_IDLE_MS = 2_000
/** The same of one that has looked at sessions and roles; while somebody is at work it looks each two seconds. */
const WATCHER_IDLE_MS = 5_000
/** ms until a pool that was replaced takes nothing more: whoever has it in hand has begun by then. */
const RENEW_MS = 1_000

/** A project's cluster while it is awake: what `attached<Cluster>()` gives. */
export interface Cluster extends Attachment {
  readonly pool: PipelinePool
  readonly catalogue: CatalogueHolder
  readonly spec: PostgresSpec
  /** Over its disk quota: the APIs refuse writes but DELETE with `disk_quota_exceeded`. */
  readonly full: boolean
  /**
   * Runs `fn` on a connection of our superuser, one caller at a time. Only for the catalogue and `sovrabase.*`: see `adminConnection`.
   * An open transaction at its end is rolled back.
   */
  admin<R>(fn: (client: pg.Client) => Promise<R>): Promise<R>
}

export interface ClusterOptions {
  readonly at: Endpoint
  readonly service: Service<Partial<PostgresSpec>>
  /** Our superuser's connection of this wake: it has looked at much, and reads the catalogue before it ends. */
  readonly client: pg.Client
  readonly seen: PreparedCluster
  readonly log: Log
  readonly pool: PipelinePool
  /** Another one in its place. */
  readonly renew: () => PipelinePool
  /** As it was when the cluster last ran on this node. */
  readonly catalogue?: Catalogue
  /** Given the text of each catalogue that is read. */
  readonly onCatalogue?: (catalogue: Catalogue, text: string) => void
}

/** The pool of the data path. Its first connection signs in at once, so that the request that woke the project finds it. */
export function openPool(at: Endpoint, service: Service<Partial<PostgresSpec>>, limits: Partial<PoolLimits> = {}): PipelinePool {
  const { statement_timeout } = fullSpec(service.spec)
  const pool = new PipelinePool({
    host: at.host,
    port: at.port,
    user: GATEWAY,
    password: secretOf(service, GATEWAY),
    database: DATABASE,
    searchPath: GATEWAY_SEARCH_PATH,
    settings: GATEWAY_SETTINGS,
    limits: { ...(statement_timeout > 0 ? { timeout: statement_timeout } : {}), ...limits },
  })
  asRole(pool, WARMING, { sql: 'select 1', params: [] }, { quick: true }).catch(() => undefined)
  return pool
}

/** Opens what the server holds of a running cluster beside its pool: the catalogue, the watchdog. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { at, service, seen, log } = options
  const pools = holdPool(options.pool, options.renew)
  const spec = fullSpec(service.spec)
  const password = secretOf(service, ADMIN)
  const watcher = makeAdmin(at, password, WATCHER_IDLE_MS)
  const { catalogue, close } = await openCatalogue(options, password, watcher)
  // Plans are made anew by PostgreSQL itself; this frees what names things that may be gone, and forgets which texts were slow.
  catalogue.onChange(() => pools.current.invalidate())
  const admin = makeAdmin(at, password, ADMIN_IDLE_MS)
  // What a switch of an earlier run still asks for; one that cannot be set is no reason not to serve.
  if (logsStatements(service))
    await watcher
      .run((on) => logStatements(on, true))
      .catch((error: unknown) => log.warn({ err: error, service: service.id }, 'statements are not logged'))
  const watchdog = makeWatchdog({ service, spec, watcher, catalogue, log })

  return {
    get pool() {
      return pools.current
    },
    catalogue,
    spec,
    get full() {
      return watchdog.full
    },
    admin: admin.run,
    engineVersion: seen.engineVersion,
    systemVersion: seen.systemVersion,
    ...(seen.degraded ? { degraded: seen.degraded } : {}),
    lastActivity: watchdog.lastActivity,
    enforce: watchdog.enforce,
    left: watchdog.left,
    async logStatements(on) {
      await watcher.run(async (admin) => {
        await admin.query(letSessionsTell(on))
        await logStatements(admin, on)
      })
      // Sessions of the gateway that are open say nothing: others take their place.
      pools.replace()
    },
    async close() {
      catalogue.close()
      await Promise.allSettled([pools.close(), admin.close(), close()])
    },
  }
}

/** The pool in use, and those before it until whoever has them in hand is done. */
function holdPool(first: PipelinePool, renew: () => PipelinePool) {
  const former: PipelinePool[] = []
  let current = first
  return {
    get current() {
      return current
    },
    replace(): void {
      const last = current
      former.push(last)
      current = renew()
      setTimeout(() => void last.close(), RENEW_MS).unref()
    },
    close: () => Promise.allSettled([current, ...former].map((one) => one.close())),
  }
}

/** The catalogue, with the connection that listens for its changes and the one that reads it. `close` ends these and `watcher`, after `catalogue.close()`. */
async function openCatalogue(options: ClusterOptions, password: string, watcher: Admin) {
  const { at, service, log } = options
  // Another that does nothing but LISTEN, for as long as the cluster runs: what a backend has asked once it keeps, some 3 MiB of catalogue.
  const client = newClient(at, password)
  const connected = client.connect()
  connected.catch(() => undefined)
  const reader = makeAdmin(at, password, READER_IDLE_MS, options.client)
  const catalogue = await holdCatalogue(client, {
    ...(options.catalogue ? { known: options.catalogue } : {}),
    ...(options.onCatalogue ? { onText: options.onCatalogue } : {}),
    connected,
    reader: reader.run,
    looker: watcher.run,
    onError: (error) => log.warn({ err: error, service: service.id }, 'could not read the catalogue'),
  }).catch(async (error: unknown) => {
    await Promise.allSettled([reader.close(), watcher.close(), connected.then(() => client.end())])
    throw error
  })
  async function close(): Promise<void> {
    await Promise.allSettled([reader.close(), watcher.close()])
    await client.end().catch(() => undefined)
  }
  return { catalogue, close }
}
