import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id, Page, PageQuery, Time } from '@sovrabase/contract/common'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { createAccessToken, listAccessTokens, revokeAccessToken } from '../../realms/access-tokens.ts'
import { platformStore } from '../../realms/platform-store.ts'
import { actorOf, callerOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { durationOf } from '../input.ts'
import { limitOf, pageOf, positionOf, time, timeOrNull } from '../pages.ts'

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

const tokenView = (token: Awaited<ReturnType<typeof listAccessTokens>>[number]) => ({
  id: token.id,
  name: token.name,
  prefix: token.prefix,
  created_at: time(token.createdAt),
  expires_at: timeOrNull(token.expiresAt),
  last_used_at: timeOrNull(token.lastUsedAt),
})

/** Personal access tokens of the caller. */
export const tokenRoutes =
  ({ db, change, now }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/tokens',
      {
        config: { action: 'token:create', resource: 'self' },
        schema: { body: TokenCreate, response: { 201: Type.Intersect([Token, Type.Object({ token: Type.String() })]) } },
      },
      async (request, reply) => {
        const { id } = callerOf(request)
        const life = request.body.for === undefined ? null : durationOf(request.body.for, 'for', TOKEN_LIFE_MAX)
        if (life === 0) throw fail('invalid_request', { reason: '`for` 0s is no time at all' })
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
      {
        config: { action: 'token:list', resource: 'self' },
        schema: { querystring: Type.Object(PageQuery), response: { 200: Page(Token) } },
      },
      async (request) => {
        const limit = limitOf(request.query)
        const before = positionOf(request.query, ['string'])
        const rows = await listAccessTokens(db, callerOf(request).id, {
          limit: limit + 1,
          ...(before ? { before: String(before[0]) } : {}),
        })
        return pageOf(rows, limit, (token) => [token.id], tokenView)
      },
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
