import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { answerLines, type Wanted } from './lines.ts'

const Query = Type.Object(
  {
    since: Type.Optional(Type.String({ format: 'date-time', description: 'Lines from this moment on' })),
    level: Type.Optional(Type.Union(['trace', 'debug', 'info', 'warn', 'error', 'fatal'].map((level) => Type.Literal(level)))),
    request_id: Type.Optional(Type.String({ maxLength: 200, description: 'Of one request' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, default: 200, description: 'The last so many lines' })),
    follow: Type.Optional(Type.Boolean({ description: 'Go on with each line that comes, until the caller ends it' })),
  },
  { additionalProperties: false },
)

/** Lines of JSON (application/x-ndjson), oldest first: of the server, and of one project's clusters. */
export const logRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/logs',
      { config: { action: 'log:read', resource: 'platform', quiet: true }, schema: { querystring: Query } },
      async (request, reply) => answerLines(control, reply, request.query as Wanted, undefined),
    )
    app.get(
      '/projects/:ref/logs',
      {
        config: { action: 'project_log:read', resource: 'project', quiet: true },
        schema: { params: Type.Object({ ref: Ref }), querystring: Query },
      },
      async (request, reply) => answerLines(control, reply, request.query as Wanted, projectRefOf(request)),
    )
  }
