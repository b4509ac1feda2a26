import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Name, Page, PageQuery } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { actorOf, callerOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { insertMembership } from '../members/store.ts'
import { limitOf, pageOf, positionOf } from '../pages.ts'
import { insertOrganisation } from './store.ts'
import { Body, read, Title, view } from './view.ts'

const Create = Type.Object({ name: Name, title: Type.Optional(Title) }, { additionalProperties: false })

/** Organisations that the caller sees; new ones. */
export const organisationListRoutes =
  ({ db, change, now }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/organisations',
      {
        config: { action: 'organisation:list', resource: 'self' },
        schema: { querystring: Type.Object(PageQuery), response: { 200: Page(Body) } },
      },
      async (request) => {
        const caller = callerOf(request)
        const limit = limitOf(request.query)
        const position = positionOf(request.query, ['string'])
        let query = db
          .selectFrom('organisations')
          .selectAll()
          .where('deleted_at', 'is', null)
          .orderBy('name')
          .limit(limit + 1)
        if (position) query = query.where('name', '>', String(position[0]))
        if (!caller.admin) query = query.where('id', 'in', ['', ...caller.memberships.map((membership) => membership.organisation)])
        return pageOf(await query.execute(), limit, (row) => [row.name], view)
      },
    )

    app.post(
      '/organisations',
      { config: { action: 'organisation:create', resource: 'platform' }, schema: { body: Create, response: { 201: Body } } },
      async (request, reply) => {
        const { name, title = name } = request.body
        const caller = callerOf(request)
        const id = await change(actorOf(request), async (c) => {
          const made = await insertOrganisation(c, { name, title, now: now() })
          if (caller.kind !== 'local')
            await insertMembership(c, { organisation: made, project: null, user: caller.id, role: 'owner' }, now())
          return made
        })
        reply.code(201).header('location', `/v1/organisations/${name}`)
        return view(await read(db, id))
      },
    )
  }
