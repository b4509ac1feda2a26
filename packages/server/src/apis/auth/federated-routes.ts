import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fail, SovraError } from '../../base/errors.ts'
import { unlink } from '../../realms/auth/identities.ts'
import { challengeOf } from '../../realms/auth/pkce.ts'
import type { Realm } from '../../realms/auth/realm.ts'
import { redirectOf as targetOf, withParams } from '../../realms/auth/redirects.ts'
import { type Begun, beginOauth, finishOauth, resume } from '../../realms/federated/oauth.ts'
import { holderOf, paramOf, queryOf, redirectOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { wireCode } from './render.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
/** Browsers come from and go to providers without a key. */
const PUBLIC = { config: { action: 'public' } } as const
const COOKIE_LIFE = 600
const COOKIE = 'sovra_flow_'
const NAME_DIGITS = 16

const pathOf = (realm: Realm): string => `${new URL(realm.issuer).pathname}/callback`

/** Apple answers by a POST of its own page: the cookie must come along then, which browsers allow over TLS alone. */
function cookieOf(realm: Realm, hash: string, value: string): string {
  const site = realm.issuer.startsWith('https:') ? 'Secure; SameSite=None' : 'SameSite=Lax'
  return `${COOKIE}${hash.slice(0, NAME_DIGITS)}=${value}; Path=${pathOf(realm)}; Max-Age=${COOKIE_LIFE}; HttpOnly; ${site}`
}

function cookieIn(request: FastifyRequest, hash: string): string | null {
  const name = `${COOKIE}${hash.slice(0, NAME_DIGITS)}=`
  const found = (request.headers.cookie ?? '').split(/;\s*/).find((part) => part.startsWith(name))
  return found === undefined ? null : found.slice(name.length)
}

/** What went wrong, as pages read it: in the fragment, and in the query too where a server reads it. */
export function errorTarget(target: string, error: SovraError): string {
  const kind = error.status >= 500 ? 'server_error' : error.status === 400 ? 'invalid_request' : 'access_denied'
  const params = { error: kind, error_code: wireCode(error.code), error_description: error.message }
  return withParams(withParams(target, 'query', params), 'fragment', { ...params, sb: '' })
}

export const known = (request: FastifyRequest, error: unknown): SovraError => {
  if (error instanceof SovraError) {
    if (error.status >= 500) request.log.warn({ err: error }, 'a sign-in by a provider failed')
    return error
  }
  request.log.error({ err: error }, 'a sign-in by a provider failed')
  return fail('auth_unexpected_failure', { reason: 'Unexpected failure' }, { cause: error })
}

export function leave(reply: FastifyReply, target: string) {
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  return reply.redirect(target, 302)
}

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
    const begun = await beginOauth(realm, {
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
      return { url: `${options.project(request).issuer}/authorize?${own}` }
    }
    const { begun, realm } = await begin(request, false)
    if (skips) return { url: begun.url }
    if (begun.cookie) reply.header('set-cookie', cookieOf(realm, begun.cookie.hash, begun.cookie.value))
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
      const journey = await resume(realm, answer.state ?? '', (hash) => cookieIn(request, hash))
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

/** Providers that answer by a form. */
export function readsForms(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, text, done) =>
    done(null, Object.fromEntries(new URLSearchParams(String(text)))),
  )
}
