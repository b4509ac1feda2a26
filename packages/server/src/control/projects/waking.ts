import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Project } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { oneProject } from './one.ts'
import { needProject } from './store.ts'

const Params = Type.Object({ ref: Ref })

/** Awake or asleep, as asked. */
export const wakingRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db } = control

    app.post(
      '/projects/:ref/wake',
      { config: { action: 'project:wake', resource: 'project' }, schema: { params: Params, response: { 200: Project } } },
      async (request) => {
        const ref = projectRefOf(request)
        if ((await needProject(db, ref)).state !== 'active') throw fail('project_deleted')
        for (const service of await control.services.list(db, { projects: [ref] })) {
          const hold = await control.connector.hold(ref, service.name, 'wake')
          hold.release()
        }
        return oneProject(control, ref)
      },
    )

    app.post(
      '/projects/:ref/sleep',
      {
        config: { action: 'project:sleep', resource: 'project' },
        schema: { params: Params, querystring: Type.Object({ force: Type.Optional(Type.Boolean()) }), response: { 200: Project } },
      },
      async (request) => {
        const ref = projectRefOf(request)
        for (const service of await control.services.list(db, { projects: [ref] })) {
          const asleep = await control.connector.sleep(service.id, { force: request.query.force ?? false })
          if (!asleep) throw fail('project_busy')
        }
        return oneProject(control, ref)
      },
    )
  }
