import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id, Page, Time } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { setSessionCookie } from '../../gateway/cookie.ts'
import { createAccessToken, listAccessTokens, revokeAccessToken } from '../../realms/access-tokens.ts'
import { platformStore } from '../../realms/platform-store.ts'
import { actorOf, callerOf, originOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { durationOf } from '../input.ts'
import { time, timeOrNull } from '../pages.ts'

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
const Token = Type.Object({
  id: Id,
  name: Type.String(),
  prefix: Type.String(),
  created_at: Time,
  expires_at: Type.Union([Time, Type.Null()]),
  last_used_at: Type.Union([Time, Type.Null()]),
})
const TokenCreate = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 63 }),
    for: Type.Optional(Type.String({ maxLength: 32, description: 'How long: 30d; without it the token has no end' })),
  },
  { additionalProperties: false },
)

const TOKEN_LIFE_MAX = { ms: 3650 * 24 * 3_600_000, says: '3650d' }

export const sessionRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { realm, db, change, now } = control
    const secure = () => control.addressing.publicUrl().startsWith('https:')

    app.post('/session', { config: { action: 'public' }, schema: { body: SignIn, response: { 200: Session } } }, async (request, reply) => {
      const { email, password, cookie } = request.body
      const session = await realm.signIn(email, password, originOf(request))
      if (cookie) setSessionCookie(reply, session.access_token, { secure: secure(), maxAge: session.expires_in })
      reply.header('cache-control', 'no-store')
      return session
    })

    app.post(
      '/session/refresh',
      {
        config: { action: 'public' },
        schema: {
          body: Type.Object({ refresh_token: Type.String({ maxLength: 256 }) }, { additionalProperties: false }),
          response: { 200: Session },
        },
      },
      (request, reply) => {
        reply.header('cache-control', 'no-store')
        return realm.refresh(request.body.refresh_token, originOf(request))
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

    app.post(
      '/tokens',
      {
        config: { action: 'token:create', resource: 'self' },
        schema: { body: TokenCreate, response: { 201: Type.Intersect([Token, Type.Object({ token: Type.String() })]) } },
      },
      async (request, reply) => {
        const { id } = callerOf(request)
        const life = request.body.for === undefined ? null : durationOf(request.body.for, 'for', TOKEN_LIFE_MAX)
        if (!(await platformStore(db).userById(id))) throw fail('forbidden', { action: 'token:create' })
        const made = await change(actorOf(request), (c) =>
          createAccessToken(c, { userId: id, name: request.body.name, expiresAt: life === null ? null : now() + life, now: now() }),
        )
        reply.code(201).header('cache-control', 'no-store')
        return { ...tokenView(made), token: made.text }
      },
    )

    app.get(
      '/tokens',
      { config: { action: 'token:list', resource: 'self' }, schema: { response: { 200: Page(Token) } } },
      async (request) => ({
        items: (await listAccessTokens(db, callerOf(request).id)).map(tokenView),
        next_cursor: null,
      }),
    )

    app.delete(
      '/tokens/:id',
      { config: { action: 'token:revoke', resource: 'self' }, schema: { params: Type.Object({ id: Id }) } },
      async (request, reply) => {
        await change(actorOf(request), (c) => revokeAccessToken(c, callerOf(request).id, request.params.id, now()))
        return reply.code(204).send()
      },
    )
  }

const tokenView = (token: Awaited<ReturnType<typeof listAccessTokens>>[number]) => ({
  id: token.id,
  name: token.name,
  prefix: token.prefix,
  created_at: time(token.createdAt),
  expires_at: timeOrNull(token.expiresAt),
  last_used_at: timeOrNull(token.lastUsedAt),
})
