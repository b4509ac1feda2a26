import type { Log } from '../../../base/log.ts'
import type { Attachment } from '../../engine.ts'
import type { Service } from '../../services.ts'
import type { Admin } from './admin.ts'
import type { CatalogueHolder } from './catalogue/holder.ts'
import { secretOf } from './connections.ts'
import { EMPTY_QUOTA, NO_LIMITS, nextQuota, type QuotaState, setReadOnly, watchSessions } from './limits.ts'
import { GATEWAY } from './names.ts'
import { mendRoles } from './roles.ts'
import type { PostgresSpec } from './spec.ts'

/** Our roles are looked at in each so many rounds of `enforce`. */
const MEND_ROUNDS = 10

export interface WatchdogOptions {
  readonly service: Service<Partial<PostgresSpec>>
  readonly spec: PostgresSpec
  /** The connection that looks at sessions and roles. */
  readonly watcher: Admin
  readonly catalogue: CatalogueHolder
  readonly log: Log
}

export interface Watchdog extends Required<Pick<Attachment, 'lastActivity' | 'enforce' | 'left'>> {
  /** Over its disk quota. */
  readonly full: boolean
}

/** Holds a running cluster to what people could unset for themselves: times, disk, and the roles of the gateway. */
export function makeWatchdog({ service, spec, watcher, catalogue, log }: WatchdogOptions): Watchdog {
  let quota: QuotaState = EMPTY_QUOTA
  let round = 0

  async function measure(disk: number | undefined): Promise<void> {
    if (disk === undefined) return
    const next = nextQuota(quota, disk, spec.disk)
    if (next.full !== quota.full) await watcher.run((on) => setReadOnly(on, next.full))
    quota = next
  }

  const look = () =>
    catalogue.look().catch((error: unknown) => log.warn({ err: error, service: service.id }, 'could not look at what roles have set'))

  return {
    get full() {
      return quota.full
    },
    lastActivity: async () => (await watcher.run((on) => watchSessions(on, NO_LIMITS))).lastActivity,
    async enforce({ disk, quiet = false }) {
      await measure(disk)
      if (quiet && !quota.endWriters) return
      const limits = {
        statement: spec.wire_statement_timeout,
        idleTransaction: spec.wire_idle_transaction_timeout,
        endWriters: quota.endWriters,
      }
      const { ended } = await watcher.run((on) => watchSessions(on, limits))
      quota = { ...quota, endWriters: false }
      await look()
      if (++round % MEND_ROUNDS === 0 && (await watcher.run((on) => mendRoles(on, secretOf(service, GATEWAY)))))
        log.info({ project: service.project }, 'made the roles of the gateway anew')
      if (ended > 0) log.info({ project: service.project, sessions: ended }, 'ended what ran over its limit')
    },
    left: () => void look(),
  }
}
