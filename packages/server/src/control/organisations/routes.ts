import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id, Name, Page, PageQuery, Time } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { actorOf, callerOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { insertMembership } from '../members/store.ts'
import { limitOf, pageOf, positionOf, time } from '../pages.ts'
import {
  deleteOrganisation,
  findOrganisation,
  insertOrganisation,
  type Organisation,
  organisationById,
  quotasOf,
  setQuotas,
  updateOrganisation,
} from './store.ts'

const Body = Type.Object({
  id: Id,
  name: Name,
  title: Type.String(),
  created_at: Time,
  updated_at: Time,
})
const Title = Type.String({ minLength: 1, maxLength: 200 })
const Create = Type.Object({ name: Name, title: Type.Optional(Title) }, { additionalProperties: false })
const Patch = Type.Object({ name: Type.Optional(Name), title: Type.Optional(Title) }, { additionalProperties: false })
const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })
const QuotaBody = Type.Object(
  { projects: Type.Optional(Type.Integer({ minimum: 0, description: '0: no limit' })) },
  { additionalProperties: false },
)

const view = (row: Organisation) => ({
  id: row.id,
  name: row.name,
  title: row.title,
  created_at: time(row.created_at),
  updated_at: time(row.updated_at),
})

export const organisationRoutes =
  ({ db, change, now, projectsPerOrganisation }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const read = async (id: string) => {
      const row = await organisationById(db, id)
      if (!row) throw fail('not_found')
      return row
    }

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
        return view(await read(id))
      },
    )

    app.get(
      '/organisations/:organisation',
      { config: { action: 'organisation:read', resource: 'organisation' }, schema: { params: Params, response: { 200: Body } } },
      async (request) => view(await read(organisationOf(request))),
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
        return view(await read(id))
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

    app.get(
      '/organisations/:organisation/quotas',
      { config: { action: 'quota:read', resource: 'organisation' }, schema: { params: Params } },
      async (request) => {
        const row = await read(organisationOf(request))
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
