import { setTimeout } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type pg from 'pg'
import { fail } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import type { Endpoint, Template } from '../../driver.ts'
import type { Engine } from '../../engine.ts'
import type { Service } from '../../services.ts'
import { adoptCluster } from './adopt.ts'
import { baseBackup } from './base-backup.ts'
import type { Catalogue } from './catalogue/types.ts'
import { type Cluster, openCluster } from './cluster.ts'
import { secretOf } from './connections.ts'
import { readMigrations } from './migrations.ts'
import { ADMIN, SECRETS } from './names.ts'
import { type PreparedCluster, prepareCluster } from './prepare.ts'
import { makeParking, signIn, waitUntilReady } from './ready.ts'
import { PostgresSpec } from './spec.ts'
import { postgresTemplate } from './template.ts'
import type { PoolLimits } from './wire/options.ts'
import { postgresWorkload } from './workload.ts'

export interface PostgresEngineOptions {
  /** "18.4": the version of the programs that the driver starts. */
  readonly version: string
  /** Password of our superuser in copies of the template until their first start: 32 random bytes, kept with the installation's keys. */
  readonly bootstrap: string
  readonly log: Log
  /** Settings that the host's PostgreSQL needs (`foreignExtensions`). */
  readonly settings?: Readonly<Record<string, string | number>>
  readonly poolLimits?: Partial<PoolLimits>
  /** Another directory of system migrations: tests. */
  readonly system?: string
}

export interface PostgresEngine extends Engine<Partial<PostgresSpec>> {
  /** To be built by the driver before the first project: `driver.template(engine.template)`. */
  readonly template: Template
  /** Version of the newest system migration. */
  readonly systemVersion: number
  attach(at: Endpoint, service: Service<Partial<PostgresSpec>>): Promise<Cluster>
}

const MAJOR = 18
/** Catalogues of sleeping clusters that are kept, so that a wake need not wait for a read. */
const CATALOGUES = 200
/** ms for the last read before a sleep. */
const LAST_READ_MS = 1_000

/** A project's PostgreSQL. Cluster of its own, reached through its socket only. */
export function postgresEngine(options: PostgresEngineOptions): PostgresEngine {
  if (Number.parseInt(options.version, 10) !== MAJOR)
    throw fail('engine_version_unsupported', {
      version: options.version,
      wanted: MAJOR,
      reason: `data directories here are of major ${MAJOR}`,
    })
  const migrations = readMigrations(options.system)
  const template = postgresTemplate({
    version: options.version,
    migrations,
    bootstrap: options.bootstrap,
    ...(options.settings ? { settings: options.settings } : {}),
  })
  const parking = makeParking()
  const prepared = new Map<string, PreparedCluster>()
  const catalogues = new LRUCache<string, Catalogue>({ max: CATALOGUES })

  /** A volume that never ran to its end may still have the template's password. */
  const passwords = (service: Service): string[] => {
    const own = secretOf(service, ADMIN)
    return service.observedVersion === 0 && !service.source ? [options.bootstrap, own] : [own, options.bootstrap]
  }

  async function client(at: Endpoint, service: Service, former: readonly string[] = []): Promise<pg.Client> {
    const parked = parking.take(at)
    if (parked) return parked
    for (const password of [...passwords(service), ...former]) {
      const found = await signIn(at, password)
      if (found) return found
    }
    throw fail('cluster_sign_in_refused')
  }

  /** One last read, since not all that changes it is told (role settings, grants): what sleeps then is what wakes. */
  async function keepCatalogue(id: string, { catalogue }: Cluster): Promise<void> {
    catalogues.delete(id)
    const read = catalogue.fresh(catalogue.current).then(
      () => true,
      () => false,
    )
    if (await Promise.race([read, setTimeout(LAST_READ_MS, false, { ref: false })])) catalogues.set(id, catalogue.current)
  }

  /** Runs one step of a wake on its one connection and keeps that for the next step; a failed step closes it. */
  async function step(at: Endpoint, service: Service, fn: (client: pg.Client) => Promise<void>, former?: readonly string[]): Promise<void> {
    const connection = await client(at, service, former)
    try {
      await fn(connection)
      parking.put(at, connection)
    } catch (error) {
      await connection.end().catch(() => undefined)
      throw error
    }
  }

  return {
    name: 'postgres',
    spec: PostgresSpec,
    secrets: SECRETS,
    template,
    systemVersion: migrations.length,

    workload: (service) =>
      postgresWorkload(service, { template: template.name, ...(options.settings ? { settings: options.settings } : {}) }),

    async ready(at, service) {
      const connection = await waitUntilReady(at, passwords(service))
      if (connection) parking.put(at, connection)
      // A copy that still has its source's password is `adopt`'s business.
      else if (service.observedVersion !== 0 || !service.source) throw fail('cluster_sign_in_refused')
    },

    async adopt(at, service, copied) {
      const former = copied.secrets[ADMIN]
      await step(at, service, (connection) => adoptCluster(connection, service, copied.data), former === undefined ? [] : [former])
    },

    async prepare(at, service) {
      await step(at, service, async (connection) => {
        prepared.set(at.run, await prepareCluster(connection, service, migrations))
      })
    },

    base: (at, service) => baseBackup(at, secretOf(service, ADMIN)),

    async attach(at, service) {
      const seen = prepared.get(at.run)
      prepared.delete(at.run)
      if (!seen) throw fail('internal', {}, { cause: 'attach before prepare' })
      const connection = await client(at, service)
      try {
        const limits = options.poolLimits ? { poolLimits: options.poolLimits } : {}
        const known = seen.untouched ? catalogues.get(service.id) : undefined
        const kept = known ? { catalogue: known } : {}
        const cluster = await openCluster({ at, service, client: connection, seen, log: options.log, ...limits, ...kept })
        const { close } = cluster
        return Object.assign(cluster, {
          close: async () => {
            await keepCatalogue(service.id, cluster)
            await close()
          },
        })
      } catch (error) {
        await connection.end().catch(() => undefined)
        throw error
      }
    },
  }
}
