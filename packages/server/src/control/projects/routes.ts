import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Name, Page, Ref } from '@sovrabase/contract/common'
import { Project, ProjectCreate, ProjectMove, ProjectPatch, ProjectQuery } from '@sovrabase/contract/project'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import type { Authoriser } from '../../gateway/authorise.ts'
import { actorOf, callerOf, organisationOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { versionOf } from '../input.ts'
import { waitOf } from '../prefer.ts'
import { listProjects } from './list.ts'
import { moveProject, needProject, updateProject } from './store.ts'
import { createProject, deleteProject, purgeProject, refuseFull, restoreProject } from './verbs.ts'
import { projectViews } from './view.ts'

const Params = Type.Object({ ref: Ref })
const OrganisationParams = Type.Object({ organisation: Type.String({ maxLength: 63 }) })

export const projectRoutes =
  (control: Control, authoriser: Authoriser): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, change, now } = control
    const view = async (ref: string) => (await projectViews(control, [await needProject(db, ref)]))[0]!
    const isReady = (project: Project) => project.services.every((service) => !['pending', 'creating'].includes(service.status))

    /** With `Prefer: wait` the answer waits until nothing is pending, or the time is over. */
    async function settled(request: FastifyRequest, ref: string): Promise<Project> {
      const end = now() + waitOf(request)
      let project = await view(ref)
      while (!isReady(project) && now() < end) {
        await control.awaitEvent({ names: ['service.ready', 'service.failed'], project: ref }, end - now())
        project = await view(ref)
      }
      return project
    }

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
        const project = await settled(request, ref)
        reply.header('location', `/v1/projects/${ref}`).code(isReady(project) ? 201 : 202)
        return project
      },
    )

    app.get(
      '/projects/:ref',
      { config: { action: 'project:read', resource: 'project' }, schema: { params: Params, response: { 200: Project } } },
      async (request, reply) => {
        const project = await view(projectRefOf(request))
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
        return view(ref)
      },
    )

    app.delete(
      '/projects/:ref',
      { config: { action: 'project:delete', resource: 'project' }, schema: { params: Params, response: { 202: Project } } },
      async (request, reply) => {
        const ref = projectRefOf(request)
        await deleteProject(control, actorOf(request), ref)
        reply.code(202)
        return view(ref)
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
        return view(ref)
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

    app.post(
      '/projects/:ref/move',
      {
        config: { action: 'project:move', resource: 'project' },
        schema: { params: Params, body: ProjectMove, response: { 200: Project } },
      },
      async (request) => {
        const ref = projectRefOf(request)
        const target = await authoriser.demandOn(callerOf(request), 'project:receive', {
          kind: 'organisation',
          organisation: request.body.organisation,
        })
        if (target.kind !== 'organisation') throw fail('not_found')
        await change(actorOf(request), async (c) => {
          const moved = (await needProject(c.trx, ref)).organisation_id !== target.organisation
          if (moved) await refuseFull(control, c, target.organisation)
          await moveProject(c, ref, target.organisation, now())
        })
        return view(ref)
      },
    )

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
        return view(ref)
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
        return view(ref)
      },
    )
  }
