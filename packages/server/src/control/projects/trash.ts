import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Name, Ref } from '@sovrabase/contract/common'
import { Project } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { oneProject } from './one.ts'
import { deleteProject, purgeProject, restoreProject } from './verbs.ts'

const Params = Type.Object({ ref: Ref })

/** Deleted, brought back, gone for good. */
export const trashRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.delete(
      '/projects/:ref',
      { config: { action: 'project:delete', resource: 'project' }, schema: { params: Params, response: { 202: Project } } },
      async (request, reply) => {
        const ref = projectRefOf(request)
        await deleteProject(control, actorOf(request), ref)
        reply.code(202)
        return oneProject(control, ref)
      },
    )

    app.post(
      '/projects/:ref/restore',
      {
        config: { action: 'project:restore', resource: 'project' },
        schema: {
          params: Params,
          body: Type.Optional(Type.Object({ name: Type.Optional(Name) }, { additionalProperties: false })),
          response: { 200: Project },
        },
      },
      async (request) => {
        const ref = projectRefOf(request)
        await restoreProject(control, actorOf(request), ref, request.body?.name)
        return oneProject(control, ref)
      },
    )

    app.post(
      '/projects/:ref/purge',
      { config: { action: 'project:purge', resource: 'project' }, schema: { params: Params } },
      async (request, reply) => {
        await purgeProject(control, actorOf(request), projectRefOf(request), { force: true })
        return reply.code(202).send()
      },
    )
  }
