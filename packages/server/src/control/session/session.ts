import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { bearerOf } from '../../gateway/authenticate.ts'
import { checkForm, setSessionCookie } from '../../gateway/cookie.ts'
import { actorOf, callerOf, originOf } from '../actor.ts'
import type { Control } from '../context.ts'

const Password = Type.String({ maxLength: 1024 })
const SignIn = Type.Object(
  {
    email: Type.String({ maxLength: 255 }),
    password: Password,
    cookie: Type.Optional(Type.Boolean({ description: 'Also sets the HttpOnly session cookie' })),
  },
  { additionalProperties: false },
)
const Session = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('bearer'),
  expires_in: Type.Integer(),
  expires_at: Type.Integer(),
  refresh_token: Type.String(),
  user: Type.Object({ id: Id, email: Type.Union([Type.String(), Type.Null()]) }),
})
const Me = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  email: Type.Union([Type.String(), Type.Null()]),
  admin: Type.Boolean(),
  memberships: Type.Array(
    Type.Object({ organisation: Type.String(), project: Type.Union([Type.String(), Type.Null()]), role: Type.String() }),
  ),
})

/** Signing in, renewing, signing out. */
export const memberSessionRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { realm } = control
    const secure = () => control.addressing.publicUrl().startsWith('https:')

    app.post(
      '/session',
      { config: { action: 'public' }, schema: { summary: 'Sign in by e-mail and password', body: SignIn, response: { 200: Session } } },
      async (request, reply) => {
        const { email, password, cookie } = request.body
        const session = await realm.signIn(email, password, originOf(request))
        if (cookie) setSessionCookie(reply, session.access_token, { secure: secure(), maxAge: session.expires_in })
        reply.header('cache-control', 'no-store')
        return session
      },
    )

    app.post(
      '/session/refresh',
      {
        config: { action: 'public' },
        schema: {
          summary: 'Exchange a refresh token',
          body: Type.Object({ refresh_token: Type.String({ maxLength: 256 }) }, { additionalProperties: false }),
          response: { 200: Session },
        },
      },
      (request, reply) => {
        reply.header('cache-control', 'no-store')
        return realm.refresh(request.body.refresh_token, originOf(request))
      },
    )

    app.post(
      '/session/cookie',
      {
        config: { action: 'session:read', resource: 'self' },
        schema: {
          summary: 'Keep the session in a cookie',
          description: 'Sets the HttpOnly session cookie to the session of the token, however it was proved',
        },
      },
      async (request, reply) => {
        const { sessionId } = callerOf(request)
        const token = bearerOf(request.headers.authorization)
        if (sessionId === null || token === undefined) throw fail('forbidden', { action: 'session:read' })
        checkForm(request)
        setSessionCookie(reply, token, { secure: secure(), maxAge: Math.floor((realm.verify(token).expiresAt - control.now()) / 1000) })
        return reply.header('cache-control', 'no-store').code(204).send()
      },
    )

    app.get('/session', { config: { action: 'session:read', resource: 'self' }, schema: { response: { 200: Me } } }, async (request) => {
      const { id, kind, email, admin, memberships } = callerOf(request)
      return { id, kind, email, admin, memberships: memberships.map((bound) => ({ ...bound })) }
    })

    app.delete('/session', { config: { action: 'session:end', resource: 'self' } }, async (request, reply) => {
      const { sessionId } = callerOf(request)
      if (sessionId !== null) await realm.endSession(actorOf(request), sessionId)
      setSessionCookie(reply, null, { secure: secure() })
      return reply.code(204).send()
    })
  }
