import { setTimeout as pause } from 'node:timers/promises'
import type { Space } from '../../base/disk-space.ts'
import { fail } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { type Changer, SYSTEM } from '../../metadata/change.ts'
import type { Metadata } from '../../metadata/open.ts'
import type { Connector } from '../connect.ts'
import type { Driver } from '../driver.ts'
import type { Engine } from '../engine.ts'
import type { Service, ServiceStore } from '../services.ts'
import { lackOf } from './job.ts'
import { refit } from './refit.ts'
import { type Upgrade, upgradeStore } from './store.ts'

export interface MoveOptions {
  readonly metadata: Metadata
  readonly change: Changer
  readonly services: ServiceStore
  readonly connector: Connector
  readonly driver: (name: string) => Driver
  readonly engine: (name: string) => Engine
  readonly space: Pick<Space, 'state'>
  readonly log: Log
  readonly now?: () => number
}

/** One run of one move. */
export interface Run {
  readonly id: string
  /** Its volume is the one that this run makes. */
  readonly upgrade: Upgrade
}

/** ms between two looks at metadata that do not answer. */
const LOOK = 1_000

async function refuseFull(driver: Driver, { volume }: Service, space: MoveOptions['space']): Promise<void> {
  const used = (await driver.usage?.(volume))?.total
  const lack = lackOf({ used, packed: driver.packed?.().has(volume) ?? false, space: space.state() })
  if (lack) throw fail('upgrade_no_room', { need: lack.need, free: lack.free })
}

/** Moves a service that stands still; when it has thrown, the service is as it was. */
export function makeMove(options: MoveOptions) {
  const { metadata, services, connector, change, log, now = Date.now } = options
  const db = metadata.kysely

  /** The one moment at which it changes hands: before it the former volume is true, after it the new one. */
  async function commit(service: Service, { id, upgrade }: Run): Promise<void> {
    await change(SYSTEM, async (c) => {
      const ended = { state: 'kept' as const, volume: service.volume, failure: null, now: now() }
      if (!(await upgradeStore.end(c.trx, { service: service.id, run: id }, ended))) throw fail('upgrade_superseded')
      await services.setVolume(c.trx, service.id, { volume: upgrade.volume, engineVersion: upgrade.to })
      const [before, after] = [{ engine_version: upgrade.from }, { engine_version: upgrade.to }]
      await c.event({ name: 'upgrade.finished', subject: service.id, project_ref: service.project, before, after })
    })
  }

  /** A commit whose answer was lost may have happened. Until it is known nobody is let in: what is written into the other volume would be lost. */
  async function isCommitted(service: Service, volume: string): Promise<boolean> {
    for (;;) {
      try {
        return (await services.byId(db, service.id))?.volume === volume
      } catch (error) {
        log.warn({ err: error, service: service.id }, 'metadata is away: which major a service is of is not known')
        await pause(LOOK)
      }
    }
  }

  /** Its next wake finds the new volume even while metadata is away. */
  async function turnTo(service: Service, { upgrade }: Run): Promise<void> {
    const { volume, to: engineVersion } = upgrade
    const read = await services.byId(db, service.id).catch(() => undefined)
    connector.renew(read ?? { ...service, volume, engineVersion })
    await options.engine(service.engine).forget?.(service.id)
  }

  return async function move(id: string, run: Run, signal: AbortSignal): Promise<void> {
    const service = await services.byId(db, id)
    if (service?.wanted !== 'active') throw fail('service_not_found', { name: service?.name ?? id })
    const driver = options.driver(service.driver)
    await refuseFull(driver, service, options.space)
    try {
      await refit({ driver, engine: options.engine(service.engine), service, upgrade: run.upgrade }, async (step) => {
        signal.throwIfAborted()
        await upgradeStore.step(db, id, run.id, step)
      })
      signal.throwIfAborted()
      await commit(service, run)
    } catch (error) {
      if (!(await isCommitted(service, run.upgrade.volume))) throw error
    }
    await turnTo(service, run)
  }
}
