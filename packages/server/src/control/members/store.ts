import type { Kysely, Transaction } from 'kysely'
import { sha256 } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { randomToken, uuid } from '../../base/ids.ts'
import type { Change } from '../../metadata/change.ts'
import type { Tables } from '../../metadata/tables.ts'
import { lockOrganisation, organisationById } from '../organisations/store.ts'

type Reader = Kysely<Tables> | Transaction<Tables>

/** Each may what the one before it may, and more. */
const RANKS = ['billing', 'viewer', 'developer', 'admin', 'owner']
const rank = (role: string): number => RANKS.indexOf(role)

export interface Binding {
  readonly organisation: string
  /** null: the whole organisation. */
  readonly project: string | null
  readonly user: string
  readonly role: string
}

/** Raises the binding that the user may have there already, and never lowers it. */
export async function insertMembership(change: Change, binding: Binding, now: number): Promise<string> {
  const existing = await bindingOf(change.trx, binding)
  if (existing) {
    if (rank(binding.role) > rank(existing.role)) await setRole(change, existing.id, binding.role, now)
    return existing.id
  }
  const id = uuid()
  await change.trx
    .insertInto('memberships')
    .values({
      id,
      organisation_id: binding.organisation,
      user_id: binding.user,
      project_ref: binding.project,
      role: binding.role,
      created_at: now,
      updated_at: now,
    })
    .execute()
  await change.event({
    name: 'member.added',
    subject: id,
    organisation_id: binding.organisation,
    ...(binding.project === null ? {} : { project_ref: binding.project }),
    after: { user: binding.user, role: binding.role },
  })
  return id
}

const bindingOf = (db: Reader, { organisation, project, user }: Omit<Binding, 'role'>) =>
  db
    .selectFrom('memberships')
    .selectAll()
    .where('organisation_id', '=', organisation)
    .where('user_id', '=', user)
    .where('project_ref', project === null ? 'is' : '=', project)
    .executeTakeFirst()

export const membershipById = (db: Reader, id: string) => db.selectFrom('memberships').selectAll().where('id', '=', id).executeTakeFirst()

/** With the address of each. */
export const listMemberships = (db: Reader, organisation: string, options: { limit: number; after?: string }) => {
  let query = db
    .selectFrom('memberships')
    .innerJoin('auth_users', 'auth_users.id', 'memberships.user_id')
    .select(['memberships.id', 'user_id', 'project_ref', 'memberships.role', 'memberships.created_at', 'auth_users.email'])
    .where('organisation_id', '=', organisation)
    .orderBy('memberships.id')
    .limit(options.limit)
  if (options.after !== undefined) query = query.where('memberships.id', '>', options.after)
  return query.execute()
}

/** An organisation keeps at least one owner. */
async function refuseLastOwner(
  trx: Transaction<Tables>,
  membership: { id: string; organisation_id: string; project_ref: string | null; role: string },
) {
  if (membership.role !== 'owner' || membership.project_ref !== null) return
  await lockOrganisation(trx, membership.organisation_id)
  const other = await trx
    .selectFrom('memberships')
    .select('id')
    .where('organisation_id', '=', membership.organisation_id)
    .where('role', '=', 'owner')
    .where('project_ref', 'is', null)
    .where('id', '!=', membership.id)
    .executeTakeFirst()
  if (!other) throw fail('last_owner')
}

export async function setRole(change: Change, id: string, role: string, now: number): Promise<void> {
  const before = await membershipById(change.trx, id)
  if (!before) throw fail('not_found')
  if (before.role === role) return
  await refuseLastOwner(change.trx, before)
  if (rank(role) < rank(before.role)) await withdrawInvitations(change, before, now)
  await change.trx.updateTable('memberships').set({ role, updated_at: now }).where('id', '=', id).execute()
  await change.event({
    name: 'member.updated',
    subject: id,
    organisation_id: before.organisation_id,
    before: { user: before.user_id, role: before.role },
    after: { user: before.user_id, role },
  })
}

/** What somebody offered who may not any more is void: else it would be their own way back. */
async function withdrawInvitations(change: Change, of: { organisation_id: string; user_id: string }, now: number): Promise<void> {
  const open = await change.trx
    .selectFrom('invitations')
    .select('id')
    .where('organisation_id', '=', of.organisation_id)
    .where('invited_by', '=', of.user_id)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .execute()
  for (const { id } of open) await revokeInvitation(change, of.organisation_id, id, now)
}

export async function removeMembership(change: Change, id: string): Promise<void> {
  const before = await membershipById(change.trx, id)
  if (!before) throw fail('not_found')
  await refuseLastOwner(change.trx, before)
  await withdrawInvitations(change, before, change.now)
  await change.trx.deleteFrom('memberships').where('id', '=', id).execute()
  await change.event({
    name: 'member.removed',
    subject: id,
    organisation_id: before.organisation_id,
    before: { user: before.user_id, role: before.role },
  })
}

export interface NewInvitation {
  readonly organisation: string
  readonly project: string | null
  readonly role: string
  readonly email: string | null
  readonly invitedBy: string
}

const INVITATION_LIFE = 7 * 24 * 3_600_000

/** The text goes into a link; only its hash is kept. */
export async function insertInvitation(
  change: Change,
  invitation: NewInvitation,
  now: number,
): Promise<{ id: string; text: string; expiresAt: number }> {
  const id = uuid()
  const text = randomToken(32)
  const expiresAt = now + INVITATION_LIFE
  await change.trx
    .insertInto('invitations')
    .values({
      id,
      organisation_id: invitation.organisation,
      project_ref: invitation.project,
      role: invitation.role,
      email: invitation.email,
      token_hash: sha256(text),
      invited_by: invitation.invitedBy,
      created_at: now,
      expires_at: expiresAt,
      accepted_at: null,
      accepted_by: null,
      revoked_at: null,
    })
    .execute()
  await change.event({
    name: 'invitation.created',
    subject: id,
    organisation_id: invitation.organisation,
    after: { role: invitation.role },
  })
  return { id, text, expiresAt }
}

/** Those that can still be taken up. */
export const listInvitations = (db: Reader, organisation: string, now: number, page: { limit: number; after?: string }) => {
  let query = db
    .selectFrom('invitations')
    .selectAll()
    .where('organisation_id', '=', organisation)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', now)
    .orderBy('id')
    .limit(page.limit)
  if (page.after !== undefined) query = query.where('id', '>', page.after)
  return query.execute()
}

/** A living invitation by the text of its link; `link_not_valid`. */
export async function openInvitation(db: Reader, text: string, now: number) {
  const row = await db.selectFrom('invitations').selectAll().where('token_hash', '=', sha256(text)).executeTakeFirst()
  if (!row || row.accepted_at !== null || row.revoked_at !== null || row.expires_at <= now) throw fail('link_not_valid')
  const organisation = await organisationById(db, row.organisation_id)
  if (!organisation) throw fail('link_not_valid')
  return row
}

/** `invitation_of_another` where it names an address, and not this one. */
export function refuseOther(invitation: { readonly email: string | null }, email: string | null): void {
  if (invitation.email !== null && invitation.email.trim().toLowerCase() !== email) throw fail('invitation_of_another')
}

/** Single use; makes the membership. `link_not_valid`, `invitation_of_another`. */
export async function acceptInvitation(
  change: Change,
  text: string,
  user: { readonly id: string; readonly email: string | null },
  now: number,
): Promise<void> {
  const row = await openInvitation(change.trx, text, now)
  refuseOther(row, user.email)
  await takeUp(change, row, user.id)
}

type OpenInvitation = Awaited<ReturnType<typeof openInvitation>>

async function takeUp(change: Change, row: OpenInvitation, user: string): Promise<void> {
  const { now } = change
  const taken = await change.trx
    .updateTable('invitations')
    .set({ accepted_at: now, accepted_by: user })
    .where('id', '=', row.id)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .executeTakeFirst()
  // Two at once: one of them.
  if (taken.numUpdatedRows === 0n) throw fail('link_not_valid')
  await change.event({ name: 'invitation.accepted', subject: row.id, organisation_id: row.organisation_id })
  await insertMembership(change, { organisation: row.organisation_id, project: row.project_ref, user, role: row.role }, now)
}

/** Open invitations that name this address. */
export const invitationsFor = (db: Reader, email: string, now: number) =>
  db
    .selectFrom('invitations')
    .innerJoin('organisations', 'organisations.id', 'invitations.organisation_id')
    .selectAll('invitations')
    .where('organisations.deleted_at', 'is', null)
    .where(({ fn }) => fn('lower', ['invitations.email']), '=', email)
    .where('invitations.accepted_at', 'is', null)
    .where('invitations.revoked_at', 'is', null)
    .where('invitations.expires_at', '>', now)
    .orderBy('invitations.id')
    .execute()

/** Somebody who has proved that the address is theirs takes up all that were sent to it. */
export async function acceptInvitationsFor(change: Change, user: { readonly id: string; readonly email: string | null }): Promise<void> {
  const rows = user.email === null ? [] : await invitationsFor(change.trx, user.email, change.now)
  for (const row of rows) await takeUp(change, row, user.id)
}

export async function revokeInvitation(change: Change, organisation: string, id: string, now: number): Promise<void> {
  const changed = await change.trx
    .updateTable('invitations')
    .set({ revoked_at: now })
    .where('id', '=', id)
    .where('organisation_id', '=', organisation)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .executeTakeFirst()
  if (changed.numUpdatedRows === 0n) throw fail('not_found')
  await change.event({ name: 'invitation.revoked', subject: id, organisation_id: organisation })
}
