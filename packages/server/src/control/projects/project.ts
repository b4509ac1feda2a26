import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Project, ProjectPatch } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { versionOf } from '../input.ts'
import { oneProject } from './one.ts'
import { updateProject } from './store.ts'

const Params = Type.Object({ ref: Ref })

/** One project: read, renamed, labelled. */
export const oneProjectRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { change, now } = control

    app.get(
      '/projects/:ref',
      { config: { action: 'project:read', resource: 'project' }, schema: { params: Params, response: { 200: Project } } },
      async (request, reply) => {
        const project = await oneProject(control, projectRefOf(request))
        reply.header('etag', `"${project.version}"`)
        return project
      },
    )

    app.patch(
      '/projects/:ref',
      {
        config: { action: 'project:update', resource: 'project' },
        schema: { params: Params, body: ProjectPatch, response: { 200: Project } },
      },
      async (request) => {
        const ref = projectRefOf(request)
        const version = versionOf(request)
        await change(actorOf(request), (c) =>
          updateProject(c, ref, request.body, { ...(version === undefined ? {} : { version }), now: now() }),
        )
        return oneProject(control, ref)
      },
    )
  }
