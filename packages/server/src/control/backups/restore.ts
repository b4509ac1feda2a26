import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { type ProjectRecord, RECORD, type ServiceRecord, uploadMember } from '../../base/archive/format.ts'
import { NO_ROOM, PackedTar } from '../../base/archive/pour.ts'
import { parsedAs, SHAPES } from '../../base/archive/schemas.ts'
import { type TarMember, tarMembers } from '../../base/archive/tar.ts'
import { fail } from '../../base/errors.ts'
import { randomToken, uuid } from '../../base/ids.ts'
import type { Actor, Change } from '../../metadata/change.ts'
import { createProjectKeys } from '../../realms/api-keys.ts'
import { OWNER } from '../../runtime/engines/postgres/names.ts'
import { reconcileJob } from '../../runtime/reconcile.ts'
import type { Control } from '../context.ts'
import { limitsOf } from '../organisations/limits.ts'
import { insertProject } from '../projects/store.ts'
import { refuseFull, specOf } from '../projects/verbs.ts'
import { inSpool, underWay } from './place.ts'
import { writeKeys, writeSettings } from './record.ts'

export interface RestoreOrder {
  /** Id or name; undefined: the one that it belonged to, by name. */
  readonly organisation?: string
  /** A new project of this name, with keys of its own, instead of the one that it was. */
  readonly name?: string
}

/** Volumes of restores begin so: one that no service names was left by a killed restore. */
export const VOLUME_PREFIX = 'restore-'
const WHERE = 'the upload'
const RECORD_LIMIT = 16 << 20
const SECRET_BYTES = 24

async function readUploaded({ name, size, body }: TarMember): Promise<ProjectRecord> {
  if (name !== RECORD || size > RECORD_LIMIT) throw fail('backup_foreign', { file: WHERE, reason: `it does not begin with ${RECORD}` })
  const parts: Buffer[] = []
  for await (const part of body) parts.push(part)
  return parsedAs<ProjectRecord>(SHAPES.record, Buffer.concat(parts).toString(), { file: WHERE, member: RECORD })
}

async function targetOf({ db }: Control, wanted: string): Promise<string> {
  const row = await db
    .selectFrom('organisations')
    .select('id')
    .where((eb) => eb.or([eb('id', '=', wanted), eb('name', '=', wanted)]))
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  if (!row) throw fail('restore_organisation_unknown', { name: wanted })
  return row.id
}

/** A ref comes back once: while its project lives, or lies in the trash, it is not overwritten. */
async function refuseLiving(db: Control['db'], ref: string): Promise<void> {
  const row = await db.selectFrom('projects').select('name').where('ref', '=', ref).where('state', '!=', 'purged').executeTakeFirst()
  if (row) throw fail('restore_project_exists', { ref, name: row.name })
}

/** What is unpacked may be any number of times what was sent: what runs keeps its room. */
const roomOf = ({ space, backup }: Control) => ({ dir: backup.spool, keep: space.state().reserve })

/** Unpacks one service while it comes in; what came is measured against what the backup's manifest says. */
async function lay(control: Control, service: ServiceRecord, { body }: TarMember, volume: string): Promise<void> {
  const hash = createHash('sha256')
  async function* measured(): AsyncGenerator<Buffer> {
    for await (const chunk of body) {
      hash.update(chunk)
      yield chunk
    }
  }
  const damaged = (cause?: unknown) => fail('backup_damaged', { file: WHERE, member: uploadMember(service.name) }, { cause })
  await control.bases.lay(control.driver, volume, new PackedTar(measured(), roomOf(control))).catch((error: NodeJS.ErrnoException) => {
    if (error.code === NO_ROOM) throw fail('disk_low', {}, { cause: error })
    throw error.code?.startsWith('ZSTD_') ? damaged(error) : error
  })
  if (hash.digest('hex') !== service.sha256) throw damaged()
}

/**
 * Restores one project from `project.json` and its services' tars. All data is there before anything is written to the metadata: a restore
 * that is killed leaves no trace but volumes that the next start removes. Answers the ref.
 */
export async function restoreProjectFrom(control: Control, actor: Actor, source: Readable, order: RestoreOrder): Promise<string> {
  const members = tarMembers(source, WHERE)
  const first = await members.next()
  if (first.done) throw fail('backup_truncated', { file: WHERE })
  const record = await readUploaded(first.value)
  const organisation = await targetOf(control, order.organisation ?? record.organisation.name)
  if (order.name === undefined) await refuseLiving(control.db, record.ref)
  await checkSpecs(control, record, organisation)
  const id = uuid().replaceAll('-', '')
  // Named there until the end: a server that takes over meanwhile leaves its volumes.
  return await inSpool(control.backup, id, () => restoreInto(control, actor, { id, record, members, organisation, name: order.name }))
}

interface Restoring {
  readonly id: string
  readonly record: ProjectRecord
  readonly members: AsyncIterable<TarMember>
  readonly organisation: string
  readonly name: string | undefined
}

async function restoreInto(control: Control, actor: Actor, { id, record, members, organisation, name }: Restoring): Promise<string> {
  const volumes = new Map<string, string>()
  try {
    for await (const member of members) {
      const service = record.services.find((one) => uploadMember(one.name) === member.name)
      if (!service || volumes.has(service.name)) throw fail('backup_damaged', { file: WHERE, member: member.name })
      const volume = `${VOLUME_PREFIX}${id}${volumes.size === 0 ? '' : `-${volumes.size}`}`
      volumes.set(service.name, volume)
      await lay(control, service, member, volume)
    }
    for (const one of record.services) if (one.sha256 !== null && !volumes.has(one.name)) throw fail('backup_truncated', { file: WHERE })
    return await control.change(actor, (change) => write(control, change, record, { organisation, volumes, name }))
  } catch (error) {
    for (const volume of volumes.values()) await control.bases.drop(control.driver, volume).catch(() => {})
    throw error
  }
}

async function checkSpecs(control: Control, { services }: ProjectRecord, organisation: string): Promise<void> {
  const limits = await limitsOf(control.db, organisation, control.organisationLimits)
  for (const { name, engine, spec } of services) specOf(control, { name, given: { ...(spec as object), engine }, limits })
}

interface Target {
  readonly organisation: string
  readonly volumes: ReadonlyMap<string, string>
  readonly name: string | undefined
}

async function write(control: Control, change: Change, record: ProjectRecord, { organisation, volumes, name }: Target): Promise<string> {
  await refuseFull(control, change, organisation)
  // Another restore of it may have come first while this one unpacked.
  if (name === undefined) await refuseLiving(change.trx, record.ref)
  const made = { organisation, name: name ?? record.name, region: control.node.region, labels: record.labels }
  const ref = await insertProject(change, name === undefined ? { ...made, ref: record.ref } : made, change.now)
  if (name === undefined) await writeKeys(change, control, record)
  else await createProjectKeys(change, control.vault, ref, change.now, change.actor.kind === 'system' ? null : change.actor.id)
  await writeSettings(change, control, ref, record)
  for (const service of record.services)
    await writeService(control, change, service, { ref, volume: volumes.get(service.name), fresh: name !== undefined })
  for (const event of ['key.changed', 'settings.changed', 'project.recovered'] as const)
    await change.event({ name: event, subject: ref, project_ref: ref, organisation_id: organisation })
  return ref
}

interface Place {
  readonly ref: string
  readonly volume: string | undefined
  /** A project of its own: its owner's password is none that anybody knows of the other. */
  readonly fresh: boolean
}

async function writeService(control: Control, change: Change, service: ServiceRecord, { ref, volume, fresh }: Place): Promise<void> {
  const { driver, node } = control
  const { name, engine: engineName, spec, secrets } = service
  const where = { project: ref, name, driver, region: node.region, node: node.id, spec }
  if (volume === undefined) {
    const engine = control.engines.get(engineName)
    if (!engine) throw fail('engine_unknown', { name: engineName, known: [...control.engines.keys()].join(', ') })
    const id = await control.services.insert(change.trx, { ...where, engine })
    await change.job(reconcileJob({ id, node: node.id }))
    return
  }
  const owner: Record<string, string> = fresh && Object.hasOwn(secrets, OWNER) ? { [OWNER]: randomToken(SECRET_BYTES) } : {}
  await control.services.insertRestored(change.trx, {
    ...where,
    engine: engineName,
    volume,
    secrets: { ...secrets, ...owner },
    engineVersion: service.engine_version,
    systemVersion: service.system_version,
  })
}

/** Removes volumes that a killed restore has left. */
export async function sweepRestores(control: Control): Promise<void> {
  // In this order: what ends meanwhile is in one of them.
  const volumes = await control.bases.volumes(control.driver)
  const busy = [...(await underWay(control.backup))].map((id) => `${VOLUME_PREFIX}${id}`)
  const known = new Set((await control.db.selectFrom('services').select('volume').execute()).map((row) => row.volume))
  for (const volume of volumes)
    if (volume.startsWith(VOLUME_PREFIX) && !known.has(volume) && !busy.some((begin) => volume.startsWith(begin)))
      await control.bases.drop(control.driver, volume)
}
