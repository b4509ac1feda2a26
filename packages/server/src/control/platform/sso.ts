import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { platformStore } from '../../realms/platform-store.ts'
import type { Keeper } from '../../realms/saml/providers.ts'
import { providerView } from '../../realms/saml/view.ts'
import type { SsoProvider } from '../../realms/store/types.ts'
import { actorOf } from '../actor.ts'
import type { Control } from '../context.ts'

const Params = Type.Object({ id: Type.String({ maxLength: 300 }) })
const Body = Type.Record(Type.String(), Type.Unknown(), { description: 'As of /auth/v1/admin/sso/providers of a project' })
const READ = { action: 'platform_setting:read', resource: 'platform' } as const
const UPDATE = { action: 'platform_setting:update', resource: 'platform' } as const

/** The XML tools are loaded by the first who needs them. */
const tools = () => import('../../realms/saml/providers.ts')

/** Identity providers (SAML 2.0) that members of the platform sign in by. */
export const platformSsoRoutes =
  ({ change, fetch, now }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const keeperFor = (request: FastifyRequest): Keeper => ({
      fetch,
      now,
      caller: { ip: request.ip },
      transact: (fn) => change(actorOf(request), (c) => fn(platformStore(c.trx))),
    })
    const told = async (request: FastifyRequest, provider: SsoProvider) => {
      await change(actorOf(request), (c) => c.event({ name: 'sso_provider.changed', subject: provider.id }))
      return providerView(provider)
    }

    app.get('/platform/sso/providers', { config: READ }, async (request) => ({
      items: (await (await tools()).listProviders(keeperFor(request))).map((provider) => providerView(provider, { whole: false })),
    }))

    app.post('/platform/sso/providers', { config: UPDATE, schema: { body: Body } }, async (request, reply) => {
      const made = await (await tools()).createProvider(keeperFor(request), request.body)
      return reply.code(201).send(await told(request, made))
    })

    app.get('/platform/sso/providers/:id', { config: READ, schema: { params: Params } }, async (request) =>
      providerView(await (await tools()).readProvider(keeperFor(request), request.params.id)),
    )

    app.put('/platform/sso/providers/:id', { config: UPDATE, schema: { params: Params, body: Body } }, async (request) =>
      told(request, await (await tools()).changeProvider(keeperFor(request), request.params.id, request.body)),
    )

    app.delete('/platform/sso/providers/:id', { config: UPDATE, schema: { params: Params } }, async (request) =>
      told(request, await (await tools()).removeProvider(keeperFor(request), request.params.id)),
    )
  }
