import { isSovraError } from '../../base/errors.ts'
import type { Queue } from '../../base/jobs.ts'
import { enqueueFirst, repeated } from '../../metadata/repeated.ts'
import { pruneProject } from '../../runtime/archive/prune.ts'
import type { Control } from '../context.ts'

const PRUNE = 'archive.prune'
const DAY = 86_400_000
const HOUR = 3_600_000
/** Days that the archive of a purged project stays: its own settings are gone with it. */
const KEPT = 7

/** Everything of archives that is past its days: of living projects by their settings, of purged ones in the installation's place. */
export async function pruneArchives(control: Control): Promise<number> {
  const { db, archiver, places, log } = control
  let removed = 0
  const rows = await db.selectFrom('settings').select('scope').where('section', '=', 'backup').where('scope', '!=', 'platform').execute()
  for (const { scope } of rows) {
    try {
      removed += await archiver.prune(scope)
    } catch (error) {
      if (!isSovraError(error, 'archive_store_missing')) log.warn({ err: error, project: scope }, 'could not thin out an archive')
    }
  }
  const store = await places.common()
  if (!store) return removed
  const purged = await db.selectFrom('projects').select('ref').where('state', '=', 'purged').execute()
  for (const { ref } of purged) removed += await pruneProject(store, ref, control.now() - KEPT * DAY, true)
  return removed
}

/** Once a day. Call before the queue starts. */
export async function startPruning(control: Control, queue: Queue): Promise<void> {
  queue.handle(
    PRUNE,
    repeated(async () => {
      await pruneArchives(control)
      return { again_at: control.now() + DAY }
    }),
  )
  await enqueueFirst(control.metadata, queue, { kind: PRUNE, key: 'archives', due_at: control.now() + HOUR })
}
