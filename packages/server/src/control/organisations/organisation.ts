import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Name } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { actorOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { deleteOrganisation, updateOrganisation } from './store.ts'
import { Body, read, Title, view } from './view.ts'

const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })
const Patch = Type.Object({ name: Type.Optional(Name), title: Type.Optional(Title) }, { additionalProperties: false })

/** One organisation. */
export const oneOrganisationRoutes =
  ({ db, change, now }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/organisations/:organisation',
      { config: { action: 'organisation:read', resource: 'organisation' }, schema: { params: Params, response: { 200: Body } } },
      async (request) => view(await read(db, organisationOf(request))),
    )

    app.patch(
      '/organisations/:organisation',
      {
        config: { action: 'organisation:update', resource: 'organisation' },
        schema: { params: Params, body: Patch, response: { 200: Body } },
      },
      async (request) => {
        const id = organisationOf(request)
        await change(actorOf(request), (c) => updateOrganisation(c, id, request.body, now()))
        return view(await read(db, id))
      },
    )

    app.delete(
      '/organisations/:organisation',
      { config: { action: 'organisation:delete', resource: 'organisation' }, schema: { params: Params } },
      async (request, reply) => {
        await change(actorOf(request), (c) => deleteOrganisation(c, organisationOf(request), now()))
        return reply.code(204).send()
      },
    )
  }
