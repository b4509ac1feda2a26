import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
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

/** Removes what a killed run has left. */
export const clearSpool = ({ spool }: BackupPlace): Promise<void> => rm(spool, { recursive: true, force: true })

/** A directory of its own for the time of `work`. */
export async function inSpool<R>({ spool }: BackupPlace, id: string, work: (dir: string) => Promise<R>): Promise<R> {
  const dir = join(spool, id)
  await mkdir(dir, { recursive: true, mode: PRIVATE })
  try {
    return await work(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
