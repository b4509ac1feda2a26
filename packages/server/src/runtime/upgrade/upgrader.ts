import { fail, isSovraError } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import { SYSTEM } from '../../metadata/change.ts'
import type { Service } from '../services.ts'
import { trialId, upgradedVolume } from './job.ts'
import { type MoveOptions, makeMove, type Run } from './move.ts'
import { endsWithServer } from './refit.ts'
import { type Upgrade, upgradeStore } from './store.ts'

export interface UpgraderOptions extends MoveOptions {
  /** All that it has committed is in its archive, where it has one. */
  readonly catchUp: (service: Service) => Promise<void>
  /** ms that what is under way may take. */
  readonly drain: number
}

export interface Upgrader {
  /** One job: moves it, or removes a volume that nobody needs. Idempotent. */
  run(id: string, signal: AbortSignal): Promise<void>
  /** The job was given up. */
  gaveUp(id: string): Promise<void>
}

/** What callers are told once their patience is over. */
const upgrading = (seconds = '5') => fail('project_upgrading', { seconds }, { headers: { 'retry-after': seconds } })

const failureOf = (error: unknown): NonNullable<Upgrade['failure']> =>
  isSovraError(error) ? { code: error.code, message: error.message } : { code: 'internal', message: 'See the server log.' }

/** Removes a volume that is, or may be, there; never the one that the service uses. */
const makeRemove = (options: Pick<UpgraderOptions, 'driver'>) => async (service: Service, volume: string) => {
  if (volume !== '' && volume !== service.volume) await options.driver(service.driver).remove(trialId(service.id), volume)
}

type Remove = ReturnType<typeof makeRemove>

/** It goes on with what it had. What cannot be removed now stays named: the next move, start or deletion does it. */
function makeFail({ change, log, now = Date.now }: UpgraderOptions, remove: Remove) {
  return async (service: Service, { id, upgrade }: { id: string | null; upgrade: Upgrade }, error: unknown): Promise<void> => {
    log.error({ err: error, service: service.id, project: service.project }, 'could not move a service to a newer major')
    const volume = await remove(service, upgrade.volume).then(
      () => '',
      (left: unknown) => {
        log.warn({ err: left, service: service.id }, 'could not remove a volume')
        return upgrade.volume
      },
    )
    const failure = failureOf(error)
    await change(SYSTEM, async (c) => {
      const ended = { state: 'failed' as const, volume, failure, now: now() }
      if (!(await upgradeStore.end(c.trx, { service: service.id, run: id }, ended))) return
      const after = { code: failure.code, from: upgrade.from, to: upgrade.to }
      await c.event({ name: 'upgrade.failed', subject: service.id, project_ref: service.project, after })
    })
  }
}

/** One move: the service stands still for it, whoever calls waits. */
function makeUpgradeOne(options: UpgraderOptions, remove: Remove, fails: ReturnType<typeof makeFail>) {
  const { metadata, connector, log, now = Date.now } = options
  const move = makeMove(options)

  async function begin(service: Service, upgrade: Upgrade): Promise<Run> {
    // Of a run before: from here on the row names another one.
    await remove(service, upgrade.volume)
    const id = uuid()
    const volume = upgradedVolume(service.volume, upgrade.to, id)
    await upgradeStore.begin(metadata.kysely, service.id, { run: id, volume })
    return { id, upgrade: { ...upgrade, volume } }
  }

  return async function upgradeOne(service: Service, upgrade: Upgrade, signal: AbortSignal): Promise<void> {
    const began = now()
    const run = await begin(service, upgrade)
    try {
      await options.catchUp(service)
      await connector.still(service.id, () => move(service.id, run, signal), { drain: options.drain, late: upgrading })
      log.info({ service: service.id, project: service.project, to: upgrade.to, ms: now() - began }, 'moved a service to a newer major')
    } catch (error) {
      // Broken off: whoever has taken it over, or the next server, does it.
      if (signal.aborted || endsWithServer(error)) throw error
      if (isSovraError(error, 'upgrade_superseded')) await remove(service, run.upgrade.volume)
      else await fails(service, run, error)
    }
  }
}

/** What it does with its row: see `UpgradeState`. A volume is named in the row before it is made, and until it is gone or the service's own. */
export function makeUpgrader(options: UpgraderOptions): Upgrader {
  const { metadata, services } = options
  const db = metadata.kysely
  const remove = makeRemove(options)
  const fails = makeFail(options, remove)
  const upgradeOne = makeUpgradeOne(options, remove, fails)

  return {
    async run(id, signal) {
      const upgrade = await upgradeStore.of(db, id)
      const service = await services.byId(db, id)
      if (!upgrade || !service) return
      const { state, volume } = upgrade
      if (state === 'wanted' || state === 'running') return await upgradeOne(service, upgrade, signal)
      if (state === 'kept') return
      await remove(service, volume)
      await upgradeStore.removed(db, id, volume)
    },
    async gaveUp(id) {
      const upgrade = await upgradeStore.of(db, id)
      const service = await services.byId(db, id)
      if (!service || (upgrade?.state !== 'wanted' && upgrade?.state !== 'running')) return
      const { run, from, to, step } = upgrade
      const reason = 'the server ended again and again'
      await fails(service, { id: run, upgrade }, fail('upgrade_failed', { from, to, step: step ?? 'copy', reason }))
    },
  }
}
