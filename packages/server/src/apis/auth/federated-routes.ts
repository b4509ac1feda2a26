import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fail, type SovraError } from '../../base/errors.ts'
import { unlink } from '../../realms/auth/identities.ts'
import { challengeOf } from '../../realms/auth/pkce.ts'
import type { Realm } from '../../realms/auth/realm.ts'
import { redirectOf as targetOf } from '../../realms/auth/redirects.ts'
import type { Begun } from '../../realms/federated/oauth.ts'
import { flowCookie, flowCookieIn } from './flow-cookie.ts'
import { holderOf, paramOf, queryOf, redirectOf } from './input.ts'
import { errorTarget, known, leave, readsForms } from './leave.ts'
import type { AuthOptions } from './options.ts'
import { apiOf, realmOf } from './realm.ts'

/** Loaded when the first browser goes to a provider. */
const oauth = () => import('../../realms/federated/oauth.ts')

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
/** Browsers come from and go to providers without a key. */
const PUBLIC = { config: { action: 'public' } } as const
const CALLBACK = '/callback'

type Answer = Readonly<Record<string, string | undefined>>

/** A provider may say why it refuses: its code, and as much of its text as a page can show. */
function refusal({ error, error_description }: Answer): SovraError {
  const kind = error ?? 'server_error'
  const reason = `${/^[\w.-]{1,64}$/.test(kind) ? kind : 'server_error'}: ${(error_description ?? '').replace(/[^\p{L}\p{N}\p{P}\p{Zs}]/gu, '').slice(0, 300)}`
  return fail('auth_bad_oauth_callback', { reason })
}

export function federatedRoutes(app: FastifyInstance, options: AuthOptions): void {
  const begin = async (request: FastifyRequest, linking: boolean): Promise<{ begun: Begun; realm: Realm }> => {
    const realm = realmOf(options, request)
    const query = request.query as Record<string, unknown>
    const params = Object.fromEntries(Object.entries(query).filter((each): each is [string, string] => typeof each[1] === 'string'))
    const begun = await (await oauth()).beginOauth(realm, {
      provider: params.provider ?? '',
      redirectTo: redirectOf(request),
      scopes: params.scopes ?? '',
      pkce: challengeOf(params),
      params,
      holder: linking ? holderOf(options, request) : null,
    })
    return { begun, realm }
  }

  app.get('/authorize', PUBLIC, async (request, reply) => {
    const skips = queryOf(request, 'skip_http_redirect') === 'true'
    const own = new URL(request.originalUrl, 'http://x').searchParams
    if (skips && !own.get('code_challenge')) {
      // The browser that goes there must get a cookie, which an answer to a script cannot give: it comes here once more.
      own.delete('skip_http_redirect')
      return { url: `${apiOf(options.project(request))}/authorize?${own}` }
    }
    const { begun, realm } = await begin(request, false)
    if (skips) return { url: begun.url }
    if (begun.cookie) reply.header('set-cookie', flowCookie(realm, CALLBACK, begun.cookie))
    return leave(reply, begun.url)
  })

  app.get('/user/identities/authorize', USE, async (request, reply) => {
    const { begun } = await begin(request, true)
    reply.header('cache-control', 'no-store')
    return queryOf(request, 'skip_http_redirect') === 'true' ? { url: begun.url } : leave(reply, begun.url)
  })

  app.delete('/user/identities/:id', USE, async (request) => {
    await unlink(realmOf(options, request), holderOf(options, request), paramOf(request, 'id'))
    return {}
  })

  const callback = async (request: FastifyRequest, reply: FastifyReply, answer: Answer) => {
    const realm = realmOf(options, request)
    let target = targetOf(realm.rules, realm.url, null)
    try {
      if (!answer.state) throw fail('auth_bad_oauth_callback', { reason: 'OAuth state parameter missing' })
      const { finishOauth, resume } = await oauth()
      const journey = await resume(realm, answer.state ?? '', (hash) => flowCookieIn(request, hash))
      target = journey.redirectTo
      if (answer.error !== undefined || !answer.code) throw refusal(answer)
      const { code, state = '', iss = null, user = null } = answer
      return leave(reply, await finishOauth(realm, journey, { code, state, iss, user }))
    } catch (error) {
      return leave(reply, errorTarget(target, known(request, error)))
    }
  }
  app.get('/callback', PUBLIC, (request, reply) => callback(request, reply, request.query as Answer))
  app.register(async (scope) => {
    readsForms(scope)
    scope.post('/callback', PUBLIC, (request, reply) => callback(request, reply, (request.body ?? {}) as Answer))
  })
}
