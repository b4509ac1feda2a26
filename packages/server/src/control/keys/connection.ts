import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Connection } from '@sovrabase/contract/project'
import { fail } from '../../base/errors.ts'
import { randomToken } from '../../base/ids.ts'
import { reconcileJob } from '../../runtime/reconcile.ts'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { living, Params } from './living.ts'

const OWNER = 'postgres'
const DATABASE = 'db'

async function connectionOf(control: Control, ref: string) {
  const service = await control.services.byName(control.db, ref, DATABASE)
  const at = control.wire()
  if (!service) throw fail('service_not_found', { name: DATABASE })
  if (!at) throw fail('wire_off')
  const user = `${OWNER}.${ref}`
  const password = service.secrets[OWNER] ?? ''
  const db_url = `postgresql://${user}:${encodeURIComponent(password)}@${at.host}:${at.port}/postgres`
  return { db_url, host: at.host, port: at.port, user, password, database: 'postgres' }
}

/** What a program needs to speak PostgreSQL with the project. */
export const connectionRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { change, now } = control

    app.post(
      '/projects/:ref/connection/reveal',
      { config: { action: 'connection:reveal', resource: 'project' }, schema: { params: Params, response: { 200: Connection } } },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        const answer = await connectionOf(control, ref)
        await change(actorOf(request), (c) => c.event({ name: 'connection.revealed', subject: ref, project_ref: ref }))
        reply.header('cache-control', 'no-store')
        return answer
      },
    )

    app.post(
      '/projects/:ref/connection/rotate',
      { config: { action: 'connection:rotate', resource: 'project' }, schema: { params: Params, response: { 200: Connection } } },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        await change(actorOf(request), async (c) => {
          const service = await control.services.byName(c.trx, ref, DATABASE)
          if (!service) throw fail('service_not_found', { name: DATABASE })
          await control.services.setSecret(c.trx, service.id, OWNER, randomToken(24), now())
          // A new version of the wanted state: the cluster gets the password at its next start.
          await control.services.setSpec(c.trx, service.id, service.spec)
          await c.event({ name: 'connection.rotated', subject: service.id, project_ref: ref })
          await c.job(reconcileJob(service))
        })
        reply.header('cache-control', 'no-store')
        return connectionOf(control, ref)
      },
    )
  }
