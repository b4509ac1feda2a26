import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UserToken, UserTokenCreate } from '@sovrabase/contract/project'
import { issuersOf } from '../../gateway/urls.ts'
import { currentKey, readRealmKeys } from '../../realms/keys.ts'
import { signToken } from '../../realms/tokens.ts'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { durationOf } from '../input.ts'
import { time } from '../pages.ts'
import { living, Params } from './living.ts'

const TOKEN_LIFE_MAX = { ms: 7 * 24 * 3_600_000, says: '7d' }

/** Signed tokens of users, for trying policies. */
export const userTokenRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, vault, change, now } = control

    app.post(
      '/projects/:ref/user-tokens',
      {
        config: { action: 'user_token:create', resource: 'project' },
        schema: { params: Params, body: UserTokenCreate, response: { 201: UserToken } },
      },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        const { sub, role = 'authenticated', claims = {} } = request.body
        const life = durationOf(request.body.for ?? '1h', 'for', TOKEN_LIFE_MAX)
        const key = currentKey(await readRealmKeys(db, vault, ref, now()), 'legacy')
        const iat = Math.floor(now() / 1000)
        const exp = iat + Math.floor(life / 1000)
        const own = { iss: issuersOf(control.addressing, ref)[0], aud: 'authenticated', sub, role, iat, exp }
        const token = signToken({ ...claims, ...own }, { alg: 'HS256', key: key.key })
        await change(actorOf(request), (c) => c.event({ name: 'user_token.created', subject: ref, project_ref: ref, after: { role, exp } }))
        reply.code(201).header('cache-control', 'no-store')
        return { token, expires_at: time(exp * 1000) }
      },
    )
  }
