import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { actorOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { findOrganisation, organisationById, quotasOf, setQuotas } from './store.ts'

const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })
const QuotaBody = Type.Object(
  { projects: Type.Optional(Type.Integer({ minimum: 0, description: '0: no limit' })) },
  { additionalProperties: false },
)

/** Limits of an organisation. */
export const quotaRoutes =
  ({ db, change, now, projectsPerOrganisation }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/organisations/:organisation/quotas',
      { config: { action: 'quota:read', resource: 'organisation' }, schema: { params: Params } },
      async (request) => {
        const row = await organisationById(db, organisationOf(request))
        if (!row) throw fail('not_found')
        const used = await db
          .selectFrom('projects')
          .select((eb) => eb.fn.countAll<number>().as('n'))
          .where('organisation_id', '=', row.id)
          .where('state', '=', 'active')
          .executeTakeFirstOrThrow()
        return { projects: { limit: quotasOf(row).projects ?? projectsPerOrganisation, used: Number(used.n) } }
      },
    )

    app.patch(
      '/organisations/:organisation/quotas',
      {
        config: { action: 'quota:update', resource: 'platform' },
        schema: { params: Params, body: QuotaBody },
      },
      async (request, reply) => {
        const row = await findOrganisation(db, request.params.organisation)
        if (!row) throw fail('not_found')
        await change(actorOf(request), (c) => setQuotas(c, row.id, { ...quotasOf(row), ...request.body }, now()))
        return reply.code(204).send()
      },
    )
  }
