import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Project } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import { fail, isSovraError } from '../../base/errors.ts'
import type { Service } from '../../runtime/services.ts'
import { projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { oneProject } from './one.ts'
import { needProject } from './store.ts'

/** Of what a cluster wrote before it ended, so many last lines, from so many bytes. */
const WORDS = { lines: 5, bytes: 4096 } as const

/** For who operates the project: what its PostgreSQL said when it did not start. */
async function wakeOrSayWhy(control: Control, { project, name, driver, volume }: Service): Promise<void> {
  try {
    const hold = await control.connector.hold(project, name, 'wake')
    hold.release()
  } catch (error) {
    if (!isSovraError(error, 'project_unavailable')) throw error
    const text = await control.drivers.get(driver)?.log?.(volume, WORDS.bytes)
    const log = (text ?? '').trim().split('\n').slice(-WORDS.lines).join('\n')
    if (log === '') throw error
    throw fail('project_broken', { ...error.params, log }, { cause: error, ...(error.headers ? { headers: error.headers } : {}) })
  }
}

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
          await wakeOrSayWhy(control, service)
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
