import type { Kysely, Selectable, Transaction } from 'kysely'
import type { ServiceUpgrades, Tables } from '../../metadata/tables.ts'
import { upgradeKind } from './job.ts'

/**
 * wanted: asked for, or broken off by the end of a server. running: being done. kept: done, and the volume of the former major is kept. failed: it goes on
 * with what it had. dropping: a volume that nobody needs any more is being removed.
 *
 *   wanted ⇄ running → kept → dropping → (no row)
 *        └──────┴────→ failed → wanted
 */
export type UpgradeState = 'wanted' | 'running' | 'kept' | 'failed' | 'dropping'

/** One service's way to another major; at most one at a time. */
export interface Upgrade {
  readonly service: string
  readonly state: UpgradeState
  /** wanted, running, failed: what a run has made, or may have ('': nothing). kept, dropping: the one that the service does not use. */
  readonly volume: string
  readonly from: string
  readonly to: string
  readonly step: string | null
  /** Of the process that does it. */
  readonly run: string | null
  readonly failure: { readonly code: string; readonly message: string } | null
  readonly beganAt: number
  readonly endedAt: number | null
}

type Reader = Kysely<Tables> | Transaction<Tables>

const toUpgrade = (row: Selectable<ServiceUpgrades>): Upgrade => ({
  service: row.service_id,
  state: row.state as UpgradeState,
  volume: row.volume,
  from: row.from_version,
  to: row.to_version,
  step: row.step,
  run: row.run,
  failure: row.failure === null ? null : (JSON.parse(row.failure) as Upgrade['failure']),
  beganAt: row.began_at,
  endedAt: row.ended_at,
})

/** Reads and writes of `service_upgrades`: their one writer. */
export const upgradeStore = {
  async of(db: Reader, service: string): Promise<Upgrade | undefined> {
    const row = await db.selectFrom('service_upgrades').selectAll().where('service_id', '=', service).executeTakeFirst()
    return row && toUpgrade(row)
  },

  async list(db: Reader, services?: readonly string[]): Promise<Upgrade[]> {
    if (services?.length === 0) return []
    let query = db.selectFrom('service_upgrades').selectAll()
    if (services) query = query.where('service_id', 'in', [...services])
    return (await query.execute()).map(toUpgrade)
  },

  /** In the place of one that failed; what that has left stays named. */
  async want(trx: Transaction<Tables>, { service, from, to }: Pick<Upgrade, 'service' | 'from' | 'to'>, now: number) {
    const volume = (await this.of(trx, service))?.volume ?? ''
    await trx.deleteFrom('service_upgrades').where('service_id', '=', service).execute()
    await trx
      .insertInto('service_upgrades')
      .values({
        service_id: service,
        state: 'wanted',
        volume,
        from_version: from,
        to_version: to,
        step: null,
        run: null,
        failure: null,
        began_at: now,
        ended_at: null,
      })
      .execute()
  },

  /** `run` does it from now on: one that began before can finish it no more. */
  async begin(db: Reader, service: string, { run, volume }: { run: string; volume: string }): Promise<void> {
    await db
      .updateTable('service_upgrades')
      .set({ state: 'running', run, volume, step: null, failure: null })
      .where('service_id', '=', service)
      .where('state', 'in', ['wanted', 'running'])
      .execute()
  },

  async step(db: Reader, service: string, run: string, step: string): Promise<void> {
    await db.updateTable('service_upgrades').set({ step }).where('service_id', '=', service).where('run', '=', run).execute()
  },

  /** False: another process has taken it over. `run`: null where it was broken off. */
  async end(
    db: Reader,
    { service, run }: { service: string; run: string | null },
    ended: { state: 'kept' | 'failed'; volume: string; failure: Upgrade['failure']; now: number },
  ): Promise<boolean> {
    const { state, volume, failure, now } = ended
    const found = await db
      .updateTable('service_upgrades')
      .set({ state, volume, failure: failure === null ? null : JSON.stringify(failure), run: null, ended_at: now })
      .where('service_id', '=', service)
      .where('state', 'in', ['wanted', 'running'])
      .where('run', run === null ? 'is' : '=', run)
      .executeTakeFirst()
    return found.numUpdatedRows > 0n
  },

  /** The volume that is kept is wanted no more; false: none is kept. */
  async drop(trx: Transaction<Tables>, service: string, volume: string): Promise<boolean> {
    const found = await trx
      .updateTable('service_upgrades')
      .set({ state: 'dropping', volume })
      .where('service_id', '=', service)
      .where('state', '=', 'kept')
      .executeTakeFirst()
    return found.numUpdatedRows > 0n
  },

  /** What it named is gone. */
  async removed(db: Reader, service: string, volume: string): Promise<void> {
    await db
      .deleteFrom('service_upgrades')
      .where('service_id', '=', service)
      .where('state', '=', 'dropping')
      .where('volume', '=', volume)
      .execute()
    await db
      .updateTable('service_upgrades')
      .set({ volume: '' })
      .where('service_id', '=', service)
      .where('state', '=', 'failed')
      .where('volume', '=', volume)
      .execute()
  },

  async forget(db: Reader, service: string): Promise<void> {
    await db.deleteFrom('service_upgrades').where('service_id', '=', service).execute()
  },

  /** At the start of a server, before anybody wakes anything: what the one before it was doing is broken off. */
  async interrupt(db: Reader, node: string): Promise<void> {
    const mine = db.selectFrom('services').select('id').where('node', '=', node)
    await db
      .updateTable('service_upgrades')
      .set({ state: 'wanted', run: null })
      .where('state', '=', 'running')
      .where('service_id', 'in', mine)
      .execute()
  },

  /** What has something to do and no job for it, since that was given up: asked for again at each start. */
  async unfinished(db: Reader, node: string): Promise<string[]> {
    const rows = await db
      .selectFrom('service_upgrades as u')
      .innerJoin('services as s', 's.id', 'u.service_id')
      .select('u.service_id')
      .where('s.node', '=', node)
      .where((eb) =>
        eb.or([eb('u.state', 'in', ['wanted', 'running', 'dropping']), eb.and([eb('u.state', '=', 'failed'), eb('u.volume', '!=', '')])]),
      )
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('jobs as j')
              .select('j.id')
              .where('j.kind', '=', upgradeKind(node))
              .whereRef('j.key', '=', 'u.service_id')
              .where('j.state', 'in', ['queued', 'running']),
          ),
        ),
      )
      .execute()
    return rows.map(({ service_id }) => service_id)
  },
}
