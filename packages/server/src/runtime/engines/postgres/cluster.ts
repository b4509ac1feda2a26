import pg from 'pg'
import { fail } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import type { Endpoint } from '../../driver.ts'
import type { Attachment } from '../../engine.ts'
import type { Service } from '../../services.ts'
import { asRole, type Identity } from './as-role.ts'
import { type CatalogueHolder, holdCatalogue } from './catalogue/holder.ts'
import type { Catalogue } from './catalogue/types.ts'
import { adminConnection, GATEWAY_SETTINGS, secretOf } from './connections.ts'
import { EMPTY_QUOTA, NO_LIMITS, nextQuota, type QuotaState, setReadOnly, watchSessions } from './limits.ts'
import { ADMIN, DATABASE, GATEWAY } from './names.ts'
import type { PreparedCluster } from './prepare.ts'
import { mendRoles } from './roles.ts'
import { fullSpec, type PostgresSpec } from './spec.ts'
import type { PoolLimits } from './wire/options.ts'
import { PipelinePool } from './wire/pool.ts'

/** Search path of the gateway's sessions: what most requests want, so that it costs them nothing. */
export const GATEWAY_SEARCH_PATH = 'public, extensions'
const WARMING: Identity = { role: 'anon', claimsJson: '{}', searchPath: GATEWAY_SEARCH_PATH }
const ADMIN_IDLE_MS = 15_000
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
  /** Our superuser's connection of this wake, kept for LISTEN, the catalogue and the watchdog. */
  readonly client: pg.Client
  readonly seen: PreparedCluster
  readonly log: Log
  readonly poolLimits?: Partial<PoolLimits>
  /** As it was when the cluster last ran on this node. */
  readonly catalogue?: Catalogue
}

/** A second connection of our superuser, opened when wanted and closed soon after. */
function makeAdmin(at: Endpoint, password: string) {
  let open: pg.Client | null = null
  let timer: NodeJS.Timeout | null = null
  let queue: Promise<unknown> = Promise.resolve()
  let closed = false

  const close = async () => {
    const client = open
    open = null
    if (timer) clearTimeout(timer)
    timer = null
    await client?.end().catch(() => undefined)
  }
  async function connect(): Promise<pg.Client> {
    if (closed) throw fail('connection_lost', { reason: 'the cluster goes to sleep' })
    if (open) return open
    const client = new pg.Client(adminConnection(at, password))
    client.on('error', () => undefined)
    client.once('end', () => {
      if (open === client) open = null
    })
    await client.connect()
    open = client
    return client
  }
  async function run<R>(fn: (client: pg.Client) => Promise<R>): Promise<R> {
    if (timer) clearTimeout(timer)
    const client = await connect()
    try {
      return await fn(client)
    } finally {
      await client.query('rollback').catch(() => close())
      timer = setTimeout(() => void close(), ADMIN_IDLE_MS)
      timer.unref()
    }
  }
  return {
    run<R>(fn: (client: pg.Client) => Promise<R>): Promise<R> {
      const result = queue.then(() => run(fn))
      queue = result.catch(() => undefined)
      return result
    },
    async close() {
      await queue
      closed = true
      await close()
    },
  }
}

/** Opens what the server holds of a running cluster: the pool of the data path, the catalogue, the watchdog. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { at, service, client, seen, log } = options
  const spec = fullSpec(service.spec)
  const pool = new PipelinePool({
    host: at.host,
    port: at.port,
    user: GATEWAY,
    password: secretOf(service, GATEWAY),
    database: DATABASE,
    searchPath: GATEWAY_SEARCH_PATH,
    settings: GATEWAY_SETTINGS,
    limits: { ...(spec.statement_timeout > 0 ? { timeout: spec.statement_timeout } : {}), ...options.poolLimits },
  })
  // The first connection signs in while the catalogue is read: the request that woke the project finds both.
  asRole(pool, WARMING, { sql: 'select 1', params: [] }, { quick: true }).catch(() => undefined)
  const catalogue = await holdCatalogue(client, {
    ...(options.catalogue ? { known: options.catalogue } : {}),
    onError: (error) => log.warn({ err: error, service: service.id }, 'could not read the catalogue'),
  })
  // Plans are made anew by PostgreSQL itself; this frees what names things that may be gone, and forgets which texts were slow.
  catalogue.onChange(() => pool.invalidate())
  const admin = makeAdmin(at, secretOf(service, ADMIN))
  let quota: QuotaState = EMPTY_QUOTA
  let round = 0

  async function measure(disk: number | undefined): Promise<void> {
    if (disk === undefined) return
    const next = nextQuota(quota, disk, spec.disk)
    if (next.full !== quota.full) await setReadOnly(client, next.full)
    quota = next
  }

  return {
    pool,
    catalogue,
    spec,
    get full() {
      return quota.full
    },
    admin: admin.run,
    engineVersion: seen.engineVersion,
    systemVersion: seen.systemVersion,
    ...(seen.degraded ? { degraded: seen.degraded } : {}),
    lastActivity: async () => (await watchSessions(client, NO_LIMITS)).lastActivity,
    async enforce({ disk }) {
      await measure(disk)
      const { ended } = await watchSessions(client, {
        statement: spec.wire_statement_timeout,
        idleTransaction: spec.wire_idle_transaction_timeout,
        endWriters: quota.endWriters,
      })
      quota = { ...quota, endWriters: false }
      if (++round % MEND_ROUNDS === 0 && (await mendRoles(client, secretOf(service, GATEWAY))))
        log.info({ project: service.project }, 'made the roles of the gateway anew')
      if (ended > 0) log.info({ project: service.project, sessions: ended }, 'ended what ran over its limit')
    },
    async close() {
      catalogue.close()
      await Promise.allSettled([pool.close(), admin.close()])
      await client.end().catch(() => undefined)
    },
  }
}
