import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import { bearerOf } from '../../gateway/authenticate.ts'
import type { Holder } from '../../realms/auth/account.ts'
import type { AuthOptions } from './options.ts'

export type Body = Readonly<Record<string, unknown>>

/** What the fields of bodies are, wherever they come: clients of typed languages send nothing else. */
const TYPES: readonly (readonly [type: 'string' | 'boolean' | 'object', names: readonly string[]])[] = [
  ['string', ['email', 'phone', 'password', 'current_password', 'nonce', 'channel', 'code_challenge', 'code_challenge_method']],
  ['string', ['type', 'token', 'token_hash', 'redirect_to', 'refresh_token', 'auth_code', 'code_verifier', 'code', 'challenge_id']],
  ['string', ['friendly_name', 'factor_type', 'issuer', 'new_email', 'password_hash', 'role', 'ban_duration']],
  ['boolean', ['create_user', 'email_confirm', 'phone_confirm', 'should_soft_delete']],
  ['object', ['data', 'user_metadata', 'app_metadata', 'gotrue_meta_security']],
]
const NUL = '\\u0000'

/** Clients send JSON whatever they call it, and nothing at all where there is nothing to say. */
export function readsJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, text, done) => {
    if (text === '') return done(null)
    try {
      // PostgreSQL keeps no NUL in a text.
      if (String(text).includes(NUL)) throw fail('auth_bad_json', { reason: 'a text holds a NUL' })
      done(null, JSON.parse(String(text)))
    } catch (cause) {
      done(fail('auth_bad_json', { reason: 'it is not JSON' }, { cause }))
    }
  })
}

export function bodyOf(request: FastifyRequest): Body {
  const { body } = request
  if (body === undefined || body === null) return {}
  if (typeof body !== 'object' || Array.isArray(body)) throw fail('auth_bad_json', { reason: 'it is not an object' })
  for (const [type, names] of TYPES)
    for (const name of names) {
      const value = (body as Body)[name]
      if (value === undefined || value === null) continue
      if (typeof value !== type || Array.isArray(value)) throw fail('auth_bad_json', { reason: `cannot read ${name} as ${type}` })
    }
  return body as Body
}

/** The same where there must be one. */
export function paramsOf(request: FastifyRequest): Body {
  if (request.body === undefined) throw fail('auth_bad_json', { reason: 'unexpected end of JSON input' })
  return bodyOf(request)
}

export function queryOf(request: FastifyRequest, name: string): string | null {
  const value = (request.query as Readonly<Record<string, unknown>>)[name]
  return typeof value === 'string' ? value : null
}

export const paramOf = (request: FastifyRequest, name: string): string => (request.params as Readonly<Record<string, string>>)[name] ?? ''

/** Where the link of a mail shall lead: clients say it in the query, some in the body or a header; else back to the page that asks. */
export function redirectOf(request: FastifyRequest): string | null {
  const { redirect_to, referer } = request.headers
  const given = [redirect_to, queryOf(request, 'redirect_to'), (request.body as Body | undefined)?.redirect_to, referer]
  return given.find((each): each is string => typeof each === 'string' && each !== '') ?? null
}

/** The user whose token the request carries. An API key is nobody's. */
export function holderOf(options: AuthOptions, request: FastifyRequest): Holder {
  const principal = options.principal(request)
  if (principal === null || bearerOf(request.headers.authorization) === undefined) throw fail('auth_no_authorization')
  // Their ids may look like those of users here.
  if (principal.trust === 'third')
    throw fail('auth_bad_jwt', { reason: 'invalid JWT: it is of another issuer, whose users have no account here' })
  const { sub, aal } = principal.claims
  if (principal.kind !== 'user' || typeof sub !== 'string') throw fail('auth_bad_jwt', { reason: 'invalid claim: missing sub claim' })
  if (!isUuid(sub)) throw fail('auth_bad_sub')
  const { sessionId } = principal
  if (sessionId !== null && !isUuid(sessionId)) throw fail('auth_bad_jwt', { reason: 'invalid claim: session_id claim must be a UUID' })
  return { userId: sub, sessionId, aal: typeof aal === 'string' ? aal : 'aal1' }
}

const PER_PAGE = 50
const PER_PAGE_MAX = 1000

export function pageOf(request: FastifyRequest): { page: number; limit: number; offset: number } {
  const bad = (reason: string) => fail('auth_validation_failed', { reason: `Bad Pagination Parameters: ${reason}` })
  const number = (name: string, otherwise: number): number => {
    const text = queryOf(request, name)
    if (text === null || text === '') return otherwise
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (!Number.isSafeInteger(value)) throw bad(`strconv.ParseUint: parsing ${JSON.stringify(text.slice(0, 40))}: invalid syntax`)
    return value
  }
  const page = Math.max(1, number('page', 1))
  const perPage = number('per_page', PER_PAGE)
  if (perPage === 0) throw bad('per_page must be greater than 0')
  const limit = Math.min(perPage, PER_PAGE_MAX)
  return { page, limit, offset: (page - 1) * limit }
}
