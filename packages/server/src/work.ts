import type { Log } from './base/log.ts'
import type { Metrics } from './base/metrics.ts'
import type { Config } from './config.ts'
import { startPruning } from './control/backups/archive-prune.ts'
import { clearSpool } from './control/backups/place.ts'
import { sweepRestores } from './control/backups/restore.ts'
import { startBackups } from './control/backups/schedule.ts'
import type { Control } from './control/context.ts'
import { handleStatementLogs } from './control/logs/statements.ts'
import { PURGE, purgeProject } from './control/projects/verbs.ts'
import type { Foundation } from './foundation.ts'
import { SYSTEM } from './metadata/change.ts'
import { startResealing } from './metadata/reseal.ts'
import { startSweeper } from './metadata/retention.ts'
import type { Runtime } from './run.ts'
import type { ColdDriver } from './runtime/cold/driver.ts'
import { startCold } from './runtime/cold/sweep.ts'

export interface WorkParts {
  readonly config: Config
  readonly foundation: Foundation
  readonly runtime: Runtime
  readonly control: Control
  readonly metrics: Metrics
  readonly driver: ColdDriver
  /** Reads which volumes are packed. */
  readonly listPacks: () => Promise<unknown>
  readonly log: Log
}

/** Jobs that control's verbs queue. */
export function handleJobs(control: Control, { queue }: Foundation): void {
  queue.handle(PURGE, {
    run: async (job) => {
      await purgeProject(control, SYSTEM, job.key, { force: false })
      return undefined
    },
  })
  handleStatementLogs(control, queue)
}

/** What an earlier run left is cleared away, and what is done by the clock is queued. Call before the queue starts. */
export async function startWork({ config, foundation, runtime, control, metrics, driver, listPacks, log }: WorkParts): Promise<void> {
  const { metadata, queue, secrets, nodeName } = foundation
  const { events, jobs } = config.limits.retention
  await startSweeper(metadata, queue, { retention: { events, jobs_done: jobs }, log })
  await startResealing(metadata, queue, secrets.vault, log)
  await clearSpool(control.backup)
  await sweepRestores(control)
  await startBackups(control, queue, metrics)
  await startPruning(control, queue)
  await listPacks().catch((error: unknown) => log.warn({ err: error }, 'could not list packed projects: it is tried again by their wakes'))
  const { services, connector } = runtime
  await startCold({ metadata, queue, services, connector, driver, node: nodeName, after: config.disk.cold.after, log })
}
