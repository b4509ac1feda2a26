import { hash } from 'node:crypto'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { expiringMap, recentMap } from '../base/cache.ts'
import { sha256 } from '../base/crypto.ts'
import { fail, isSovraError } from '../base/errors.ts'
import { looksOpaque } from '../realms/api-keys.ts'
import { verifyToken } from '../realms/tokens.ts'
import { projectOf } from './resolve.ts'
import { roleOf, type ThirdParties } from './third-party.ts'
import type { ProjectContext, ProjectPrincipal } from './types.ts'

/** In KiB of claims: who signs tokens says how long they are. */
const VERIFIED = 50_000
const weightOf = ({ principal }: Cached): number => 1 + (principal.claimsJson.length >> 10)
/** Credentials in steady use, which are compared instead of hashed: about 1 KiB each. */
const BUSY = 5_000
const BUSY_LENGTH = 4_096
const CHALLENGE = { 'www-authenticate': 'Bearer' }

/** The token of `Authorization: Bearer …` (RFC 6750); undefined: none, or another scheme, which is not ours to judge. */
export function bearerOf(authorization: string | undefined): string | undefined {
  if (authorization === undefined || authorization.length < 8) return undefined
  const scheme = authorization.slice(0, 7)
  if (scheme !== 'Bearer ' && scheme.toLowerCase() !== 'bearer ') return undefined
  return authorization.slice(7).trim()
}

/** Who a credential is in a project, by its keys alone: no I/O, so a refusal never wakes anything. */
export interface ProjectAuthenticator {
  /**
   * Role from the Bearer token, else from the key, else keyless. Throws `invalid_api_key`, `invalid_token`, `token_expired`,
   * `session_ended` or `keyless_refused` (all 401 with WWW-Authenticate). For sockets: call it with the `apikey` of the query.
   */
  authenticate(context: ProjectContext, authorization: string | undefined, apikey: string | undefined): ProjectPrincipal
  /** Any one credential: an opaque key, an API key that is a JWT, a user's token. */
  credential(context: ProjectContext, text: string): ProjectPrincipal
  /** Keys of a third party that must be asked for first; null: nothing to wait for, as nearly always. Never rejects. */
  prepare(context: ProjectContext, authorization: string | undefined): Promise<void> | null
}

interface Cached {
  readonly principal: ProjectPrincipal
  /** ms; when it ends. */
  readonly until: number
  /** Of the reading of the project under which it was verified. */
  readonly tag: string
}

function opaque(context: ProjectContext, text: string, now: number): { principal: ProjectPrincipal; until: number } {
  const known = context.apiKeys.get(sha256(text))
  if (!known || (known.until !== null && known.until <= now)) throw fail('invalid_api_key', {}, { headers: CHALLENGE })
  const { role } = known
  const principal: ProjectPrincipal = {
    realm: context.ref,
    kind: 'key',
    role,
    claims: { role },
    claimsJson: JSON.stringify({ role }),
    sessionId: null,
    exp: known.until,
  }
  return { principal, until: known.until ?? Number.POSITIVE_INFINITY }
}

const untrusted = (reason: string): Error =>
  fail('invalid_token', { reason }, { headers: { 'www-authenticate': `Bearer error="invalid_token", error_description="${reason}"` } })

/** A token of an issuer that the project trusts; null: of none. Its keys may change: it is looked at again after a while. */
function third(
  parties: ThirdParties,
  context: ProjectContext,
  text: string,
  now: number,
): { principal: ProjectPrincipal; until: number } | null {
  const found = context.thirdParties.size === 0 ? null : parties.setFor(context, text)
  if (!found) return null
  const { claims: said, expiresAt } = verifyToken(text, found.set, now)
  const role = roleOf(found.rule, said)
  if (role === null) throw untrusted('its role is not one that its issuer may give')
  const claims = { ...said, role }
  const principal: ProjectPrincipal = {
    realm: context.ref,
    kind: 'user',
    role,
    claims,
    claimsJson: JSON.stringify(claims),
    sessionId: null,
    trust: 'third',
    exp: expiresAt,
  }
  return { principal, until: Math.min(expiresAt ?? found.until, found.until) }
}

function token(context: ProjectContext, text: string, now: number): { principal: ProjectPrincipal; until: number } {
  const verified = verifyToken(text, context.verification, now)
  const known = context.apiKeys.get(sha256(text))
  if (known && known.until !== null && known.until <= now) throw fail('invalid_api_key', {}, { headers: CHALLENGE })
  const { role, session_id } = verified.claims
  const claims = role === undefined ? { ...verified.claims, role: 'anon' } : verified.claims
  const ends = [verified.expiresAt, known?.until ?? null].filter((end) => end !== null)
  const exp = ends.length === 0 ? null : Math.min(...ends)
  const principal: ProjectPrincipal = {
    realm: context.ref,
    kind: known ? 'key' : 'user',
    role: typeof role === 'string' ? role : 'anon',
    claims,
    claimsJson: role === undefined ? JSON.stringify(claims) : verified.claimsJson,
    sessionId: typeof session_id === 'string' ? session_id : null,
    exp,
  }
  return { principal, until: exp ?? Number.POSITIVE_INFINITY }
}

/**
 * Verified credentials are kept by the hash of (reading of the project, text) until they end: a new reading (a revoked key, a rotated one)
 * makes every former entry unreachable at once.
 */
export function makeProjectAuthenticator(parties: ThirdParties, now: () => number = Date.now): ProjectAuthenticator {
  const verified = expiringMap<Cached>(VERIFIED, now, weightOf)
  // The key that a project's clients send with every request, compared instead of hashed.
  const lastKey = new WeakMap<ProjectContext, { text: string; until: number; principal: ProjectPrincipal }>()

  const busy = recentMap<Cached>(BUSY)

  function known(context: ProjectContext, text: string): ProjectPrincipal {
    const recent = busy.get(text)
    if (recent !== undefined && recent.tag === context.tag && recent.until > now()) return recent.principal
    const id = hash('sha256', context.tag + text, 'base64')
    let cached = verified.get(id)
    if (!cached) {
      const found = looksOpaque(text) ? opaque(context, text, now()) : (third(parties, context, text, now()) ?? token(context, text, now()))
      cached = { ...found, tag: context.tag }
      verified.set(id, cached, found.until)
    }
    if (text.length <= BUSY_LENGTH) busy.set(text, cached)
    return cached.principal
  }

  function credential(context: ProjectContext, text: string): ProjectPrincipal {
    const principal = known(context, text)
    if (context.denied.size > 0 && principal.sessionId !== null && context.denied.has(principal.sessionId)) {
      throw fail('session_ended', {}, { headers: CHALLENGE })
    }
    return principal
  }

  function key(context: ProjectContext, text: string): ProjectPrincipal {
    const last = lastKey.get(context)
    if (last && last.text === text && last.until > now()) return last.principal
    try {
      const principal = credential(context, text)
      // A session's token may be denied at any time: only keys are remembered here.
      if (principal.kind === 'key') lastKey.set(context, { text, until: principal.exp ?? Number.POSITIVE_INFINITY, principal })
      return principal
    } catch (error) {
      if (isSovraError(error, 'invalid_token') || isSovraError(error, 'token_expired')) {
        throw fail('invalid_api_key', {}, { headers: CHALLENGE, cause: error })
      }
      throw error
    }
  }

  return {
    credential,
    prepare(context, authorization) {
      if (context.thirdParties.size === 0) return null
      const bearer = bearerOf(authorization)
      return bearer === undefined ? null : parties.prepare(context, bearer)
    },
    authenticate(context, authorization, apikey) {
      const bearer = bearerOf(authorization)
      if (apikey !== undefined && apikey !== '') {
        const principal = key(context, apikey)
        return bearer === undefined || bearer === apikey ? principal : credential(context, bearer)
      }
      if (bearer !== undefined) return credential(context, bearer)
      if (context.allowKeyless) return context.anonymous
      throw fail('keyless_refused', {}, { headers: CHALLENGE })
    },
  }
}

/** onRequest of projects' APIs. Cookies are never looked at here. */
export function authenticateHook(authenticator: ProjectAuthenticator) {
  return (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction) => {
    if (request.is404 || request.routeOptions.config.action === 'public') return done()
    const { authorization, apikey } = request.headers
    const settle = () => {
      try {
        request.principal = authenticator.authenticate(projectOf(request), authorization, apikey as string | undefined)
      } catch (error) {
        return done(error as Error)
      }
      done()
    }
    const wait = authenticator.prepare(projectOf(request), authorization)
    if (wait) void wait.then(settle)
    else settle()
  }
}

/** Who asks an API of a project; not for public routes. */
export function userOf(request: FastifyRequest): ProjectPrincipal {
  const { principal } = request
  if (principal === null || principal.realm === 'platform') throw fail('unauthenticated', {}, { headers: CHALLENGE })
  return principal as ProjectPrincipal
}
