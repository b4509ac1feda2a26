import { createWriteStream } from 'node:fs'
import { open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Archive } from '../../base/archive/read.ts'
import { fail, isSovraError } from '../../base/errors.ts'
import type { Queue } from '../../base/jobs.ts'
import type { Metrics } from '../../base/metrics.ts'
import { isS3 } from '../../base/objects/place.ts'
import type { ObjectStore } from '../../base/objects/store.ts'
import { SYSTEM } from '../../metadata/change.ts'
import { removeFact, setFact } from '../../metadata/facts.ts'
import { enqueueFirst, repeated } from '../../metadata/repeated.ts'
import { snapshotMetadata, stampOf } from '../../metadata/snapshot.ts'
import type { Control } from '../context.ts'
import { createBackup } from './create.ts'
import { createBackupIn } from './create-in.ts'
import { FAILED, SCHEDULED, type Scheduled, scheduledOf } from './state.ts'

const BACKUP = 'backup'
const SNAPSHOT = 'metadata.snapshot'
const DAY = 86_400_000
const SECOND = 1000
const PRIVATE = 0o600
const NAME = /^sovrabase-all-(\d{8}T\d{6}Z)\.tar$/

const timeOf = (stamp: string): number => Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))

/** Those beyond the number that stays and past their time; files of other names are nobody's business here. */
async function prune({ backup: { plan }, places, now }: Control, dir: string): Promise<void> {
  const store = isS3(dir) ? await places.open(dir) : null
  const names = store ? await keysOf(store) : await readdir(dir)
  const made = names
    .filter((name) => NAME.test(name))
    .sort()
    .reverse()
  for (const name of made.slice(plan.keep)) {
    const age = now() - timeOf(NAME.exec(name)?.[1] ?? '')
    if (age <= plan.keepFor) continue
    await (store ? store.remove(name) : rm(join(dir, name), { force: true }))
  }
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list('sovrabase-all-')) keys.push(key)
  return keys
}

async function makeInStore(control: Control, place: string): Promise<Scheduled> {
  const began = control.now()
  const order = { key: { recipients: control.backup.plan.recipients }, projects: null }
  const made = await createBackupIn(control, SYSTEM, order, await control.places.open(place))
  return { at: began, file: made.place, bytes: made.bytes, ms: control.now() - began }
}

/** Written under a hidden name, read once more and compared, then put in place. */
async function make(control: Control, dir: string, signal: AbortSignal): Promise<Scheduled> {
  const { plan } = control.backup
  const began = control.now()
  const name = `sovrabase-all-${stampOf(began)}.tar`
  const part = join(dir, `.${name}.part`)
  try {
    for (const left of await readdir(dir)) if (/^\.sovrabase-all-.*\.part$/.test(left)) await rm(join(dir, left), { force: true })
    const stream = await createBackup(control, SYSTEM, { key: { recipients: plan.recipients }, projects: null })
    await pipeline(stream, createWriteStream(part, { mode: PRIVATE, flush: true }), { signal })
    await (await Archive.open(part)).verify()
    await rename(part, join(dir, name))
    const folder = await open(dir)
    await folder.sync().finally(() => folder.close())
    return { at: began, file: join(dir, name), bytes: (await stat(join(dir, name))).size, ms: control.now() - began }
  } catch (cause) {
    await rm(part, { force: true }).catch(() => {})
    const code = (cause as NodeJS.ErrnoException).code
    if (isSovraError(cause) || typeof code !== 'string') throw cause
    throw fail('backup_dir_unusable', { dir, reason: code, uid: process.geteuid?.() ?? 0 }, { cause })
  }
}

interface Seen {
  scheduled: Scheduled | undefined
}

function measure(metrics: Metrics, seen: Seen) {
  metrics.gauge('sovrabase_backup_last_seconds', 'Unix time of the last scheduled backup that succeeded; 0: none', [], (gauge) =>
    gauge.set(Math.round((seen.scheduled?.at ?? 0) / SECOND)),
  )
  metrics.gauge('sovrabase_backup_size_bytes', 'Size of the last scheduled backup', [], (gauge) => gauge.set(seen.scheduled?.bytes ?? 0))
  return metrics.counter('sovrabase_backup_failures_total', 'Scheduled backups that failed')
}

function handleBackups(control: Control, queue: Queue, dir: string, metrics: Metrics, seen: Seen): void {
  const failures = measure(metrics, seen)
  queue.handle(
    BACKUP,
    repeated(async (_job, signal) => {
      try {
        const made = isS3(dir) ? await makeInStore(control, dir) : await make(control, dir, signal)
        await prune(control, dir)
        seen.scheduled = made
        await control.metadata.transaction(async (trx) => {
          await setFact(trx, SCHEDULED, made)
          await removeFact(trx, FAILED)
        })
        return { again_at: made.at + control.backup.plan.every }
      } catch (error) {
        if (signal.aborted) throw error
        failures.inc()
        const reason = isSovraError(error) ? error.message : 'see the server log'
        control.log.error({ err: error }, 'a scheduled backup failed')
        await control.metadata.transaction((trx) => setFact(trx, FAILED, { at: control.now(), reason }))
        throw error
      }
    }),
  )
}

function handleSnapshots({ backup: { copyMetadata, snapshots, plan }, now }: Control, queue: Queue): boolean {
  queue.handle(
    SNAPSHOT,
    repeated(async () => {
      if (plan.snapshots === 0) return undefined
      await snapshotMetadata(copyMetadata, { dir: snapshots, label: 'daily', keep: plan.snapshots, now: now() })
      return { again_at: now() + DAY }
    }),
  )
  return plan.snapshots > 0
}

/** Backups by the clock, where a directory is configured, and the daily copy of the metadata. Call before the queue starts. */
export async function startBackups(control: Control, queue: Queue, metrics: Metrics): Promise<void> {
  const { plan } = control.backup
  const seen: Seen = { scheduled: await scheduledOf(control.db) }
  const snapshots = handleSnapshots(control, queue)
  if (plan.dir !== null) handleBackups(control, queue, plan.dir, metrics, seen)
  if (snapshots) await enqueueFirst(control.metadata, queue, { kind: SNAPSHOT, key: 'metadata' })
  const due = Math.max(control.now(), (seen.scheduled?.at ?? 0) + plan.every)
  if (plan.dir !== null) await control.metadata.transaction((trx) => queue.enqueue(trx, { kind: BACKUP, key: 'installation', due_at: due }))
}
