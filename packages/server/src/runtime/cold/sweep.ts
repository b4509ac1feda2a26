import type { Queue } from '../../base/jobs.ts'
import type { Log } from '../../base/log.ts'
import type { Metadata } from '../../metadata/open.ts'
import { repeated } from '../../metadata/repeated.ts'
import type { Connector } from '../connect.ts'
import type { ServiceStore } from '../services.ts'
import type { ColdDriver } from './driver.ts'

const HOUR = 3_600_000
const SECOND = 1_000

export interface ColdOptions {
  readonly metadata: Metadata
  readonly queue: Queue
  readonly services: ServiceStore
  readonly connector: Connector
  readonly driver: ColdDriver
  readonly node: string
  /** ms that a project must have slept; 0: none is packed. */
  readonly after: number
  readonly log: Log
  readonly now?: () => number
}

const kindOf = (node: string): string => `cold/${node}`

/** Packs what has slept for long, one after the other. Answers how many, and their bytes. */
export async function packSleepers(options: ColdOptions, signal?: AbortSignal): Promise<{ count: number; bytes: number }> {
  const { metadata, services, connector, driver, node, after, log, now = Date.now } = options
  const done = { count: 0, bytes: 0 }
  const idle = await services.list(metadata.kysely, { node, status: 'asleep', untouchedSince: now() - after })
  for (const { id, project, volume, driver: name, observedVersion } of idle) {
    if (signal?.aborted) break
    if (name !== driver.name || project === '' || observedVersion === 0 || driver.packed().has(volume)) continue
    try {
      const packed = await connector.whileAsleep(id, async (service) => driver.chill(service.id, service.volume))
      if (!packed) continue
      done.count++
      done.bytes += packed.value
    } catch (error) {
      log.warn({ err: error, project }, 'could not pack a project: it stays as it is')
    }
  }
  return done
}

/** One job of this node, each hour. */
export async function startCold(options: ColdOptions): Promise<void> {
  const { metadata, queue, node, after, log, now = Date.now } = options
  const every = Math.min(HOUR, Math.max(SECOND, after))
  queue.handle(
    kindOf(node),
    repeated(async (_job, signal) => {
      // Switched off since: what is packed stays so until it is woken.
      if (after === 0) return undefined
      const { count, bytes } = await packSleepers(options, signal)
      if (count > 0) log.info({ count, bytes }, 'packed projects that slept for long')
      return { again_at: now() + every }
    }),
  )
  if (after > 0) await metadata.transaction((trx) => queue.enqueue(trx, { kind: kindOf(node), key: node }))
}
