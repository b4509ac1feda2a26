import { MAJORS } from '@sovrabase/contract/majors'
import { fail } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import type { Endpoint, Template } from '../../driver.ts'
import type { Copied, Engine } from '../../engine.ts'
import type { Service } from '../../services.ts'
import { adoptCluster } from './adopt.ts'
import { baseBackup } from './base-backup.ts'
import type { Catalogue } from './catalogue/types.ts'
import { type Cluster, openCluster, openPool } from './cluster.ts'
import { secretOf } from './connections.ts'
import { postgresHistory } from './history/history.ts'
import { makeKnown } from './known.ts'
import { MAJOR, majorOf } from './majors.ts'
import { readMigrations } from './migrations.ts'
import { ADMIN, SECRETS } from './names.ts'
import { type PreparedCluster, prepareCluster } from './prepare.ts'
import { makeParking } from './ready.ts'
import { postgresRecovery, type Recovery } from './recovery.ts'
import { makeSignIns } from './sign-ins.ts'
import { PostgresSpec, refusedSpec } from './spec.ts'
import { postgresTemplate } from './template.ts'
import { postgresUpgrade } from './upgrade.ts'
import type { PoolLimits } from './wire/options.ts'
import type { PipelinePool } from './wire/pool.ts'
import { postgresWorkload } from './workload.ts'

export interface PostgresEngineOptions {
  /** "18.4": the version of the programs that the driver starts. */
  readonly version: string
  /** Password of our superuser in copies of the template until their first start: 32 random bytes, kept with the installation's keys. */
  readonly bootstrap: string
  readonly log: Log
  /** Settings that the host's PostgreSQL needs (`foreignExtensions`). */
  readonly settings?: Readonly<Record<string, string | number>>
  /** Other majors whose data can be run, and those with the tools of pg_upgrade. */
  readonly others?: readonly number[]
  readonly sets?: readonly number[]
  readonly poolLimits?: Partial<PoolLimits>
  /** Folder of what is known of sleeping clusters' catalogues; without one it is known while this process lives. */
  readonly catalogues?: string
  /** Another directory of system migrations: tests. */
  readonly system?: string
}

export interface PostgresEngine extends Engine<Partial<PostgresSpec>> {
  /** To be built by the driver before the first project: `driver.template(engine.template)`. */
  readonly template: Template
  /** Version of the newest system migration. */
  readonly systemVersion: number
  readonly recovery: Recovery
  attach(at: Endpoint, service: Service<Partial<PostgresSpec>>): Promise<Cluster>
  forget(id: string): Promise<void>
}

type PostgresService = Service<Partial<PostgresSpec>>

function checkMajor(version: string): void {
  if (MAJORS.some((major) => major === majorOf(version))) return
  throw fail('engine_version_unsupported', { version, wanted: MAJOR, reason: `data directories here are of major ${MAJORS.join(' or ')}` })
}

/** The steps of a wake, in their order, and what one hands to the next. */
function wakeSteps({ bootstrap, log, poolLimits, catalogues }: PostgresEngineOptions, migrations: ReturnType<typeof readMigrations>) {
  const signIns = makeSignIns(bootstrap)
  const pools = makeParking<PipelinePool>((pool) => pool.close(0))
  const prepared = new Map<string, PreparedCluster>()
  const known = makeKnown(catalogues, log)

  /** The pool of `ready`, whose sessions began before the roles were looked at: only where those were found as they must be. */
  function poolOf(at: Endpoint, service: PostgresService, { untouched }: PreparedCluster): PipelinePool {
    const early = pools.take(at)
    if (early && untouched) return early
    early?.close(0).catch(() => undefined)
    return openPool(at, service, poolLimits)
  }

  async function open(at: Endpoint, service: PostgresService, seen: PreparedCluster): Promise<Cluster> {
    const client = await signIns.take(at, service)
    const pool = poolOf(at, service, seen)
    const catalogue = seen.untouched ? await known.get(service.id, seen.xid) : undefined
    const onCatalogue = (read: Catalogue, text: string) => known.read(service.id, read, text)
    try {
      const renew = () => openPool(at, service, poolLimits)
      return await openCluster({ at, service, client, seen, log, pool, renew, onCatalogue, ...(catalogue ? { catalogue } : {}) })
    } catch (error) {
      await Promise.allSettled([pool.close(0), client.end()])
      throw error
    }
  }

  return {
    async ready(at: Endpoint, service: PostgresService): Promise<void> {
      const isOurs = await signIns.ready(at, service)
      // A copy that still has its source's password is `adopt`'s business.
      if (!isOurs && (service.observedVersion !== 0 || !service.source)) throw fail('cluster_sign_in_refused')
      // It signs in while `prepare` looks at the cluster.
      if (service.observedVersion > 0) pools.put(at, openPool(at, service, poolLimits))
    },

    async adopt(at: Endpoint, service: PostgresService, copied: Copied): Promise<void> {
      const former = copied.secrets[ADMIN]
      await signIns.step(at, service, (client) => adoptCluster(client, service, copied.data), former === undefined ? [] : [former])
    },

    async prepare(at: Endpoint, service: PostgresService): Promise<void> {
      await signIns.step(at, service, async (client) => {
        prepared.set(at.run, await prepareCluster(client, service, migrations))
      })
    },

    async attach(at: Endpoint, service: PostgresService): Promise<Cluster> {
      const seen = prepared.get(at.run)
      prepared.delete(at.run)
      if (!seen) throw fail('internal', {}, { cause: 'attach before prepare' })
      const cluster = await open(at, service, seen)
      const { close } = cluster
      return Object.assign(cluster, {
        close: async () => {
          await known.keep(service.id, cluster)
          await close()
        },
      })
    },

    forget: (id: string) => known.forget(id),
  }
}

/** A project's PostgreSQL. Cluster of its own, reached through its socket only. */
export function postgresEngine(options: PostgresEngineOptions): PostgresEngine {
  const { version, bootstrap, others = [], sets = [] } = options
  checkMajor(version)
  const migrations = readMigrations(options.system)
  const settings = options.settings ? { settings: options.settings } : {}
  const template = postgresTemplate({ version, migrations, bootstrap, ...settings })
  const running = { template: template.name, major: majorOf(version), others, ...settings }
  return {
    name: 'postgres',
    // As the cluster says it: two parts.
    version: version.split('.').slice(0, 2).join('.'),
    spec: PostgresSpec,
    refuses: (spec) => refusedSpec(spec, version),
    secrets: SECRETS,
    template,
    systemVersion: migrations.length,
    recovery: postgresRecovery(bootstrap, running),
    workload: (service) => postgresWorkload(service, running),
    base: (at, service) => baseBackup(at, secretOf(service, ADMIN)),
    history: postgresHistory(bootstrap, running),
    upgrade: postgresUpgrade({ version, sets, bootstrap, migrations }),
    ...wakeSteps(options, migrations),
  }
}
