import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Project, ProjectMove } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import type { Authoriser } from '../../gateway/authorise.ts'
import { actorOf, callerOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { limitsOf, refuseOver } from '../organisations/limits.ts'
import { oneProject } from './one.ts'
import { moveProject, needProject } from './store.ts'
import { refuseFull } from './verbs.ts'

const Params = Type.Object({ ref: Ref })

/** To another organisation. */
export const movingRoutes =
  (control: Control, authoriser: Authoriser): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { change, now } = control

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
          if (moved) {
            await refuseFull(control, c, target.organisation)
            const limits = await limitsOf(c.trx, target.organisation, control.organisationLimits)
            for (const service of await control.services.list(c.trx, { projects: [ref] })) refuseOver(service.spec, limits)
          }
          await moveProject(c, ref, target.organisation, now())
        })
        return oneProject(control, ref)
      },
    )
  }
