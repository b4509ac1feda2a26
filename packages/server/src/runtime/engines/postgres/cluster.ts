import type pg from 'pg'
import type { Log } from '../../../base/log.ts'
import type { Endpoint } from '../../driver.ts'
import type { Attachment } from '../../engine.ts'
import type { Service } from '../../services.ts'
import { makeAdmin, newClient } from './admin.ts'
import { asRole, type Identity } from './as-role.ts'
import { type CatalogueHolder, holdCatalogue } from './catalogue/holder.ts'
import type { Catalogue } from './catalogue/types.ts'
import { GATEWAY_SETTINGS, secretOf } from './connections.ts'
import { EMPTY_QUOTA, NO_LIMITS, nextQuota, type QuotaState, setReadOnly, watchSessions } from './limits.ts'
import { ADMIN, DATABASE, GATEWAY } from './names.ts'
import type { PreparedCluster } from './prepare.ts'
import { mendRoles } from './roles.ts'
import { fullSpec, type PostgresSpec } from './spec.ts'
import { letSessionsTell, logStatements, logsStatements } from './statements.ts'
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
/** Our roles are looked at in each so many rounds of `enforce`. */
const MEND_ROUNDS = 10

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
  let { pool } = options
  const former: PipelinePool[] = []
  const spec = fullSpec(service.spec)
  const password = secretOf(service, ADMIN)
  // Another that does nothing but LISTEN, for as long as the cluster runs: what a backend has asked once it keeps, some 3 MiB of catalogue.
  const client = newClient(at, password)
  const connected = client.connect()
  connected.catch(() => undefined)
  const reader = makeAdmin(at, password, READER_IDLE_MS, options.client)
  const watcher = makeAdmin(at, password, WATCHER_IDLE_MS)
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
  // Plans are made anew by PostgreSQL itself; this frees what names things that may be gone, and forgets which texts were slow.
  catalogue.onChange(() => pool.invalidate())
  const admin = makeAdmin(at, password, ADMIN_IDLE_MS)
  // What a switch of an earlier run still asks for; one that cannot be set is no reason not to serve.
  if (logsStatements(service))
    await watcher
      .run((on) => logStatements(on, true))
      .catch((error: unknown) => log.warn({ err: error, service: service.id }, 'statements are not logged'))
  let quota: QuotaState = EMPTY_QUOTA
  let round = 0

  async function measure(disk: number | undefined): Promise<void> {
    if (disk === undefined) return
    const next = nextQuota(quota, disk, spec.disk)
    if (next.full !== quota.full) await watcher.run((on) => setReadOnly(on, next.full))
    quota = next
  }

  const look = () =>
    catalogue.look().catch((error: unknown) => log.warn({ err: error, service: service.id }, 'could not look at what roles have set'))

  return {
    get pool() {
      return pool
    },
    catalogue,
    spec,
    get full() {
      return quota.full
    },
    admin: admin.run,
    engineVersion: seen.engineVersion,
    systemVersion: seen.systemVersion,
    ...(seen.degraded ? { degraded: seen.degraded } : {}),
    lastActivity: async () => (await watcher.run((on) => watchSessions(on, NO_LIMITS))).lastActivity,
    async enforce({ disk, quiet = false }) {
      await measure(disk)
      if (quiet && !quota.endWriters) return
      const limits = {
        statement: spec.wire_statement_timeout,
        idleTransaction: spec.wire_idle_transaction_timeout,
        endWriters: quota.endWriters,
      }
      const { ended } = await watcher.run((on) => watchSessions(on, limits))
      quota = { ...quota, endWriters: false }
      await look()
      if (++round % MEND_ROUNDS === 0 && (await watcher.run((on) => mendRoles(on, secretOf(service, GATEWAY)))))
        log.info({ project: service.project }, 'made the roles of the gateway anew')
      if (ended > 0) log.info({ project: service.project, sessions: ended }, 'ended what ran over its limit')
    },
    left: () => void look(),
    async logStatements(on) {
      await watcher.run(async (admin) => {
        await admin.query(letSessionsTell(on))
        await logStatements(admin, on)
      })
      // Sessions of the gateway that are open say nothing: others take their place.
      former.push(pool)
      const last = pool
      pool = options.renew()
      setTimeout(() => void last.close(), RENEW_MS).unref()
    },
    async close() {
      catalogue.close()
      await Promise.allSettled([pool.close(), ...former.map((one) => one.close()), admin.close(), reader.close(), watcher.close()])
      await client.end().catch(() => undefined)
    },
  }
}
