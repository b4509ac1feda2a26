import { LABELS_MAX } from '@sovrabase/contract/common'
import type { Kysely, Selectable, Transaction } from 'kysely'
import { fail } from '../../base/errors.ts'
import { projectRef } from '../../base/ids.ts'
import type { Change } from '../../metadata/change.ts'
import type { Projects, Tables } from '../../metadata/tables.ts'
import { orNameTaken } from '../name-taken.ts'

type Reader = Kysely<Tables> | Transaction<Tables>
/** `purged` rows stay as tombstones: a ref is never used again. */
export type Project = Selectable<Projects>

export const projectByRef = (db: Reader, ref: string): Promise<Project | undefined> =>
  db.selectFrom('projects').selectAll().where('ref', '=', ref).where('state', '!=', 'purged').executeTakeFirst()

/** `not_found`. */
export async function needProject(db: Reader, ref: string): Promise<Project> {
  const row = await projectByRef(db, ref)
  if (!row) throw fail('not_found')
  return row
}

async function refuseTaken(trx: Transaction<Tables>, organisation: string, name: string): Promise<void> {
  const taken = await trx
    .selectFrom('projects')
    .select('ref')
    .where('organisation_id', '=', organisation)
    .where('name', '=', name)
    .where('state', '=', 'active')
    .executeTakeFirst()
  if (taken) throw fail('name_taken', { name })
}

export const countProjects = async (db: Reader, organisation: string): Promise<number> => {
  const { n } = await db
    .selectFrom('projects')
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .where('organisation_id', '=', organisation)
    .where('state', '=', 'active')
    .executeTakeFirstOrThrow()
  return Number(n)
}

export interface NewProject {
  readonly organisation: string
  readonly name: string
  readonly region: string
  readonly labels: Readonly<Record<string, string>>
  /** Of a project that comes back after it was removed. */
  readonly ref?: string
}

/** `name_taken`; answers the ref. */
export async function insertProject(change: Change, project: NewProject, now: number): Promise<string> {
  const { organisation, name, region, labels, ref = projectRef() } = project
  await refuseTaken(change.trx, organisation, name)
  if (project.ref !== undefined) await change.trx.deleteFrom('projects').where('ref', '=', ref).where('state', '=', 'purged').execute()
  await orNameTaken(
    name,
    change.trx
      .insertInto('projects')
      .values({
        ref,
        organisation_id: organisation,
        name,
        region,
        labels: JSON.stringify(labels),
        state: 'active',
        version: 1,
        created_at: now,
        updated_at: now,
        deleted_at: null,
        purge_at: null,
      })
      .execute(),
  )
  await change.event({
    name: 'project.created',
    subject: ref,
    organisation_id: organisation,
    project_ref: ref,
    after: { name, region, labels },
  })
  return ref
}

export const labelsOf = (project: Project): Record<string, string> => JSON.parse(project.labels) as Record<string, string>

/** Merge patch (RFC 7396): a label of null goes. `name_taken`, `version_conflict`, `project_deleted`. */
export async function updateProject(
  change: Change,
  ref: string,
  patch: { name?: string; labels?: Record<string, string | null> },
  options: { version?: number; now: number },
): Promise<void> {
  const before = await needProject(change.trx, ref)
  if (before.state !== 'active') throw fail('project_deleted')
  if (options.version !== undefined && options.version !== before.version) throw fail('version_conflict')
  if (patch.name !== undefined && patch.name !== before.name) await refuseTaken(change.trx, before.organisation_id, patch.name)
  const merged: [string, string | null][] = Object.entries({ ...labelsOf(before), ...patch.labels })
  const after = { name: patch.name ?? before.name, labels: Object.fromEntries(merged.filter(([, value]) => value !== null)) }
  if (Object.keys(after.labels).length > LABELS_MAX) throw fail('invalid_request', { reason: `a project has ${LABELS_MAX} labels at most` })
  await orNameTaken(
    after.name,
    change.trx
      .updateTable('projects')
      .set({ name: after.name, labels: JSON.stringify(after.labels), version: before.version + 1, updated_at: options.now })
      .where('ref', '=', ref)
      .execute(),
  )
  await change.event({
    name: 'project.updated',
    subject: ref,
    organisation_id: before.organisation_id,
    project_ref: ref,
    before: { name: before.name, labels: labelsOf(before) },
    after,
  })
}

/** Recoverable until `purgeAt`. */
export async function markDeleted(change: Change, ref: string, purgeAt: number, now: number): Promise<void> {
  const before = await needProject(change.trx, ref)
  if (before.state !== 'active') throw fail('project_deleted')
  await change.trx
    .updateTable('projects')
    .set({ state: 'deleted', deleted_at: now, purge_at: purgeAt, updated_at: now, version: before.version + 1 })
    .where('ref', '=', ref)
    .execute()
  await change.event({ name: 'project.deleted', subject: ref, organisation_id: before.organisation_id, project_ref: ref })
}

/** Under its own name, or another where that was taken meanwhile. */
export async function markRestored(change: Change, ref: string, name: string | undefined, now: number): Promise<void> {
  const before = await needProject(change.trx, ref)
  if (before.state !== 'deleted') throw fail('project_not_deleted')
  await refuseTaken(change.trx, before.organisation_id, name ?? before.name)
  await orNameTaken(
    name ?? before.name,
    change.trx
      .updateTable('projects')
      .set({ state: 'active', name: name ?? before.name, deleted_at: null, purge_at: null, updated_at: now, version: before.version + 1 })
      .where('ref', '=', ref)
      .execute(),
  )
  await change.event({ name: 'project.restored', subject: ref, organisation_id: before.organisation_id, project_ref: ref })
}

export async function markPurged(change: Change, ref: string, now: number): Promise<void> {
  const before = await needProject(change.trx, ref)
  await change.trx.updateTable('projects').set({ state: 'purged', labels: '{}', updated_at: now }).where('ref', '=', ref).execute()
  await change.event({ name: 'project.purged', subject: ref, organisation_id: before.organisation_id, project_ref: ref })
}

/** Bindings and invitations to the project alone end with the move: they were given by the former organisation. */
export async function moveProject(change: Change, ref: string, organisation: string, now: number): Promise<void> {
  const before = await needProject(change.trx, ref)
  if (before.state !== 'active') throw fail('project_deleted')
  if (before.organisation_id === organisation) return
  await refuseTaken(change.trx, organisation, before.name)
  await orNameTaken(
    before.name,
    change.trx
      .updateTable('projects')
      .set({ organisation_id: organisation, updated_at: now, version: before.version + 1 })
      .where('ref', '=', ref)
      .execute(),
  )
  await change.trx.deleteFrom('memberships').where('project_ref', '=', ref).execute()
  await change.trx.deleteFrom('invitations').where('project_ref', '=', ref).where('accepted_at', 'is', null).execute()
  await change.event({
    name: 'project.moved',
    subject: ref,
    organisation_id: organisation,
    project_ref: ref,
    before: { organisation: before.organisation_id },
    after: { organisation },
  })
}
