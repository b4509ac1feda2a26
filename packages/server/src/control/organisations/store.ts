import type { Kysely, Selectable, Transaction } from 'kysely'
import { fail } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import type { Change } from '../../metadata/change.ts'
import type { Organisations, Tables } from '../../metadata/tables.ts'
import { orNameTaken } from '../name-taken.ts'

type Reader = Kysely<Tables> | Transaction<Tables>
export type Organisation = Selectable<Organisations>

/** Limits of one organisation; what is missing has the installation's default. */
export interface Quotas {
  readonly projects?: number
  /** MiB of one cluster. */
  readonly memory?: number
  /** MiB of one project. */
  readonly disk?: number
  /** By the wire protocol, to one project. */
  readonly connections?: number
}

export const quotasOf = (organisation: Organisation): Quotas => JSON.parse(organisation.quotas) as Quotas

export const organisationById = (db: Reader, id: string): Promise<Organisation | undefined> =>
  db.selectFrom('organisations').selectAll().where('id', '=', id).where('deleted_at', 'is', null).executeTakeFirst()

/** By id or name. */
export const findOrganisation = (db: Reader, idOrName: string): Promise<Organisation | undefined> =>
  db
    .selectFrom('organisations')
    .selectAll()
    .where('deleted_at', 'is', null)
    .where(isUuid(idOrName) ? 'id' : 'name', '=', idOrName)
    .executeTakeFirst()

async function refuseTaken(trx: Transaction<Tables>, name: string): Promise<void> {
  // It would stand for the organisation of that id.
  if (isUuid(name)) throw fail('invalid_request', { reason: 'a name may not look like an id' })
  const taken = await trx
    .selectFrom('organisations')
    .select('id')
    .where('name', '=', name)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  if (taken) throw fail('name_taken', { name })
}

/** `name_taken`. */
export async function insertOrganisation(change: Change, organisation: { name: string; title: string; now: number }): Promise<string> {
  const { name, title, now } = organisation
  await refuseTaken(change.trx, name)
  const id = uuid()
  await orNameTaken(
    name,
    change.trx
      .insertInto('organisations')
      .values({ id, name, title, quotas: '{}', created_at: now, updated_at: now, deleted_at: null })
      .execute(),
  )
  await change.event({ name: 'organisation.created', subject: id, organisation_id: id, after: { name } })
  return id
}

/** `name_taken`, `not_found`. */
export async function updateOrganisation(change: Change, id: string, patch: { name?: string; title?: string }, now: number): Promise<void> {
  const before = await organisationById(change.trx, id)
  if (!before) throw fail('not_found')
  if (patch.name !== undefined && patch.name !== before.name) await refuseTaken(change.trx, patch.name)
  const after = { name: patch.name ?? before.name, title: patch.title ?? before.title }
  await orNameTaken(
    after.name,
    change.trx
      .updateTable('organisations')
      .set({ ...after, updated_at: now })
      .where('id', '=', id)
      .execute(),
  )
  await change.event({
    name: 'organisation.updated',
    subject: id,
    organisation_id: id,
    before: { name: before.name, title: before.title },
    after,
  })
}

export async function setQuotas(change: Change, id: string, quotas: Quotas, now: number): Promise<void> {
  const before = await organisationById(change.trx, id)
  if (!before) throw fail('not_found')
  await change.trx
    .updateTable('organisations')
    .set({ quotas: JSON.stringify(quotas), updated_at: now })
    .where('id', '=', id)
    .execute()
  await change.event({ name: 'quota.updated', subject: id, organisation_id: id, before: quotasOf(before), after: quotas })
}

/**
 * What is counted and then changed in an organisation (its projects, its owners) is done by one transaction at a time. An update that changes
 * nothing locks its row on every database; `not_found` when it was deleted meanwhile.
 */
export async function lockOrganisation(trx: Transaction<Tables>, id: string): Promise<void> {
  await trx
    .updateTable('organisations')
    .set((eb) => ({ updated_at: eb.ref('updated_at') }))
    .where('id', '=', id)
    .execute()
  if (!(await organisationById(trx, id))) throw fail('not_found')
}

/** Only an organisation without projects (deleted ones count until they are purged): `organisation_in_use`. */
export async function deleteOrganisation(change: Change, id: string, now: number): Promise<void> {
  await lockOrganisation(change.trx, id)
  const project = await change.trx
    .selectFrom('projects')
    .select('ref')
    .where('organisation_id', '=', id)
    .where('state', '!=', 'purged')
    .executeTakeFirst()
  if (project) throw fail('organisation_in_use')
  await change.trx.updateTable('organisations').set({ deleted_at: now, updated_at: now }).where('id', '=', id).execute()
  await change.trx.deleteFrom('memberships').where('organisation_id', '=', id).execute()
  await change.trx
    .updateTable('invitations')
    .set({ revoked_at: now })
    .where('organisation_id', '=', id)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .execute()
  await change.event({ name: 'organisation.deleted', subject: id, organisation_id: id })
}
