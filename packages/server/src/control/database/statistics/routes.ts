import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Extensions, Statistics } from '@sovrabase/contract/database'
import { SUBSTITUTES } from '@sovrabase/contract/extensions'
import { Type } from 'typebox'
import { allowedNames } from '../../../runtime/engines/postgres/extensions.ts'
import { projectRefOf } from '../../actor.ts'
import type { Control } from '../../context.ts'
import { living } from '../../keys/living.ts'
import { withCluster } from '../exposed.ts'
import { readStatistics } from './read.ts'

const EXTENSIONS = `select a.name::text, a.default_version as version, a.installed_version as installed, n.nspname::text as schema, coalesce(a.comment, '') as says,
  a.name = 'pg_stat_statements' as preload
  from pg_available_extensions a left join pg_extension e on e.extname = a.name left join pg_namespace n on n.oid = e.extnamespace
  where a.name = any ($1) order by a.name collate "C"`

/** What a project's database has and does. */
export const statisticRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const config = { action: 'database:read', resource: 'project' } as const
    const params = Type.Object({ ref: Ref })

    app.get('/projects/:ref/database/statistics', { config, schema: { params, response: { 200: Statistics } } }, async (request) => {
      const ref = await living(control, projectRefOf(request))
      return withCluster(control, ref, 'statistics', (cluster) =>
        cluster.admin((client) => readStatistics(client, cluster.spec.connections)),
      )
    })

    app.get('/projects/:ref/database/extensions', { config, schema: { params, response: { 200: Extensions } } }, async (request) => {
      const ref = await living(control, projectRefOf(request))
      const items = await withCluster(control, ref, 'extensions', (cluster) =>
        cluster.admin(async (client) => (await client.query<Extensions['items'][number]>(EXTENSIONS, [allowedNames()])).rows),
      )
      const there = new Set(items.map(({ name }) => name))
      return { items, unavailable: Object.entries(SUBSTITUTES).flatMap(([name, instead]) => (there.has(name) ? [] : [{ name, instead }])) }
    })
  }
