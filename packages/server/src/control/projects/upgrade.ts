import { fail } from '../../base/errors.ts'
import type { Actor } from '../../metadata/change.ts'
import type { Service } from '../../runtime/services.ts'
import { lackOf, upgradeJob } from '../../runtime/upgrade/job.ts'
import { type Upgrade, upgradeStore } from '../../runtime/upgrade/store.ts'
import type { Control } from '../context.ts'
import { needProject } from './store.ts'

async function servicesOf(control: Control, ref: string): Promise<Service[]> {
  if ((await needProject(control.db, ref)).state !== 'active') throw fail('project_deleted')
  const services = await control.services.list(control.db, { projects: [ref] })
  // Of one that was never made there is nothing to move.
  return services.filter(({ engine }) => control.engines.get(engine)?.upgrade !== undefined)
}

/** Where it would come to; refused before anything is written. */
async function targetOf(control: Control, service: Service): Promise<{ from: string; to: string } | null> {
  const engine = control.engines.get(service.engine)
  const { engineVersion: from } = service
  const { version: to, upgrade } = engine ?? {}
  if (!upgrade || to === undefined) return null
  if (from === null) throw fail('upgrade_version_unknown')
  const can = upgrade.can(from)
  if (can === 'current') return null
  if (can === 'tools') throw fail('upgrade_tools_missing', { from, to })
  const driver = control.drivers.get(service.driver)
  const used = (await driver?.usage?.(service.volume))?.total
  const lack = lackOf({ used, packed: driver?.packed?.().has(service.volume) ?? false, space: control.space.state() })
  if (lack) throw fail('upgrade_no_room', { need: lack.need, free: lack.free })
  return { from, to }
}

function refuseOther(upgrade: Upgrade | undefined): void {
  if (upgrade?.state === 'kept' || upgrade?.state === 'dropping') throw fail('upgrade_kept')
  if (upgrade?.state === 'wanted' || upgrade?.state === 'running') throw fail('upgrade_running')
}

/** One transaction: wanted, event, job. `upgrade_current`, `upgrade_tools_missing`, `upgrade_no_room`, `upgrade_kept`, `upgrade_running`. */
export async function startUpgrade(control: Control, actor: Actor, ref: string): Promise<void> {
  const services = await servicesOf(control, ref)
  const wanted: { service: Service; from: string; to: string }[] = []
  for (const service of services) {
    const target = await targetOf(control, service)
    if (target) wanted.push({ service, ...target })
  }
  if (wanted.length === 0) throw fail('upgrade_current', { version: services[0]?.engineVersion ?? '' })
  await control.change(actor, async (change) => {
    for (const { service, from, to } of wanted) {
      refuseOther(await upgradeStore.of(change.trx, service.id))
      await upgradeStore.want(change.trx, { service: service.id, from, to }, control.now())
      const [before, after] = [{ engine_version: from }, { engine_version: to }]
      await change.event({ name: 'upgrade.started', subject: service.id, project_ref: ref, before, after })
      await change.job(upgradeJob(service))
    }
  })
}

async function keptOf(control: Control, ref: string): Promise<{ service: Service; upgrade: Upgrade }[]> {
  const services = await servicesOf(control, ref)
  const upgrades = await upgradeStore.list(
    control.db,
    services.map(({ id }) => id),
  )
  const found = services.flatMap((service) => {
    const upgrade = upgrades.find((one) => one.service === service.id && one.state === 'kept')
    return upgrade ? [{ service, upgrade }] : []
  })
  if (found.length === 0) throw fail('upgrade_nothing_kept')
  return found
}

/** What was kept of the former major goes. `upgrade_nothing_kept`. */
export async function confirmUpgrade(control: Control, actor: Actor, ref: string): Promise<void> {
  const kept = await keptOf(control, ref)
  await control.change(actor, async (change) => {
    for (const { service, upgrade } of kept) {
      if (!(await upgradeStore.drop(change.trx, service.id, upgrade.volume))) throw fail('upgrade_nothing_kept')
      await change.event({ name: 'upgrade.confirmed', subject: service.id, project_ref: ref, before: { engine_version: upgrade.from } })
      await change.job(upgradeJob(service))
    }
  })
}

/** Back to the former major, with its data of then: what was written since is lost. `upgrade_nothing_kept`. */
export async function revertUpgrade(control: Control, actor: Actor, ref: string): Promise<void> {
  for (const { service, upgrade } of await keptOf(control, ref)) {
    await control.connector.still(service.id, async () => {
      const back = await control.change(actor, async (change) => {
        const now = await control.services.byId(change.trx, service.id)
        if (!now || !(await upgradeStore.drop(change.trx, service.id, now.volume))) throw fail('upgrade_nothing_kept')
        await control.services.setVolume(change.trx, service.id, { volume: upgrade.volume, engineVersion: upgrade.from })
        const [before, after] = [{ engine_version: now.engineVersion }, { engine_version: upgrade.from }]
        await change.event({ name: 'upgrade.reverted', subject: service.id, project_ref: ref, before, after })
        await change.job(upgradeJob(service))
        return { ...now, volume: upgrade.volume, engineVersion: upgrade.from }
      })
      control.connector.renew(back)
      await control.engines.get(service.engine)?.forget?.(service.id)
    })
  }
}
