import { Readable } from 'node:stream'
import { fail } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Driver } from '../driver.ts'
import type { Engine } from '../engine.ts'
import type { History } from '../history.ts'
import type { Service } from '../services.ts'
import { planRestore, type RestorePlan } from './plan.ts'
import { openBase, restoreTar } from './restore-tar.ts'
import type { Places } from './settings.ts'

export interface RestorerOptions {
  readonly places: Places
  readonly engine: (name: string) => Engine
  readonly driver: (name: string) => Driver
  readonly combine: (plan: RestorePlan, tars: (index: number) => Promise<Readable>) => Promise<{ tar: Readable; done: () => Promise<void> }>
  readonly log: Log
}

/** Brings what a project was at a moment into a new volume: whole and at rest, or not there at all. */
export type Restorer = (from: Service, time: number, to: Service) => Promise<void>

/** Volumes of restores begin so: one that no service names was left by a killed restore. */
const SCRATCH = 'restore-'
/** Bytes of the cluster's log that explain a failure. */
const SAID = 4096

export function makeRestorer({ places, engine, driver: driverOf, combine, log }: RestorerOptions): Restorer {
  function partsOf(service: Service) {
    const { history } = engine(service.engine)
    const driver = driverOf(service.driver)
    const { unpack, move } = driver
    if (!history || !unpack || !move) throw fail('backup_unsupported', { name: service.driver })
    return { history, driver, unpack, move }
  }

  async function baseOf(plan: RestorePlan): Promise<{ tar: Readable; done: () => Promise<void> }> {
    if (plan.chain.length === 1) return { tar: await openBase(plan.lineage, plan.chain[0]!), done: async () => {} }
    return await combine(plan, (index) => openBase(plan.lineage, plan.chain[index]!))
  }

  async function lay(plan: RestorePlan, history: History, unpack: (tar: Readable) => Promise<void>): Promise<void> {
    const base = await baseOf(plan)
    try {
      await unpack(Readable.from(restoreTar(plan, history, base.tar), { objectMode: false, highWaterMark: 1 << 20 }))
    } finally {
      base.tar.destroy()
      await base.done()
    }
  }

  return async (from, time, to) => {
    const { history, driver, unpack, move } = partsOf(to)
    const store = await places.archive(from.project)
    const scratch: Service = { ...to, id: `${SCRATCH}${to.id}`, volume: `${SCRATCH}${to.volume}` }
    try {
      for (const all of [false, true]) {
        const plan = await planRestore(store, from.project, time, all)
        await driver.remove(scratch.id, scratch.volume)
        await lay(plan, history, (tar) => unpack(scratch.volume, tar))
        if (await recovered(driver, history, scratch, { time, last: all || !plan.more })) break
      }
      await driver.sleep(scratch.id)
      await move(scratch.volume, to.volume)
      log.info({ project: to.project, from: from.project, time }, 'a project was brought to a moment of another')
    } catch (error) {
      const said = await driver.log?.(scratch.volume, SAID).catch(() => '')
      log.error(
        { err: error, project: to.project, from: from.project, detail: said },
        'a project could not be brought to a moment of another',
      )
      throw error
    } finally {
      await driver.remove(scratch.id, scratch.volume)
    }
  }
}

interface Goal {
  readonly time: number
  /** There is no more log than this. */
  readonly last: boolean
}

/** False: its log ended before the moment, and there is more of it. */
async function recovered(driver: Driver, history: History, scratch: Service, { time, last }: Goal): Promise<boolean> {
  const at = await driver.apply(history.recovery(scratch, time))
  if ((await history.recover(at, { time, finish: false })) === 'target') return true
  if (!last) return false
  // All that was committed until then is applied: what is left is to end.
  await driver.sleep(scratch.id)
  await history.recover(await driver.apply(history.recovery(scratch, null)), { time: null, finish: true })
  return true
}
