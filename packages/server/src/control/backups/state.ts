import type { Kysely, Transaction } from 'kysely'
import { getFact } from '../../metadata/facts.ts'
import type { Tables } from '../../metadata/tables.ts'
import type { Control } from '../context.ts'
import { time } from '../pages.ts'

/** Facts of the installation about its backups. */
export const LAST = 'backup.last'
export const SCHEDULED = 'backup.scheduled'
export const FAILED = 'backup.failed'
export const EXPORTED = 'root_key.exported'

export interface Scheduled {
  readonly at: number
  readonly file: string
  readonly bytes: number
  readonly ms: number
}
export interface Failed {
  readonly at: number
  readonly reason: string
}

type Reader = Kysely<Tables> | Transaction<Tables>
export const scheduledOf = (db: Reader) => getFact<Scheduled>(db, SCHEDULED)

/** Intervals without a backup after which it is said loudly. */
const OLD = 2
/** ms that one may take, and then some. */
const GRACE = 600_000

export interface BackupStatus {
  readonly scheduled: boolean
  /** The last one of the whole installation that was made to its end, by whom and where to ever. */
  readonly last_at: string | null
  /** failed: the last attempt of the schedule did; old: the schedule is behind; never: there is none at all. */
  readonly problem: 'failed' | 'old' | 'never' | null
  readonly reason: string | null
  /** Whether the root key in force was exported for the safe. */
  readonly root_key_exported: boolean
}

export async function backupStatus({ db, backup: { plan }, vault, now }: Control): Promise<BackupStatus> {
  const last = await getFact<number>(db, LAST)
  const scheduled = await scheduledOf(db)
  const failed = plan.dir === null ? undefined : await getFact<Failed>(db, FAILED)
  const old = plan.dir !== null && scheduled !== undefined && now() - scheduled.at > OLD * plan.every + GRACE
  return {
    scheduled: plan.dir !== null,
    last_at: last === undefined ? null : time(last),
    problem: failed ? 'failed' : last === undefined ? 'never' : old ? 'old' : null,
    reason: failed?.reason ?? null,
    root_key_exported: (await getFact<string>(db, EXPORTED)) === vault.keyId,
  }
}

/** ms after which a change that is in no archive is said loudly. */
const LATE = 60_000

export interface ArchiveStatus {
  readonly projects: number
  /** Those whose newest changes are not safe. */
  readonly late: { readonly ref: string; readonly since: string; readonly reason: string | null }[]
}

export function archiveStatus({ archiver, now }: Control): ArchiveStatus {
  const states = archiver.states()
  const late = states.flatMap(({ ref, unstored_since, failed_at, reason }) => {
    const since = failed_at ?? unstored_since
    const isLate = since !== null && (failed_at !== null || now() - since > LATE)
    return isLate ? [{ ref, since: time(since), reason }] : []
  })
  return { projects: states.length, late }
}
