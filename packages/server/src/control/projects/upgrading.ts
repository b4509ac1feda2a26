import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Project } from '@sovrabase/contract/project'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { waitOf } from '../prefer.ts'
import { oneProject } from './one.ts'
import { confirmUpgrade, revertUpgrade, startUpgrade } from './upgrade.ts'

const Params = Type.Object({ ref: Ref })
const ENDS = ['upgrade.finished', 'upgrade.failed'] as const

const isMoving = (project: Project): boolean =>
  project.services.some(({ upgrade }) => upgrade?.state === 'wanted' || upgrade?.state === 'running')

/** `Prefer: wait=N`: until it is through. */
async function settled(control: Control, request: FastifyRequest, ref: string): Promise<Project> {
  const end = control.now() + waitOf(request)
  let project = await oneProject(control, ref)
  while (isMoving(project) && control.now() < end) {
    await control.awaitEvent({ names: ENDS, project: ref }, end - control.now())
    project = await oneProject(control, ref)
  }
  return project
}

/** To a newer major of its database: docs/upgrade.md. */
export const upgradingRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const config = { action: 'project:upgrade', resource: 'project' } as const

    app.post(
      '/projects/:ref/upgrade',
      { config, schema: { params: Params, response: { 200: Project, 202: Project } } },
      async (request, reply) => {
        const ref = projectRefOf(request)
        await startUpgrade(control, actorOf(request), ref)
        const project = await settled(control, request, ref)
        reply.header('location', `/v1/projects/${ref}`).code(isMoving(project) ? 202 : 200)
        return project
      },
    )

    app.post('/projects/:ref/upgrade/confirm', { config, schema: { params: Params, response: { 200: Project } } }, async (request) => {
      const ref = projectRefOf(request)
      await confirmUpgrade(control, actorOf(request), ref)
      return oneProject(control, ref)
    })

    app.post('/projects/:ref/upgrade/back', { config, schema: { params: Params, response: { 200: Project } } }, async (request) => {
      const ref = projectRefOf(request)
      await revertUpgrade(control, actorOf(request), ref)
      return oneProject(control, ref)
    })
  }
