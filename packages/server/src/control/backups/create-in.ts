import { verifyStream } from '../../base/archive/verify-stream.ts'
import type { ObjectStore } from '../../base/objects/store.ts'
import type { Actor } from '../../metadata/change.ts'
import { stampOf } from '../../metadata/snapshot.ts'
import type { Control } from '../context.ts'
import { type BackupOrder, createBackup } from './create.ts'

export interface MadeIn {
  readonly place: string
  readonly key: string
  readonly bytes: number
  readonly projects: number
}

/** As the command names files: by what they hold and when they were made. */
export const backupKey = (what: 'all' | 'projects', at: number): string => `sovrabase-${what}-${stampOf(at)}.tar`

/** A backup that the server itself writes into a store, then reads once more and compares; one that is not whole is not left there. */
export async function createBackupIn(control: Control, actor: Actor, order: BackupOrder, store: ObjectStore): Promise<MadeIn> {
  const key = backupKey(order.projects === null ? 'all' : 'projects', control.now())
  try {
    const bytes = await store.putStream(key, await createBackup(control, actor, order))
    const { projects } = await verifyStream(await store.get(key), `${store.place}/${key}`)
    return { place: `${store.place}/${key}`, key, bytes, projects: projects.length }
  } catch (error) {
    await store.remove(key).catch(() => {})
    throw error
  }
}
