import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Page, Ref } from '@sovrabase/contract/common'
import { Service } from '@sovrabase/contract/service'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { reconcileJob } from '../../runtime/reconcile.ts'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { limitsOf } from '../organisations/limits.ts'
import { needProject } from '../projects/store.ts'
import { wantedSpecOf } from '../projects/verbs.ts'
import { serviceView } from '../projects/view.ts'

const Params = Type.Object({ ref: Ref })
const ServiceParams = Type.Object({ ref: Ref, service: Type.String({ maxLength: 32 }) })

/** Said at its creation, for good. */
const FIXED = ['engine', 'driver'] as const

/** What it may hold is for the reference; the engine of the service checks it. */
function specPatch({ engines }: Control) {
  const keys = [...engines.values()].flatMap(({ name, spec }) =>
    Object.entries((spec as { properties?: Record<string, { description?: string }> }).properties ?? {}).map(
      ([key, { description }]) => [key, { description: `${name}: ${description ?? key}` }] as const,
    ),
  )
  const description = 'A JSON merge patch (RFC 7396) of the spec'
  return Type.Unsafe<Record<string, unknown>>({ type: 'object', description, properties: Object.fromEntries(keys) })
}

/** Services of a project: spec is wanted, status is seen. */
export const serviceRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, change } = control

    app.get(
      '/projects/:ref/services',
      { config: { action: 'service:list', resource: 'project' }, schema: { params: Params, response: { 200: Page(Service) } } },
      async (request) => {
        const services = await control.services.list(db, { projects: [projectRefOf(request)] })
        return { items: services.map((service) => serviceView(control, service)), next_cursor: null }
      },
    )

    app.get(
      '/projects/:ref/services/:service',
      { config: { action: 'service:read', resource: 'project' }, schema: { params: ServiceParams, response: { 200: Service } } },
      async (request) => {
        const service = await control.services.byName(db, projectRefOf(request), request.params.service)
        if (!service) throw fail('service_not_found', { name: request.params.service })
        return serviceView(control, service)
      },
    )

    app.patch(
      '/projects/:ref/services/:service',
      {
        config: { action: 'service:update', resource: 'project' },
        schema: {
          params: ServiceParams,
          body: specPatch(control),
          response: { 202: Service },
        },
      },
      async (request, reply) => {
        const ref = projectRefOf(request)
        const name = request.params.service
        await change(actorOf(request), async (c) => {
          const project = await needProject(c.trx, ref)
          if (project.state !== 'active') throw fail('project_deleted')
          const service = await control.services.byName(c.trx, ref, name)
          if (!service) throw fail('service_not_found', { name })
          for (const fixed of FIXED)
            if (request.body[fixed] !== undefined && request.body[fixed] !== service[fixed])
              throw fail('spec_invalid', { name, reason: `its ${fixed} stays ${service[fixed]}` })
          const patched = Object.entries({ ...(service.spec as object), ...request.body }).filter(([, value]) => value !== null)
          const given = { ...Object.fromEntries(patched), engine: service.engine, driver: service.driver }
          const limits = await limitsOf(c.trx, project.organisation_id, control.organisationLimits)
          const { spec } = wantedSpecOf(control, { name, given, limits })
          await control.services.setSpec(c.trx, service.id, spec)
          await c.event({ name: 'service.updated', subject: service.id, project_ref: ref, before: service.spec, after: spec })
          await c.job(reconcileJob(service))
        })
        const service = await control.services.byName(db, ref, name)
        reply.code(202)
        return serviceView(control, service!)
      },
    )
  }
