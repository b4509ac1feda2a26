import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { type Advice, Advices } from '@sovrabase/contract/database'
import { Type } from 'typebox'
import { projectRefOf } from '../../actor.ts'
import type { Control } from '../../context.ts'
import { living } from '../../keys/living.ts'
import { exposedSchemas, withCluster } from '../exposed.ts'
import { LINTS, textOfLint } from './lints.ts'

/** What should be looked at in a project's database, the worst first. */
export const advisorRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/projects/:ref/database/advisors',
      {
        config: { action: 'database:read', resource: 'project' },
        schema: { params: Type.Object({ ref: Ref }), response: { 200: Advices } },
      },
      async (request) => {
        const ref = await living(control, projectRefOf(request))
        const items = await withCluster(control, ref, 'advisors', async (cluster) => {
          const schemas = await exposedSchemas(control, ref, cluster)
          return cluster.admin(async (client) => {
            const found: Advice[] = []
            for (const lint of LINTS) {
              const { rows } = await client.query<Omit<Advice, 'code' | 'level' | 'area'>>(textOfLint(lint), [schemas])
              found.push(...rows.map((row) => ({ code: lint.code, level: lint.level, area: lint.area, ...row })))
            }
            return found
          })
        })
        const order = ['error', 'warning', 'info']
        return { items: items.toSorted((a, b) => order.indexOf(a.level) - order.indexOf(b.level)) }
      },
    )
  }
