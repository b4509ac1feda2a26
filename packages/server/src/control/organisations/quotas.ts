import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { actorOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { limitsOf } from './limits.ts'
import { findOrganisation, quotasOf, setQuotas } from './store.ts'

const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })
const limit = (description: string) => Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31, description }))
const QuotaBody = Type.Object(
  {
    projects: limit('0: no limit'),
    memory: limit('MiB of one cluster; 0: no limit'),
    disk: limit('MiB of one project; 0: no limit'),
    connections: limit('By the wire protocol, to one project; 0: no limit'),
  },
  { additionalProperties: false },
)

/** Limits of an organisation. */
export const quotaRoutes =
  ({ db, change, now, organisationLimits }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/organisations/:organisation/quotas',
      { config: { action: 'quota:read', resource: 'organisation' }, schema: { params: Params } },
      async (request) => {
        const id = organisationOf(request)
        const { projects, ...ofAProject } = await limitsOf(db, id, organisationLimits)
        const used = await db
          .selectFrom('projects')
          .select((eb) => eb.fn.countAll<number>().as('n'))
          .where('organisation_id', '=', id)
          .where('state', '=', 'active')
          .executeTakeFirstOrThrow()
        return { projects: { limit: projects, used: Number(used.n) }, project: ofAProject }
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
