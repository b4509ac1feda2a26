import type { Space } from '../../base/disk-space.ts'
import { fail, isSovraError } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import type { Log } from '../../base/log.ts'
import { type Changer, SYSTEM } from '../../metadata/change.ts'
import type { Metadata } from '../../metadata/open.ts'
import type { Connector } from '../connect.ts'
import type { Driver } from '../driver.ts'
import type { Engine } from '../engine.ts'
import type { Service, ServiceStore } from '../services.ts'
import { lackOf, trialId, upgradedVolume } from './job.ts'
import { endsWithServer, refit } from './refit.ts'
import { type Upgrade, upgradeStore } from './store.ts'

export interface UpgraderOptions {
  readonly metadata: Metadata
  readonly change: Changer
  readonly services: ServiceStore
  readonly connector: Connector
  readonly driver: (name: string) => Driver
  readonly engine: (name: string) => Engine
  /** All that it has committed is in its archive, where it has one. */
  readonly catchUp: (service: Service) => Promise<void>
  readonly space: Pick<Space, 'state'>
  /** ms that what is under way may take. */
  readonly drain: number
  readonly log: Log
  readonly now?: () => number
}

export interface Upgrader {
  /** One job: moves it, or removes what is kept no more. Idempotent. */
  run(id: string, signal: AbortSignal): Promise<void>
  /** The job was given up. */
  gaveUp(id: string): Promise<void>
}

/** What callers are told once their patience is over. */
const upgrading = (seconds = '5') => fail('project_upgrading', { seconds }, { headers: { 'retry-after': seconds } })

interface Telling {
  readonly service: Service
  readonly upgrade: Upgrade
  readonly run: string
  /** What a run before has left. */
  readonly leftover: string
}

export function makeUpgrader(options: UpgraderOptions): Upgrader {
  const { metadata, services, connector, change, log, now = Date.now } = options
  const db = metadata.kysely

  /** The one moment at which it changes hands: before it the former volume is true, after it the new one. */
  async function commit({ service, upgrade, run }: Telling): Promise<void> {
    await change(SYSTEM, async (c) => {
      const ended = { state: 'kept' as const, volume: service.volume, failure: null, now: now() }
      if (!(await upgradeStore.end(c.trx, { service: service.id, run }, ended))) throw fail('upgrade_superseded')
      await services.setVolume(c.trx, service.id, { volume: upgrade.volume, engineVersion: upgrade.to })
      const [before, after] = [{ engine_version: upgrade.from }, { engine_version: upgrade.to }]
      await c.event({ name: 'upgrade.finished', subject: service.id, project_ref: service.project, before, after })
    })
    // Its next wake finds the new volume even while metadata is away.
    const moved = await services.byId(db, service.id)
    if (moved) connector.renew(moved)
    await options.engine(service.engine).forget?.(service.id)
  }

  async function told({ service, upgrade, run }: Omit<Telling, 'leftover'>, error: unknown): Promise<void> {
    log.error({ err: error, service: service.id, project: service.project }, 'could not move a service to a newer major')
    const failure = isSovraError(error)
      ? { code: error.code, message: error.message }
      : { code: 'internal', message: 'See the server log.' }
    await change(SYSTEM, async (c) => {
      const ended = { state: 'failed' as const, volume: '', failure, now: now() }
      if (!(await upgradeStore.end(c.trx, { service: service.id, run }, ended))) return
      const after = { code: failure.code, from: upgrade.from, to: upgrade.to }
      await c.event({ name: 'upgrade.failed', subject: service.id, project_ref: service.project, after })
    })
  }

  async function refuseFull(driver: Driver, { volume }: Service): Promise<void> {
    const used = (await driver.usage?.(volume))?.total
    const lack = lackOf({ used, packed: driver.packed?.().has(volume) ?? false, space: options.space.state() })
    if (lack) throw fail('upgrade_no_room', { need: lack.need, free: lack.free })
  }

  async function move(telling: Telling, signal: AbortSignal): Promise<void> {
    const { upgrade, run } = telling
    const service = await services.byId(db, telling.service.id)
    if (service?.wanted !== 'active') throw fail('service_not_found', { name: telling.service.name })
    const driver = options.driver(service.driver)
    await refuseFull(driver, service)
    if (telling.leftover !== '') await driver.remove(trialId(service.id), telling.leftover)
    const parts = { driver, engine: options.engine(service.engine), service, upgrade }
    const step = async (name: string) => {
      signal.throwIfAborted()
      await upgradeStore.step(db, service.id, run, name)
    }
    try {
      await refit(parts, step)
      signal.throwIfAborted()
      await commit({ ...telling, service })
    } catch (error) {
      // A commit whose answer was lost may have happened: then the volume is the service's own, or may be.
      const committed = await services.byId(db, service.id).then(
        (seen) => seen?.volume === upgrade.volume,
        () => true,
      )
      if (committed) throw error
      await driver
        .remove(trialId(service.id), upgrade.volume)
        .catch((left: unknown) => log.warn({ err: left }, 'could not remove a volume'))
      throw error
    }
  }

  async function upgradeOne(service: Service, upgrade: Upgrade, signal: AbortSignal): Promise<void> {
    const run = uuid()
    const volume = upgradedVolume(service.volume, upgrade.to, run)
    const telling = { service, upgrade: { ...upgrade, volume }, run, leftover: upgrade.volume }
    const began = now()
    await upgradeStore.begin(db, service.id, { run, volume })
    try {
      await options.catchUp(service)
      await connector.still(service.id, () => move(telling, signal), { drain: options.drain, late: upgrading })
      log.info({ service: service.id, project: service.project, to: upgrade.to, ms: now() - began }, 'moved a service to a newer major')
    } catch (error) {
      // Whoever has taken it over, or the next server, does it.
      if (signal.aborted || endsWithServer(error)) throw error
      if (!isSovraError(error, 'upgrade_superseded')) await told(telling, error)
    }
  }

  return {
    async run(id, signal) {
      const upgrade = await upgradeStore.of(db, id)
      const service = await services.byId(db, id)
      if (!upgrade || !service) return
      if (upgrade.state === 'dropping') {
        await options.driver(service.driver).remove(trialId(id), upgrade.volume)
        await upgradeStore.forget(db, id)
      } else if (upgrade.state === 'wanted' || upgrade.state === 'running') await upgradeOne(service, upgrade, signal)
    },
    async gaveUp(id) {
      const upgrade = await upgradeStore.of(db, id)
      const service = await services.byId(db, id)
      if (!service || upgrade?.run === undefined || upgrade.run === null) return
      await told(
        { service, upgrade, run: upgrade.run },
        fail('upgrade_failed', { ...failedAt(upgrade), reason: 'the server ended again and again' }),
      )
    },
  }
}

const failedAt = ({ from, to, step }: Upgrade) => ({ from, to, step: step ?? 'copy' })
