import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { demandCaptcha } from '../../realms/auth/captcha.ts'
import { challengeOf, type PkceChallenge } from '../../realms/auth/pkce.ts'
import { redirectOf as targetOf } from '../../realms/auth/redirects.ts'
import { serviceMetadata } from '../../realms/saml/own-metadata.ts'
import { serviceOf } from '../../realms/saml/service.ts'
import { flowCookie, flowCookieIn } from './flow-cookie.ts'
import { type Body, bodyOf, queryOf, redirectOf } from './input.ts'
import { errorTarget, known, leave, readsForms } from './leave.ts'
import type { AuthOptions } from './options.ts'
import { openRealm } from './saml-realm.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
/** Browsers come from identity providers without a key, which read our metadata without one too. */
const PUBLIC = { config: { action: 'public' } } as const
const ACS = '/sso/saml/acs'

/** XML tools are loaded by the first who needs them. */
const tools = () => import('../../realms/saml/sign-in.ts')

const wish = (request: FastifyRequest, given: Body, pkce: PkceChallenge | null) => ({
  providerId: given.provider_id,
  domain: given.domain,
  redirectTo: redirectOf(request),
  pkce,
})

/** Single sign-on by an organisation's identity provider (SAML 2.0). */
export function samlRoutes(app: FastifyInstance, options: AuthOptions): void {
  async function begin(request: FastifyRequest, given: Body) {
    const realm = openRealm(options, request)
    const { beginSaml } = await tools()
    const service = serviceOf(realm, await options.samlKeys(request))
    return { realm, begun: await beginSaml(realm, service, wish(request, given, challengeOf(given))) }
  }

  function go(reply: FastifyReply, { realm, begun }: Awaited<ReturnType<typeof begin>>) {
    if (begun.cookie) reply.header('set-cookie', flowCookie(realm, ACS, begun.cookie))
    return leave(reply, begun.url, 303)
  }

  app.post('/sso', USE, async (request, reply) => {
    const body = bodyOf(request)
    const realm = openRealm(options, request)
    await demandCaptcha(realm, body)
    reply.header('cache-control', 'no-store')
    if (body.skip_http_redirect !== true) return go(reply, await begin(request, body))
    const { needsBrowser } = await tools()
    if (!needsBrowser(realm, challengeOf(body))) return { url: (await begin(request, body)).begun.url }
    // The browser that goes there must get a cookie, which an answer to a script cannot give: it comes here first.
    const names = ['provider_id', 'domain', 'redirect_to']
    const params = names.flatMap((name) => (typeof body[name] === 'string' && body[name] !== '' ? [[name, body[name]]] : []))
    return { url: `${realm.api}/sso?${new URLSearchParams(params)}` }
  })

  app.get('/sso', PUBLIC, async (request, reply) => go(reply, await begin(request, request.query as Body)))

  app.get('/sso/saml/metadata', PUBLIC, async (request, reply) => {
    const realm = openRealm(options, request)
    const service = serviceOf(realm, await options.samlKeys(request))
    if (queryOf(request, 'download') === 'true') reply.header('content-disposition', 'attachment; filename="metadata.xml"')
    reply.header('cache-control', 'public, max-age=600').type('application/xml; charset=utf-8')
    return serviceMetadata(service)
  })

  app.register(async (scope) => {
    readsForms(scope)
    scope.post(ACS, PUBLIC, async (request, reply) => {
      const realm = openRealm(options, request)
      const { SAMLResponse, RelayState = '' } = (request.body ?? {}) as Readonly<Record<string, string | undefined>>
      let target = targetOf(realm.rules, realm.url, null)
      try {
        const { landingOf, finishSaml } = await tools()
        const landing = await landingOf(realm, RelayState, (hash) => flowCookieIn(request, hash))
        target = landing.journey.redirectTo
        const service = serviceOf(realm, await options.samlKeys(request))
        return leave(reply, await finishSaml(realm, service, landing, SAMLResponse))
      } catch (error) {
        return leave(reply, errorTarget(target, known(request, error)))
      }
    })
  })
}
