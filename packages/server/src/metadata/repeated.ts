import type { JobHandler, NewJob, Queue } from '../base/jobs.ts'
import type { Metadata } from './open.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Work that comes back for as long as the installation lives: one at a time on all nodes, tried again within the hour, never given up. */
export const repeated = (run: JobHandler['run']): JobHandler => ({
  concurrency: 1,
  lease: MINUTE,
  maxAttempts: Number.POSITIVE_INFINITY,
  backoff: MINUTE,
  backoffMost: HOUR,
  run,
})

/** Queues the first of its kind; one that waits or runs keeps its time. */
export async function enqueueFirst(metadata: Metadata, queue: Queue, job: NewJob): Promise<void> {
  const waiting = await metadata.kysely
    .selectFrom('jobs')
    .select('id')
    .where('kind', '=', job.kind)
    .where('state', 'in', ['queued', 'running'])
    .executeTakeFirst()
  if (!waiting) await metadata.transaction((trx) => queue.enqueue(trx, job))
}
