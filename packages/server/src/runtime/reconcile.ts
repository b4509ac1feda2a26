import type { Log } from '../base/log.ts'
import type { Actor, Changer } from '../metadata/change.ts'
import type { Metadata } from '../metadata/open.ts'
import type { Connector } from './connect.ts'
import type { Driver } from './driver.ts'
import type { Service, ServiceStore } from './services.ts'

export const RECONCILE = 'reconcile'

export interface ReconcilerOptions {
  readonly metadata: Metadata
  readonly change: Changer
  readonly services: ServiceStore
  readonly connector: Connector
  readonly driver: (name: string) => Driver
  readonly log: Log
}

const SYSTEM: Actor = { id: 'system', kind: 'system', ip: null, requestId: null }

/**
 * Makes the wanted state of one service true. Create, resize, stop, copy and delete are the same act with another wanted state; every step is
 * idempotent, so a crashed node's job is simply run again by whoever claims it.
 */
export function makeReconciler(options: ReconcilerOptions) {
  const { connector, services, metadata } = options

  async function remove(service: Service): Promise<void> {
    await connector.sleep(service.id, { force: true, reason: 'deleted' })
    await options.driver(service.driver).remove(service.id, service.volume)
    connector.forget(service.id)
    await options.change(SYSTEM, async (change) => {
      await services.forget(change.trx, service.id)
      if (service.project !== '') await change.event({ name: 'service.deleted', subject: service.id, project_ref: service.project })
    })
  }

  async function stop(service: Service): Promise<void> {
    await connector.sleep(service.id, { force: true, reason: 'deleted' })
  }

  /** The volume of a copy is made while its source stands still; once it is there, it is never copied again. */
  async function copy(service: Service): Promise<void> {
    const { source } = service
    if (!source) return
    const driver = options.driver(service.driver)
    const seen = await driver.inspect(service.id, service.volume)
    if (seen.state !== 'absent') return
    await connector.still(source.service, () => driver.copy(source.volume, service.volume))
  }

  async function make(service: Service): Promise<void> {
    await services.setStatus(metadata.kysely, service.id, 'creating')
    await copy(service)
    const hold = await connector.holdById(service.id, 'create')
    hold.release()
    await options.change(SYSTEM, async (change) => {
      if (service.project !== '') await change.event({ name: 'service.ready', subject: service.id, project_ref: service.project })
    })
  }

  /** A new spec of a running service: it sleeps (what is under way ends first, within the driver's patience) and wakes with it. */
  async function remake(service: Service): Promise<void> {
    const awake = connector.entry(service.id)?.state === 'awake'
    await connector.sleep(service.id, { force: true })
    if (awake) (await connector.holdById(service.id, 'reconcile')).release()
    else await services.setStatus(metadata.kysely, service.id, 'asleep', { observedVersion: service.specVersion })
    await options.change(SYSTEM, async (change) => {
      await change.event({ name: 'service.ready', subject: service.id, project_ref: service.project })
    })
  }

  return async function reconcile(id: string): Promise<void> {
    const service = await services.byId(metadata.kysely, id)
    if (!service) return
    if (service.wanted === 'deleted') return remove(service)
    if (service.wanted === 'stopped') return stop(service)
    if (service.observedVersion === 0) return make(service)
    if (service.observedVersion < service.specVersion) return remake(service)
  }
}

export type Reconcile = ReturnType<typeof makeReconciler>
