import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import { isSamlOn } from '../../realms/saml/service.ts'
import { providerView } from '../../realms/saml/view.ts'
import type { SsoProvider } from '../../realms/store/types.ts'
import { bodyOf, paramOf, queryOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'

const ADMINISTER = { config: { action: 'auth:administer', resource: 'project' } } as const

const tools = () => import('../../realms/saml/providers.ts')

/** Identity providers of a project, for its administrators. */
export function ssoAdminRoutes(app: FastifyInstance, options: AuthOptions): void {
  function open(request: FastifyRequest) {
    const realm = realmOf(options, request)
    if (!isSamlOn(realm)) throw fail('auth_saml_provider_disabled')
    return realm
  }

  app.get('/admin/sso/providers', ADMINISTER, async (request) => {
    const all = await (await tools()).listProviders(open(request))
    const [exact, prefix] = [queryOf(request, 'resource_id'), queryOf(request, 'resource_id_prefix')]
    const fits = ({ resourceId }: SsoProvider) => (exact ? resourceId === exact : prefix ? resourceId?.startsWith(prefix) : true)
    return { items: all.filter(fits).map((provider) => providerView(provider, { whole: false })) }
  })

  app.post('/admin/sso/providers', ADMINISTER, async (request, reply) => {
    const made = await (await tools()).createProvider(open(request), bodyOf(request))
    return reply.code(201).send(providerView(made))
  })

  app.get('/admin/sso/providers/:id', ADMINISTER, async (request) =>
    providerView(await (await tools()).readProvider(open(request), paramOf(request, 'id'))),
  )

  app.put('/admin/sso/providers/:id', ADMINISTER, async (request) =>
    providerView(await (await tools()).changeProvider(open(request), paramOf(request, 'id'), bodyOf(request))),
  )

  app.delete('/admin/sso/providers/:id', ADMINISTER, async (request) =>
    providerView(await (await tools()).removeProvider(open(request), paramOf(request, 'id'))),
  )
}
