import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { type Static, Type } from 'typebox'
import { fail } from '../../../base/errors.ts'
import type { Cluster } from '../../../runtime/engines/postgres/cluster.ts'
import { projectRefOf } from '../../actor.ts'
import type { Control } from '../../context.ts'
import { living } from '../../keys/living.ts'
import { exposedSchemas, namesIn } from '../exposed.ts'
import { go } from './go.ts'
import { introspect } from './introspect.ts'
import type { Model } from './model.ts'
import { python } from './python.ts'
import { typescript } from './typescript.ts'

const LANGUAGES = { ts: typescript, go, python } as const satisfies Record<string, (model: Model) => string>
const Language = Type.Union([Type.Literal('ts'), Type.Literal('go'), Type.Literal('python')])

const Query = Type.Object({
  lang: Type.Optional(Language),
  schemas: Type.Optional(Type.String({ maxLength: 2000, description: 'Names with commas; those that the API exposes when left out' })),
})
const Types = Type.Object({ lang: Language, schemas: Type.Array(Type.String()), types: Type.String({ description: 'The source text' }) })

/** Types of a project's tables, views, functions and enums for programs in a language. */
export const typeRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    async function types(ref: string, lang: Static<typeof Language>, wanted: string | undefined): Promise<Static<typeof Types>> {
      const hold = await control.connector.hold(ref, 'db', 'types')
      try {
        const cluster = hold.attached<Cluster>()
        const schemas = wanted === undefined ? await exposedSchemas(control, ref, cluster) : namesIn(wanted)
        const model = await introspect(cluster, schemas)
        const unknown = schemas.find((name) => !cluster.catalogue.current.schemas.has(name))
        if (unknown !== undefined) throw fail('invalid_request', { reason: `there is no schema \`${unknown}\`` })
        return { lang, schemas, types: LANGUAGES[lang](model) }
      } finally {
        hold.release()
      }
    }

    app.get(
      '/projects/:ref/database/types',
      {
        config: { action: 'database:read', resource: 'project' },
        schema: { params: Type.Object({ ref: Ref }), querystring: Query, response: { 200: Types } },
      },
      async (request) => types(await living(control, projectRefOf(request)), request.query.lang ?? 'ts', request.query.schemas),
    )
  }
