import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Objects } from '@sovrabase/contract/database'
import { Type } from 'typebox'
import { fail } from '../../../base/errors.ts'
import { projectRefOf } from '../../actor.ts'
import type { Control } from '../../context.ts'
import { living } from '../../keys/living.ts'
import { namesIn, withCluster } from '../exposed.ts'
import { QUERIES } from './queries.ts'

type Kind = keyof Objects
const KINDS = Object.keys(QUERIES) as Kind[]
const isKind = (name: string): name is Kind => (KINDS as string[]).includes(name)

const Query = Type.Object({
  kinds: Type.Optional(Type.String({ maxLength: 200, description: `With commas, of ${KINDS.join(', ')}; all when left out` })),
  schemas: Type.Optional(Type.String({ maxLength: 2000, description: 'With commas; people’s own when left out' })),
})

function kindsOf(text: string | undefined): Kind[] {
  if (text === undefined) return KINDS
  const names = namesIn(text)
  const unknown = names.find((name) => !isKind(name))
  if (unknown !== undefined) throw fail('invalid_request', { reason: `\`kinds\` are ${KINDS.join(', ')}; not ${unknown}` })
  return names.filter(isKind)
}

/** What is in a project's database. */
export const objectRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/projects/:ref/database/objects',
      {
        config: { action: 'database:read', resource: 'project' },
        schema: { params: Type.Object({ ref: Ref }), querystring: Query, response: { 200: Objects } },
      },
      async (request) => {
        const ref = await living(control, projectRefOf(request))
        const kinds = kindsOf(request.query.kinds)
        const schemas = request.query.schemas === undefined ? null : namesIn(request.query.schemas)
        return withCluster(control, ref, 'objects', (cluster) =>
          cluster.admin(async (client) => {
            const found: Objects = {}
            for (const kind of kinds) {
              const { rows } = await client.query<{ list: Record<string, unknown>[] | null }>(QUERIES[kind], [schemas])
              found[kind] = rows[0]?.list ?? []
            }
            return found
          }),
        )
      },
    )
  }
