import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { RevealedKeys } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import { rotateSharedSecret } from '../../realms/api-keys.ts'
import { actorOf, callerOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { durationOf } from '../input.ts'
import { living, Params } from './living.ts'
import { revealed } from './revealed.ts'

const OVERLAP_MAX = { ms: 365 * 24 * 3_600_000, says: '365d' }

/** The texts of keys: shown, and made anew. */
export const keySecretRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { vault, change, now } = control

    // POST: it is an audited act, and its answer must never be cached.
    app.post(
      '/projects/:ref/keys/reveal',
      { config: { action: 'key:reveal', resource: 'project' }, schema: { params: Params, response: { 200: RevealedKeys } } },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        const answer = await revealed(control, ref)
        await change(actorOf(request), (c) => c.event({ name: 'key.revealed', subject: ref, project_ref: ref }))
        reply.header('cache-control', 'no-store')
        return answer
      },
    )

    app.post(
      '/projects/:ref/keys/rotate',
      {
        config: { action: 'key:rotate', resource: 'project' },
        schema: {
          params: Params,
          body: Type.Optional(
            Type.Object(
              { overlap: Type.Optional(Type.String({ default: '24h', description: 'How long the former secret and its keys stay good' })) },
              { additionalProperties: false },
            ),
          ),
          response: { 200: RevealedKeys },
        },
      },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        const overlap = durationOf(request.body?.overlap ?? '24h', 'overlap', OVERLAP_MAX)
        await change(actorOf(request), (c) =>
          rotateSharedSecret(c, vault, { realm: ref, now: now(), createdBy: callerOf(request).id, overlap }),
        )
        reply.header('cache-control', 'no-store')
        return revealed(control, ref)
      },
    )
  }
