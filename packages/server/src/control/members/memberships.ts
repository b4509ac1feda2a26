import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id, Page, PageQuery } from '@sovrabase/contract/common'
import { Member, Role } from '@sovrabase/contract/member'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import type { Change } from '../../metadata/change.ts'
import { actorOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { limitOf, pageOf, positionOf, time } from '../pages.ts'
import { refuseTooHigh } from './owners.ts'
import { listMemberships, membershipById, removeMembership, setRole } from './store.ts'

const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })
const MemberParams = Type.Object({ organisation: Type.String({ maxLength: 63 }), id: Id })

const memberView = (row: Awaited<ReturnType<typeof listMemberships>>[number]) => ({
  id: row.id,
  user: { id: row.user_id, email: row.email },
  project: row.project_ref,
  role: row.role,
  created_at: time(row.created_at),
})

/** `not_found` also for a member of another organisation. */
async function memberOf(c: Change, organisation: string, id: string) {
  const row = await membershipById(c.trx, id)
  if (row?.organisation_id !== organisation) throw fail('not_found')
  return row
}

/** Who belongs to an organisation, and as what. */
export const membershipRoutes =
  ({ db, change, now }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
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
  }
