import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { fail } from '../../../../base/errors.ts'
import type { Endpoint, Workload } from '../../../driver.ts'
import type { Recovered } from '../../../history.ts'
import type { Service } from '../../../services.ts'
import { ADMIN } from '../names.ts'
import { signIn } from '../ready.ts'
import { onlyUs } from '../recovery.ts'
import { adminVerifier } from '../roles.ts'
import type { PostgresSpec } from '../spec.ts'
import { postgresWorkload, type WorkloadOptions } from '../workload.ts'

/** As many as any spec may have had while the log was written: fewer, and it would not be applied. */
const CONNECTIONS = 1100
const EVERY = 50
/** ms that a start may show no process that answers: a base is consistent only when the log of its own time is applied. */
const PATIENCE = 86_400_000

const STATE = `select pg_is_in_recovery() as recovering,
  exists (select from pg_stat_activity where backend_type = 'startup' and wait_event in ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream')) as starved`

/**
 * A standby without a primary: it applies what lies in pg_wal and then waits, so that no command of ours runs as the cluster's user, and nothing is
 * promoted that is not where it should be.
 */
export function recoveryWorkload(service: Service, time: number | null, options: WorkloadOptions): Workload {
  const target: Record<string, string> =
    time === null
      ? {}
      : { recovery_target_time: new Date(time).toISOString().replace('T', ' ').replace('Z', '+00'), recovery_target_action: 'promote' }
  const settings = {
    ...options.settings,
    ...target,
    max_connections: CONNECTIONS,
    hot_standby: 'on',
    wal_retrieve_retry_interval: '100ms',
    recovery_target_timeline: 'current',
    autovacuum: 'off',
  }
  const { template: _none, ...workload } = postgresWorkload(service as Service<Partial<PostgresSpec>>, { ...options, settings })
  return { ...workload, files: { ...onlyUs(workload.files), 'standby.signal': '' } }
}

async function connect(at: Endpoint, bootstrap: string): Promise<pg.Client> {
  const until = Date.now() + PATIENCE
  for (;;) {
    const client = await signIn(at, bootstrap).catch(() => undefined)
    if (client) return client
    if (!isAlive(at.pid)) throw fail('archive_recovery_failed', { reason: 'PostgreSQL ended' })
    if (Date.now() > until) throw fail('archive_recovery_failed', { reason: 'it took longer than a day' })
    await pause(EVERY)
  }
}

function isAlive(pid: number | undefined): boolean {
  try {
    return pid === undefined || process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** `finish`: at the end of the log it becomes a cluster of its own; its superuser then has the template's password, as a fresh copy has. */
export async function recoverCluster(at: Endpoint, bootstrap: string, { finish }: { finish: boolean }): Promise<Recovered> {
  const client = await connect(at, bootstrap)
  try {
    let reached: Recovered = 'target'
    for (;;) {
      const { rows } = await client.query<{ recovering: boolean; starved: boolean }>(STATE)
      if (!rows[0]?.recovering) break
      if (rows[0].starved && reached === 'target') {
        reached = 'end'
        if (!finish) return reached
        await client.query('select pg_promote(false)')
      }
      await pause(EVERY)
    }
    await client.query(`alter role ${ADMIN} login password '${adminVerifier(bootstrap)}'`)
    return reached
  } catch (cause) {
    throw fail('archive_recovery_failed', { reason: 'PostgreSQL gave up' }, { cause })
  } finally {
    await client.end().catch(() => {})
  }
}
