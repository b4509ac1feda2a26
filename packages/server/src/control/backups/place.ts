import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isAlive } from '../../base/alive.ts'
import type { Installation } from '../../base/archive/format.ts'
import type { Copier } from '../../metadata/snapshot.ts'

/** What backups need of the server beside the control API's own things; made once in node.ts. */
export interface BackupPlace {
  /** Directory for what is on its way; nothing in it outlives a start. */
  readonly spool: string
  /** File of the metadata database; null where that is a server of its own. */
  readonly metadataFile: string | null
  /** The metadata as a SQLite file, wherever it lies. */
  readonly copyMetadata: Copier
  readonly installation: () => Installation
  /** Directory for copies of the metadata. */
  readonly snapshots: string
  readonly plan: BackupPlan
}

/** `backup` of the configuration. */
interface BackupPlan {
  /** null: none are made. */
  readonly dir: string | null
  /** ms */
  readonly every: number
  readonly recipients: readonly string[]
  readonly keep: number
  /** ms */
  readonly keepFor: number
  readonly snapshots: number
}

const PRIVATE = 0o700

const OWNED = /^(\d+)-(.+)$/

/** Ids of what another process has on its way: the one that this one takes over from ends its backups and restores yet. */
export async function underWay({ spool }: BackupPlace): Promise<Set<string>> {
  const names = await readdir(spool).catch(() => [])
  return new Set(names.flatMap((name) => (ownedElsewhere(name) ? [OWNED.exec(name)?.[2] ?? ''] : [])))
}

function ownedElsewhere(name: string): boolean {
  const pid = Number(OWNED.exec(name)?.[1])
  // Of the same number was a former run's: this one has begun nothing yet.
  return Number.isSafeInteger(pid) && pid > 0 && pid !== process.pid && isAlive(pid)
}

/** Removes what a killed run has left. */
export async function clearSpool({ spool }: BackupPlace): Promise<void> {
  const names = await readdir(spool).catch(() => [])
  for (const name of names) if (!ownedElsewhere(name)) await rm(join(spool, name), { recursive: true, force: true })
}

/** A directory of its own for the time of `work`. */
export async function inSpool<R>({ spool }: BackupPlace, id: string, work: (dir: string) => Promise<R>): Promise<R> {
  const dir = join(spool, `${process.pid}-${id}`)
  await mkdir(dir, { recursive: true, mode: PRIVATE })
  try {
    return await work(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
