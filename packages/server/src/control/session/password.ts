import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { platformStore } from '../../realms/platform-store.ts'
import { actorOf, callerOf, originOf } from '../actor.ts'
import type { Control } from '../context.ts'

const Password = Type.String({ maxLength: 1024 })

/** The caller's own password. */
export const passwordRoutes =
  ({ realm, db }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.put(
      '/session/password',
      {
        config: { action: 'self:update', resource: 'self' },
        schema: { body: Type.Object({ current_password: Password, password: Password }, { additionalProperties: false }) },
      },
      async (request, reply) => {
        const { id, sessionId, email } = callerOf(request)
        if (email === null || !(await platformStore(db).userById(id))) throw fail('forbidden', { action: 'self:update' })
        const check = await realm.signIn(email, request.body.current_password, originOf(request))
        await realm.setPassword(actorOf(request), check.user.id, request.body.password, sessionId)
        return reply.code(204).send()
      },
    )
  }
