import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Page } from '@sovrabase/contract/common'
import { Project, ProjectCreate, ProjectQuery } from '@sovrabase/contract/project'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Authoriser } from '../../gateway/authorise.ts'
import { actorOf, callerOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { waitOf } from '../prefer.ts'
import { listProjects } from './list.ts'
import { isReady, oneProject } from './one.ts'
import { createProject } from './verbs.ts'

const OrganisationParams = Type.Object({ organisation: Type.String({ maxLength: 63 }) })

/** With `Prefer: wait` the answer waits until nothing is pending, or the time is over. */
async function settled(control: Control, request: FastifyRequest, ref: string): Promise<Project> {
  const end = control.now() + waitOf(request)
  let project = await oneProject(control, ref)
  while (!isReady(project) && control.now() < end) {
    await control.awaitEvent({ names: ['service.ready', 'service.failed'], project: ref }, end - control.now())
    project = await oneProject(control, ref)
  }
  return project
}

/** Projects that the caller sees; new ones. */
export const projectCollectionRoutes =
  (control: Control, authoriser: Authoriser): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/projects',
      { config: { action: 'project:list', resource: 'self' }, schema: { querystring: ProjectQuery, response: { 200: Page(Project) } } },
      (request) => listProjects(control, callerOf(request), request.query),
    )

    app.get(
      '/organisations/:organisation/projects',
      {
        config: { action: 'organisation:read', resource: 'organisation' },
        schema: { params: OrganisationParams, querystring: ProjectQuery, response: { 200: Page(Project) } },
      },
      (request) => listProjects(control, callerOf(request), request.query, organisationOf(request)),
    )

    app.post(
      '/organisations/:organisation/projects',
      {
        config: { action: 'project:create', resource: 'organisation' },
        schema: { params: OrganisationParams, body: ProjectCreate, response: { 201: Project, 202: Project } },
      },
      async (request, reply) => {
        const { from } = request.body
        if (from) await authoriser.demandOn(callerOf(request), 'project:copy', { kind: 'project', project: from.project })
        const ref = await createProject(control, actorOf(request), organisationOf(request), request.body)
        const project = await settled(control, request, ref)
        reply.header('location', `/v1/projects/${ref}`).code(isReady(project) ? 201 : 202)
        return project
      },
    )
  }
