import type { FastifyInstance } from 'fastify'
import { fail } from '../../base/errors.ts'
import { type LogoutScope, logout, readUser, reauthenticate, updateUser } from '../../realms/auth/account.ts'
import { challengeOf } from '../../realms/auth/pkce.ts'
import { endOwnSession, ownSessions } from '../../realms/auth/sessions.ts'
import { holderOf, paramOf, paramsOf, queryOf, redirectOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { userSessionView, userView } from './view.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
const SCOPES = ['global', 'local', 'others']

/** The own account, by the user's token. */
export function userRoutes(app: FastifyInstance, options: AuthOptions): void {
  app.get('/user', USE, async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const holder = holderOf(options, request)
    return userView(await readUser(realmOf(options, request), holder))
  })

  app.put('/user', USE, async (request) => {
    const holder = holderOf(options, request)
    const body = paramsOf(request)
    if (body.app_metadata !== undefined && body.app_metadata !== null) throw fail('auth_app_metadata_refused')
    const { email, password, data, nonce, current_password, phone, channel } = body
    const change = {
      email,
      password,
      data,
      nonce,
      current_password,
      phone,
      channel,
      pkce: challengeOf(body),
      redirectTo: redirectOf(request),
    }
    return userView(await updateUser(realmOf(options, request), holder, change))
  })

  app.post('/logout', USE, async (request, reply) => {
    const holder = holderOf(options, request)
    const scope = queryOf(request, 'scope') || 'global'
    if (!SCOPES.includes(scope)) throw fail('auth_validation_failed', { reason: `Unsupported logout scope "${scope.slice(0, 40)}"` })
    await logout(realmOf(options, request), holder, scope as LogoutScope)
    return reply.code(204).send()
  })

  app.get('/user/sessions', USE, async (request) => {
    const { sessions, current } = await ownSessions(realmOf(options, request), holderOf(options, request))
    return { sessions: sessions.map((session) => ({ ...userSessionView(session), current: session.id === current })) }
  })

  app.delete('/user/sessions/:id', USE, async (request, reply) => {
    await endOwnSession(realmOf(options, request), holderOf(options, request), paramOf(request, 'id'))
    return reply.code(204).send()
  })

  app.get('/reauthenticate', USE, async (request) => {
    const holder = holderOf(options, request)
    const message = await reauthenticate(realmOf(options, request), holder)
    return message === null ? {} : { message_id: message }
  })
}
