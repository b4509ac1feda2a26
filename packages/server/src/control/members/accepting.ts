import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { actorOf, callerOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { acceptInvitation } from './store.ts'

/** An invitation is taken up by who is signed in. */
export const acceptingRoutes =
  ({ change, now }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/invitations/accept',
      {
        config: { action: 'invitation:accept', resource: 'self' },
        schema: { body: Type.Object({ token: Type.String({ maxLength: 128 }) }, { additionalProperties: false }) },
      },
      async (request, reply) => {
        const caller = callerOf(request)
        if (caller.kind === 'local') throw fail('forbidden', { action: 'invitation:accept' })
        await change(actorOf(request), (c) => acceptInvitation(c, request.body.token, caller, now()))
        return reply.code(204).send()
      },
    )
  }
