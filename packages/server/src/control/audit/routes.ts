import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Page, PageQuery, Ref, Time } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { organisationOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { limitOf, pageOf, positionOf, time } from '../pages.ts'

const Event = Type.Object({
  id: Type.String(),
  name: Type.String(),
  actor: Type.String(),
  actor_kind: Type.String(),
  organisation: Type.Union([Type.String(), Type.Null()]),
  project: Type.Union([Type.String(), Type.Null()]),
  subject: Type.Union([Type.String(), Type.Null()]),
  before: Type.Unknown(),
  after: Type.Unknown(),
  ip: Type.Union([Type.String(), Type.Null()]),
  request_id: Type.Union([Type.String(), Type.Null()]),
  created_at: Time,
})

const Query = Type.Object({ ...PageQuery, name: Type.Optional(Type.String({ maxLength: 64, description: 'As project.created' })) })
const parsed = (json: string | null): unknown => (json === null ? null : JSON.parse(json))

/** The audit log, newest first. */
export const auditRoutes =
  ({ db }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    async function read(
      of: { column: 'organisation_id' | 'project_ref'; value: string },
      query: { limit?: number; cursor?: string; name?: string },
    ) {
      const limit = limitOf(query)
      const after = positionOf(query, ['number'])
      let select = db
        .selectFrom('events')
        .selectAll()
        .where(of.column, '=', of.value)
        .orderBy('seq', 'desc')
        .limit(limit + 1)
      if (after) select = select.where('seq', '<', Number(after[0]))
      if (query.name !== undefined) select = select.where('name', '=', query.name)
      return pageOf(
        await select.execute(),
        limit,
        (row) => [row.seq],
        (row) => ({
          id: row.id,
          name: row.name,
          actor: row.actor,
          actor_kind: row.actor_kind,
          organisation: row.organisation_id,
          project: row.project_ref,
          subject: row.subject,
          before: parsed(row.before),
          after: parsed(row.after),
          ip: row.ip,
          request_id: row.request_id,
          created_at: time(row.created_at),
        }),
      )
    }

    app.get(
      '/organisations/:organisation/events',
      {
        config: { action: 'event:list', resource: 'organisation' },
        schema: {
          params: Type.Object({ organisation: Type.String({ maxLength: 63 }) }),
          querystring: Query,
          response: { 200: Page(Event) },
        },
      },
      (request) => read({ column: 'organisation_id', value: organisationOf(request) }, request.query),
    )

    app.get(
      '/projects/:ref/events',
      {
        config: { action: 'project_event:list', resource: 'project' },
        schema: { params: Type.Object({ ref: Ref }), querystring: Query, response: { 200: Page(Event) } },
      },
      (request) => read({ column: 'project_ref', value: projectRefOf(request) }, request.query),
    )
  }
