import { fail, isSovraError } from '../../base/errors.ts'
import type { Driver } from '../driver.ts'
import type { Engine, UpgradeStep } from '../engine.ts'
import type { Service } from '../services.ts'
import { trialId } from './job.ts'
import type { Upgrade } from './store.ts'

export interface RefitParts {
  readonly driver: Driver
  readonly engine: Engine
  /** Stands still. */
  readonly service: Service
  readonly upgrade: Upgrade
}

type Step = (name: string) => Promise<void>

const NEW = 'new'

/** In a message for who operates the project: what a program said, without the paths of this machine. */
const plain = (text: string): string => text.replaceAll(/(?:\/[\w.@+-]+){2,}/g, '…').replaceAll(/\s+/g, ' ')

async function isNeeded(driver: Driver, volume: string, { unless }: UpgradeStep): Promise<boolean> {
  if (!unless) return true
  return !unless.says.test((await driver.refit?.run(volume, unless.program)) ?? '')
}

/** Started under another name and with its own passwords: what does not answer now would not answer its project either. */
async function tryOut({ driver, engine, service, upgrade }: RefitParts): Promise<void> {
  const trial = { ...service, id: trialId(service.id), volume: upgrade.volume }
  const at = await driver.apply(engine.workload(trial))
  try {
    await engine.upgrade?.finish(at, trial)
  } finally {
    await driver.sleep(trial.id)
  }
}

async function steps(parts: RefitParts, step: Step): Promise<void> {
  const { driver, engine, service, upgrade } = parts
  const { refit } = driver
  const way = engine.upgrade
  if (!refit || !way || way.can(upgrade.from) !== 'able') throw fail('upgrade_tools_missing', { from: upgrade.from, to: upgrade.to })
  await step('copy')
  await refit.stage(service.volume, upgrade.volume, way.files)
  for (const one of way.steps(upgrade.from)) {
    await step(one.name)
    if (await isNeeded(driver, upgrade.volume, one)) await refit.run(upgrade.volume, one.program)
  }
  await step('write')
  await refit.unfold(upgrade.volume, NEW)
  await step('start')
  await tryOut(parts)
}

/** No outcome of the move: the server ends with its keeper, and the next one does it. */
export const endsWithServer = (error: unknown): boolean => isSovraError(error, 'keeper_gone')

/** Makes the volume of the newer major out of the service's own, which is only read, and starts it once. */
export async function refit(parts: RefitParts, step: Step): Promise<void> {
  const { from, to } = parts.upgrade
  let at = 'copy'
  try {
    await steps(parts, (name) => {
      at = name
      return step(name)
    })
  } catch (cause) {
    if (!isSovraError(cause) || cause.code === 'upgrade_tools_missing' || endsWithServer(cause)) throw cause
    throw fail('upgrade_failed', { from, to, step: at, reason: plain(cause.message) }, { cause })
  }
}
