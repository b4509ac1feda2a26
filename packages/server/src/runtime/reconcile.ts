import { isSovraError } from '../base/errors.ts'
import type { NewJob } from '../base/jobs.ts'
import { type Changer, SYSTEM } from '../metadata/change.ts'
import type { Metadata } from '../metadata/open.ts'
import type { Connector } from './connect.ts'
import type { Driver } from './driver.ts'
import type { Engine } from './engine.ts'
import type { Service, ServiceStore } from './services.ts'
import { trialId } from './upgrade/job.ts'
import { upgradeStore } from './upgrade/store.ts'

/** Kind of the jobs of a node: where a service's data lies, only that node can do anything about it. */
export const reconcileKind = (node: string): string => `reconcile.${node}`

/** The job that makes the wanted state of a service true. Asked for twice it runs once more, never twice at once. */
export const reconcileJob = (service: { readonly id: string; readonly node: string | null }): NewJob => ({
  kind: reconcileKind(service.node ?? ''),
  key: service.id,
})

export interface ReconcilerOptions {
  readonly metadata: Metadata
  readonly change: Changer
  readonly services: ServiceStore
  readonly connector: Connector
  readonly driver: (name: string) => Driver
  readonly engine: (name: string) => Engine
  /** ms that what is under way may take where a service must stop for another spec. */
  readonly drain: number
}

/**
 * Makes the wanted state of one service true. Create, resize, stop, copy and delete are the same act with another wanted state; every step is
 * idempotent, so a crashed node's job is simply run again.
 */
export function makeReconciler(options: ReconcilerOptions) {
  const { connector, services, metadata } = options

  const ready = async ({ id, project }: Service) => {
    // Who hears the event finds the status already written.
    await connector.reported(id)
    if (project !== '') await options.change(SYSTEM, (c) => c.event({ name: 'service.ready', subject: id, project_ref: project }))
  }

  /** Nobody can wake it from here on: first because its data is being removed, then because it is gone. */
  async function remove(service: Service): Promise<void> {
    const driver = options.driver(service.driver)
    const removeAll = async () => {
      // It may have got another volume while we waited for the end of its move.
      const { volume } = (await services.byId(metadata.kysely, service.id)) ?? service
      const upgrade = await upgradeStore.of(metadata.kysely, service.id)
      if (upgrade && upgrade.volume !== '') await driver.remove(trialId(service.id), upgrade.volume)
      await driver.remove(service.id, volume)
    }
    await connector.still(service.id, removeAll, { reason: 'deleted', forget: true })
    await options.engine(service.engine).forget?.(service.id)
    await options.change(SYSTEM, async (change) => {
      await upgradeStore.forget(change.trx, service.id)
      await services.forget(change.trx, service.id)
      if (service.project !== '') await change.event({ name: 'service.deleted', subject: service.id, project_ref: service.project })
    })
  }

  async function stop(service: Service): Promise<void> {
    await connector.sleep(service.id, { force: true, reason: 'deleted' })
    await connector.reported(service.id)
    if (service.status === 'creating') await services.setStatus(metadata.kysely, service.id, 'pending')
  }

  async function make(service: Service): Promise<void> {
    await services.begin(metadata.kysely, service.id)
    try {
      const hold = await connector.holdById(service.id, 'create')
      hold.release()
    } catch (error) {
      if (!isSovraError((error as Error).cause, 'copy_source_gone')) throw error
      // No further attempt can help: its status says why.
      await connector.reported(service.id)
      await options.change(SYSTEM, (c) => c.event({ name: 'service.failed', subject: service.id, project_ref: service.project }))
      return
    }
    await ready(service)
  }

  /** A new spec: what is under way ends first, within its patience; what ran wakes with the new one. */
  async function remake(service: Service): Promise<void> {
    const state = connector.entry(service.id)?.state ?? 'asleep'
    await connector.sleep(service.id, { force: true, drain: options.drain })
    if (state === 'asleep') await services.setObserved(metadata.kysely, service.id, service.specVersion)
    else (await connector.holdById(service.id, 'reconcile')).release()
    await ready(service)
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
