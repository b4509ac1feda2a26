import { createReadStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, type Readable } from 'node:stream'
import {
  FORMAT,
  HEADER,
  type Header,
  IDENTITY,
  INSTALLATION,
  type ManifestProject,
  METADATA,
  projectMember,
  type ServiceRecord,
  serviceMember,
  VERSION,
} from '../../base/archive/format.ts'
import { newIdentity, type SealWith, seal, sealInThread } from '../../base/archive/seal.ts'
import { Spooler } from '../../base/archive/spool.ts'
import { ArchiveWriter, type Spooled, spool } from '../../base/archive/write.ts'
import { fail, isSovraError } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import type { Actor } from '../../metadata/change.ts'
import { setFact } from '../../metadata/facts.ts'
import type { Service } from '../../runtime/services.ts'
import type { Control } from '../context.ts'
import { time } from '../pages.ts'
import { type Project, projectByRef } from '../projects/store.ts'
import { inSpool } from './place.ts'
import { readRecord } from './record.ts'
import { LAST } from './state.ts'

export interface BackupOrder {
  readonly key: SealWith
  /** null: the whole installation. */
  readonly projects: readonly string[] | null
}

interface SpooledService {
  readonly record: ServiceRecord
  readonly awake: boolean
  readonly file: string | null
  readonly spooled: Spooled | null
}

interface SpooledProject {
  readonly project: Project
  readonly services: readonly SpooledService[]
}

interface Spooling {
  readonly dir: string
  readonly out: PassThrough
  readonly spooler: Spooler
  /** Asked for by its name: a backup without it is none. */
  readonly named: boolean
}

/** Projects that are read before the one that is being sent. */
const AHEAD = 2

/**
 * A backup as a stream (base/archive/format.ts). What can be refused is refused before it begins; a stream that breaks off has no end.
 * `backup_unsealed`, `backup_key_malformed`, `not_found`.
 */
export async function createBackup(control: Control, actor: Actor, { key, projects: wanted }: BackupOrder): Promise<Readable> {
  if (key.passphrase === undefined && (key.recipients ?? []).length === 0) throw fail('backup_unsealed')
  const projects = await projectsOf(control, wanted)
  const { identity, recipient } = await newIdentity()
  const sealed = await sealInThread(identity, key)
  const id = uuid()
  const header: Header = {
    format: FORMAT,
    version: VERSION,
    id,
    created_at: time(control.now()),
    scope: wanted === null ? 'installation' : 'projects',
    server_version: control.version,
  }
  const out = new PassThrough({ highWaterMark: 1 << 20 })
  out.on('error', () => {})
  const toIdentity = (value: unknown) => seal(JSON.stringify(value), { recipients: [recipient] })
  void inSpool(control.backup, id, async (dir) => {
    const archive = new ArchiveWriter(out, control.now())
    await archive.bytes(HEADER, Buffer.from(JSON.stringify(header)))
    await archive.bytes(IDENTITY, sealed)
    if (wanted === null) {
      await archive.bytes(INSTALLATION, await toIdentity(control.backup.installation()))
      const file = join(dir, 'metadata')
      await archive.file(METADATA, file, await copyMetadata(control, dir, file))
    }
    const listed: ManifestProject[] = []
    const spooler = new Spooler()
    try {
      for await (const spooled of ahead(projects, (project) =>
        spoolProject(control, project, { dir, out, spooler, named: wanted !== null }),
      )) {
        if (spooled) listed.push(await send(control, archive, spooled, toIdentity))
      }
    } finally {
      await spooler.close()
    }
    await archive.end(listed, identity)
    const what = { id, scope: header.scope, projects: listed.length }
    const only = wanted?.length === 1 ? { project_ref: wanted[0]! } : {}
    await control.change(actor, async (c) => {
      if (wanted === null) await setFact(c.trx, LAST, c.now)
      await c.event({ name: 'backup.created', subject: id, after: what, ...only })
    })
  }).catch((error: Error) => {
    if (!isSovraError(error, 'backup_reader_gone')) control.log.error({ err: error, backup: id }, 'a backup was broken off')
    out.destroy(error)
  })
  return out
}

async function projectsOf({ db }: Control, wanted: readonly string[] | null): Promise<Project[]> {
  let query = db.selectFrom('projects').selectAll().where('state', '!=', 'purged').orderBy('created_at').orderBy('ref')
  if (wanted) query = query.where('ref', 'in', [...wanted])
  const found = await query.execute()
  if (wanted && found.length < new Set(wanted).size) throw fail('not_found')
  return found
}

async function copyMetadata({ backup }: Control, dir: string, file: string): Promise<Spooled> {
  const plain = join(dir, 'metadata.sqlite')
  await backup.copyMetadata(plain)
  const spooled = await spool(createReadStream(plain), file)
  await rm(plain)
  return spooled
}

/** Results in order, a few begun ahead. */
async function* ahead<T, R>(items: readonly T[], work: (item: T) => Promise<R>): AsyncGenerator<R> {
  const begun: Promise<R>[] = []
  let next = 0
  try {
    while (next < items.length || begun.length > 0) {
      while (next < items.length && begun.length < AHEAD) {
        const one = work(items[next++]!)
        one.catch(() => {})
        begun.push(one)
      }
      yield await begun.shift()!
    }
  } finally {
    // The directory that they write to is removed when nobody does any more.
    await Promise.allSettled(begun)
  }
}

/** Undefined: it was removed meanwhile. */
async function spoolProject(
  control: Control,
  project: Project,
  { dir, out, spooler, named }: Spooling,
): Promise<SpooledProject | undefined> {
  try {
    const services: SpooledService[] = []
    for (const { id } of await control.services.list(control.db, { projects: [project.ref] })) {
      if (out.destroyed) throw fail('backup_reader_gone')
      const service = await control.services.byId(control.db, id)
      if (service) services.push(await spoolService(control, service, { spooler, file: join(dir, service.id) }))
    }
    if (services.length === 0 && !(await projectByRef(control.db, project.ref))) throw fail('not_found')
    return { project, services }
  } catch (cause) {
    if (isSovraError(cause, 'backup_reader_gone')) throw cause
    if (!(await projectByRef(control.db, project.ref))) {
      if (named) throw fail('backup_failed', { project: project.ref, reason: 'it was removed meanwhile' }, { cause })
      return undefined
    }
    throw fail('backup_failed', { project: project.ref, reason: isSovraError(cause) ? cause.message : 'see the server log' }, { cause })
  }
}

async function spoolService(
  control: Control,
  service: Service,
  { spooler, file }: { spooler: Spooler; file: string },
): Promise<SpooledService> {
  const { name, engine, spec, volume, engineVersion, systemVersion, secrets } = service
  const record = { name, engine, spec, volume, engine_version: engineVersion, system_version: systemVersion, secrets }
  try {
    const { awake, value } = await control.bases.take(service, (tar) => spooler.spool(tar, file))
    return { record: { ...record, sha256: value.sha256 }, awake, file, spooled: value }
  } catch (error) {
    // Written, and nothing made of it yet: a restored one is made anew.
    if (!isSovraError(error, 'volume_missing') || service.observedVersion > 0) throw error
    return { record: { ...record, sha256: null }, awake: false, file: null, spooled: null }
  }
}

async function send(
  control: Control,
  archive: ArchiveWriter,
  { project, services }: SpooledProject,
  toIdentity: (value: unknown) => Promise<Buffer>,
): Promise<ManifestProject> {
  for (const { record, file, spooled } of services) {
    if (file === null || spooled === null) continue
    await archive.file(serviceMember(project.ref, record.name), file, spooled)
    await rm(file)
  }
  const record = await readRecord(
    control,
    project,
    services.map((service) => service.record),
  )
  await archive.bytes(projectMember(project.ref), await toIdentity(record))
  return {
    ref: project.ref,
    name: project.name,
    organisation: record.organisation.name,
    state: project.state,
    services: services.map(({ record: { name, engine, engine_version }, awake, spooled }) => {
      return { name, engine, engine_version, awake, bytes: spooled?.bytes ?? 0 }
    }),
  }
}
