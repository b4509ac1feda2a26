import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { redirectOf as targetOf } from '../../realms/auth/redirects.ts'
import type { Came } from '../../realms/saml/logout-request.ts'
import { serviceOf } from '../../realms/saml/service.ts'
import { holderOf, queryOf, redirectOf } from './input.ts'
import { errorTarget, known, leave, readsForms } from './leave.ts'
import type { AuthOptions } from './options.ts'
import { openRealm } from './saml-realm.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
/** Identity providers send browsers here, without a key. */
const PUBLIC = { config: { action: 'public' } } as const
const SLO = '/sso/saml/slo'

/** XML tools are loaded by the first who needs them. */
const tools = () => import('../../realms/saml/logout.ts')

/** Single log-out (SAML 2.0): asked by applications, and by identity providers. */
export function samlLogoutRoutes(app: FastifyInstance, options: AuthOptions): void {
  app.post('/sso/logout', USE, async (request, reply) => {
    const realm = openRealm(options, request)
    const holder = holderOf(options, request)
    reply.header('cache-control', 'no-store')
    const service = serviceOf(realm, await options.samlKeys(request))
    return { url: await (await tools()).beginLogout(realm, service, holder, redirectOf(request)) }
  })

  /** Browsers come here by themselves: what is wrong is told to the application's page. */
  async function arrive(request: FastifyRequest, reply: FastifyReply, came: Came | { readonly answerTo: string }) {
    const realm = openRealm(options, request)
    try {
      const { answerLogout, finishLogout } = await tools()
      if ('answerTo' in came) return leave(reply, await finishLogout(realm, came.answerTo))
      const service = serviceOf(realm, await options.samlKeys(request))
      return leave(reply, await answerLogout(realm, service, came))
    } catch (error) {
      return leave(reply, errorTarget(targetOf(realm.rules, realm.url, null), known(request, error)))
    }
  }

  app.get(SLO, PUBLIC, async (request, reply) => {
    const query = request.url.split('?').slice(1).join('?')
    const answers = queryOf(request, 'SAMLResponse') !== null && queryOf(request, 'SAMLRequest') === null
    return arrive(request, reply, answers ? { answerTo: queryOf(request, 'RelayState') ?? '' } : { by: 'redirect', query })
  })

  app.register(async (scope) => {
    readsForms(scope)
    scope.post(SLO, PUBLIC, async (request, reply) => {
      const { SAMLRequest, SAMLResponse, RelayState = '' } = (request.body ?? {}) as Readonly<Record<string, string | undefined>>
      const answers = SAMLResponse !== undefined && SAMLRequest === undefined
      const came = { by: 'post', samlRequest: SAMLRequest ?? '', relayState: RelayState } as const
      return arrive(request, reply, answers ? { answerTo: RelayState } : came)
    })
  })
}
