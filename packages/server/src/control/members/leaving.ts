import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import { actorOf, callerOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { removeMembership } from './store.ts'

const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })

/** A member goes. */
export const leavingRoutes =
  ({ db, change }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
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
  }
