import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id, Page, PageQuery } from '@sovrabase/contract/common'
import { Invitation, InvitationCreate, InvitationWithLink } from '@sovrabase/contract/member'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { actorOf, callerOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { limitOf, pageOf, positionOf, time } from '../pages.ts'
import { needProject } from '../projects/store.ts'
import { refuseTooHigh } from './owners.ts'
import { insertInvitation, listInvitations, revokeInvitation } from './store.ts'

const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })
const MemberParams = Type.Object({ organisation: Type.String({ maxLength: 63 }), id: Id })

type InvitationRow = Awaited<ReturnType<typeof listInvitations>>[number]

const invitationView = (row: Pick<InvitationRow, 'id' | 'role' | 'email' | 'project_ref' | 'created_at' | 'expires_at'>) => ({
  id: row.id,
  role: row.role,
  email: row.email,
  project: row.project_ref,
  created_at: time(row.created_at),
  expires_at: time(row.expires_at),
})

/** Invitations of an organisation. */
export const invitationRoutes =
  ({ db, change, now, addressing }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
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
      {
        config: { action: 'invitation:list', resource: 'organisation' },
        schema: { params: Params, querystring: Type.Object(PageQuery), response: { 200: Page(Invitation) } },
      },
      async (request) => {
        const limit = limitOf(request.query)
        const after = positionOf(request.query, ['string'])
        const rows = await listInvitations(db, organisationOf(request), now(), {
          limit: limit + 1,
          ...(after ? { after: String(after[0]) } : {}),
        })
        return pageOf(rows, limit, (row) => [row.id], invitationView)
      },
    )

    app.delete(
      '/organisations/:organisation/invitations/:id',
      { config: { action: 'invitation:revoke', resource: 'organisation' }, schema: { params: MemberParams } },
      async (request, reply) => {
        await change(actorOf(request), (c) => revokeInvitation(c, organisationOf(request), request.params.id, now()))
        return reply.code(204).send()
      },
    )
  }
