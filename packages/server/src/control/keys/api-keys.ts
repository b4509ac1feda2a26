import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id, Page, PageQuery, Ref } from '@sovrabase/contract/common'
import { ApiKey, ApiKeyCreate, ApiKeyWithText } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import { createApiKey, listApiKeys, revokeApiKey } from '../../realms/api-keys.ts'
import { currentKey, readRealmKeys } from '../../realms/keys.ts'
import { actorOf, callerOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { limitOf, pageOf, positionOf } from '../pages.ts'
import { living, Params } from './living.ts'
import { keyView, withText } from './revealed.ts'

/** Keys of a project: listed, made, revoked. */
export const apiKeyRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, vault, change, now } = control

    app.get(
      '/projects/:ref/keys',
      {
        config: { action: 'key:list', resource: 'project' },
        schema: { params: Params, querystring: Type.Object(PageQuery), response: { 200: Page(ApiKey) } },
      },
      async (request) => {
        const limit = limitOf(request.query)
        const before = positionOf(request.query, ['string'])
        const rows = await listApiKeys(db, projectRefOf(request), { limit: limit + 1, ...(before ? { before: String(before[0]) } : {}) })
        return pageOf(rows, limit, (key) => [key.id], keyView)
      },
    )

    app.post(
      '/projects/:ref/keys',
      {
        config: { action: 'key:create', resource: 'project' },
        schema: { params: Params, body: ApiKeyCreate, response: { 201: ApiKeyWithText } },
      },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        const { name, kind } = request.body
        const legacy = currentKey(await readRealmKeys(db, vault, ref, now()), 'legacy')
        const made = await change(actorOf(request), (c) =>
          createApiKey(c, vault, { realm: ref, name, kind, createdBy: callerOf(request).id, now: now(), legacy }),
        )
        reply.code(201).header('cache-control', 'no-store')
        return withText(made)
      },
    )

    app.delete(
      '/projects/:ref/keys/:id',
      { config: { action: 'key:revoke', resource: 'project' }, schema: { params: Type.Object({ ref: Ref, id: Id }) } },
      async (request, reply) => {
        await change(actorOf(request), (c) => revokeApiKey(c, projectRefOf(request), request.params.id, now()))
        return reply.code(204).send()
      },
    )
  }
