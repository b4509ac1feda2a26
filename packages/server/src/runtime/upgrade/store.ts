import type { Kysely, Selectable, Transaction } from 'kysely'
import type { ServiceUpgrades, Tables } from '../../metadata/tables.ts'

/**
 * wanted: asked for, or broken off by the end of a server. running: being done. kept: done, and the volume of the former major is kept. failed: it goes on
 * with what it had. dropping: a volume that nobody needs any more is being removed.
 */
export type UpgradeState = 'wanted' | 'running' | 'kept' | 'failed' | 'dropping'

/** One service's way to another major; at most one at a time. */
export interface Upgrade {
  readonly service: string
  readonly state: UpgradeState
  /** wanted, running: the one that is worked on ('': none yet). kept, dropping: the one that the service does not use. */
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

  /** In the place of what was before. */
  async want(trx: Transaction<Tables>, { service, from, to }: Pick<Upgrade, 'service' | 'from' | 'to'>, now: number) {
    await trx.deleteFrom('service_upgrades').where('service_id', '=', service).execute()
    await trx
      .insertInto('service_upgrades')
      .values({
        service_id: service,
        state: 'wanted',
        volume: '',
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

  /** False: another process has taken it over. */
  async end(
    db: Reader,
    { service, run }: { service: string; run: string },
    ended: { state: 'kept' | 'failed'; volume: string; failure: Upgrade['failure']; now: number },
  ): Promise<boolean> {
    const { state, volume, failure, now } = ended
    const found = await db
      .updateTable('service_upgrades')
      .set({ state, volume, failure: failure === null ? null : JSON.stringify(failure), run: null, ended_at: now })
      .where('service_id', '=', service)
      .where('state', '=', 'running')
      .where('run', '=', run)
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

  /** Removals whose job was given up: asked for again at each start. */
  async unfinished(db: Reader, node: string): Promise<string[]> {
    const mine = db.selectFrom('services').select('id').where('node', '=', node)
    const left = db.selectFrom('service_upgrades').select('service_id').where('state', '=', 'dropping')
    return (await left.where('service_id', 'in', mine).execute()).map(({ service_id }) => service_id)
  },
}
