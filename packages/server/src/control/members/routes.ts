import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id, Page, PageQuery } from '@sovrabase/contract/common'
import { Invitation, InvitationCreate, InvitationWithLink, Member, Role } from '@sovrabase/contract/member'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import type { Change } from '../../metadata/change.ts'
import { actorOf, callerOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { limitOf, pageOf, positionOf, time } from '../pages.ts'
import { needProject } from '../projects/store.ts'
import {
  acceptInvitation,
  insertInvitation,
  listInvitations,
  listMemberships,
  membershipById,
  removeMembership,
  revokeInvitation,
  setRole,
} from './store.ts'

const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })
const MemberParams = Type.Object({ organisation: Type.String({ maxLength: 63 }), id: Id })

const memberView = (row: Awaited<ReturnType<typeof listMemberships>>[number]) => ({
  id: row.id,
  user: { id: row.user_id, email: row.email },
  project: row.project_ref,
  role: row.role,
  created_at: time(row.created_at),
})

type InvitationRow = Awaited<ReturnType<typeof listInvitations>>[number]

const invitationView = (row: Pick<InvitationRow, 'id' | 'role' | 'email' | 'project_ref' | 'created_at' | 'expires_at'>) => ({
  id: row.id,
  role: row.role,
  email: row.email,
  project: row.project_ref,
  created_at: time(row.created_at),
  expires_at: time(row.expires_at),
})

/** Only an owner of the whole organisation (or this machine's owner) makes, changes and removes owners. */
function refuseTooHigh(request: FastifyRequest, organisation: string, ...roles: string[]): void {
  const caller = callerOf(request)
  const owner =
    caller.kind === 'local' ||
    caller.memberships.some((bound) => bound.organisation === organisation && bound.project === null && bound.role === 'owner')
  if (!owner && roles.includes('owner')) throw fail('role_too_high', { role: 'owner' })
}

export const memberRoutes =
  ({ db, change, now, addressing }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    /** `not_found` also for a member of another organisation. */
    async function memberOf(c: Change, organisation: string, id: string) {
      const row = await membershipById(c.trx, id)
      if (row?.organisation_id !== organisation) throw fail('not_found')
      return row
    }

    app.get(
      '/organisations/:organisation/members',
      {
        config: { action: 'member:list', resource: 'organisation' },
        schema: { params: Params, querystring: Type.Object(PageQuery), response: { 200: Page(Member) } },
      },
      async (request) => {
        const limit = limitOf(request.query)
        const after = positionOf(request.query, ['string'])
        const rows = await listMemberships(db, organisationOf(request), { limit: limit + 1, ...(after ? { after: String(after[0]) } : {}) })
        return pageOf(rows, limit, (row) => [row.id], memberView)
      },
    )

    app.patch(
      '/organisations/:organisation/members/:id',
      {
        config: { action: 'member:update', resource: 'organisation' },
        schema: { params: MemberParams, body: Type.Object({ role: Role }, { additionalProperties: false }) },
      },
      async (request, reply) => {
        const organisation = organisationOf(request)
        const { role } = request.body
        await change(actorOf(request), async (c) => {
          const row = await memberOf(c, organisation, request.params.id)
          refuseTooHigh(request, organisation, role, row.role)
          await setRole(c, row.id, role, now())
        })
        return reply.code(204).send()
      },
    )

    app.delete(
      '/organisations/:organisation/members/:id',
      { config: { action: 'member:remove', resource: 'organisation' }, schema: { params: MemberParams } },
      async (request, reply) => {
        const organisation = organisationOf(request)
        await change(actorOf(request), async (c) => {
          const row = await memberOf(c, organisation, request.params.id)
          refuseTooHigh(request, organisation, row.role)
          await removeMembership(c, row.id)
        })
        return reply.code(204).send()
      },
    )

    app.post(
      '/organisations/:organisation/leave',
      { config: { action: 'member:leave', resource: 'self' }, schema: { params: Params } },
      async (request, reply) => {
        const caller = callerOf(request)
        const rows = await db
          .selectFrom('memberships')
          .innerJoin('organisations', 'organisations.id', 'memberships.organisation_id')
          .select('memberships.id')
          .where('user_id', '=', caller.id)
          .where('organisations.deleted_at', 'is', null)
          .where(isUuid(request.params.organisation) ? 'organisations.id' : 'organisations.name', '=', request.params.organisation)
          .execute()
        if (rows.length === 0) throw fail('not_found')
        await change(actorOf(request), async (c) => {
          for (const row of rows) await removeMembership(c, row.id)
        })
        return reply.code(204).send()
      },
    )

    app.post(
      '/organisations/:organisation/invitations',
      {
        config: { action: 'invitation:create', resource: 'organisation' },
        schema: { params: Params, body: InvitationCreate, response: { 201: InvitationWithLink } },
      },
      async (request, reply) => {
        const organisation = organisationOf(request)
        const { role, email = null, project = null } = request.body
        refuseTooHigh(request, organisation, role)
        if (project !== null && (await needProject(db, project)).organisation_id !== organisation) throw fail('not_found')
        const created = now()
        const made = await change(actorOf(request), (c) =>
          insertInvitation(c, { organisation, project, role, email, invitedBy: callerOf(request).id }, created),
        )
        reply.code(201)
        const row = { id: made.id, role, email, project_ref: project, created_at: created, expires_at: made.expiresAt }
        return { ...invitationView(row), url: `${addressing.publicUrl()}/invitation?token=${made.text}` }
      },
    )

    app.get(
      '/organisations/:organisation/invitations',
      { config: { action: 'invitation:list', resource: 'organisation' }, schema: { params: Params, response: { 200: Page(Invitation) } } },
      async (request) => ({ items: (await listInvitations(db, organisationOf(request), now())).map(invitationView), next_cursor: null }),
    )

    app.delete(
      '/organisations/:organisation/invitations/:id',
      { config: { action: 'invitation:revoke', resource: 'organisation' }, schema: { params: MemberParams } },
      async (request, reply) => {
        await change(actorOf(request), (c) => revokeInvitation(c, organisationOf(request), request.params.id, now()))
        return reply.code(204).send()
      },
    )

    app.post(
      '/invitations/accept',
      {
        config: { action: 'invitation:accept', resource: 'self' },
        schema: { body: Type.Object({ token: Type.String({ maxLength: 128 }) }, { additionalProperties: false }) },
      },
      async (request, reply) => {
        const caller = callerOf(request)
        if (caller.kind === 'local') throw fail('forbidden', { action: 'invitation:accept' })
        await change(actorOf(request), (c) => acceptInvitation(c, request.body.token, caller, now()))
        return reply.code(204).send()
      },
    )
  }
