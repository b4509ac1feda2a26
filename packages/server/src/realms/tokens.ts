import { createHmac, type KeyObject, sign, timingSafeEqual, verify } from 'node:crypto'
import { fail } from '../base/errors.ts'
import { derOf, rawOf } from './ecdsa.ts'

/** JSON Web Tokens (RFC 7519) in compact form, with the algorithms of RFC 7518 and RFC 8037 that realms use. */
export type Alg = 'HS256' | 'ES256' | 'RS256' | 'EdDSA'
const ALGS: readonly Alg[] = ['HS256', 'ES256', 'RS256', 'EdDSA']
export const isAlg = (text: unknown): text is Alg => ALGS.includes(text as Alg)

export type Claims = Readonly<Record<string, unknown>>

/** A key that verifies; `alg` belongs to the key, so a token never chooses it. */
export interface VerifyKey {
  readonly kid: string
  readonly alg: Alg
  /** Secret key for HS256, public key else. */
  readonly key: KeyObject
  /**
   * `own`: our asymmetric (or platform) key: issuer, audience and exp are demanded. `legacy`: the project's shared secret: people sign
   * tokens with it themselves, which may lack them. `third`: an issuer that the project trusts: as `own`, by its own issuer and audiences.
   */
  readonly trust: 'own' | 'legacy' | 'third'
  /** ms; null: until rotated. */
  readonly expiresAt: number | null
}

/** All that decides whether a token of a realm is accepted. */
export interface VerificationSet {
  readonly byKid: ReadonlyMap<string, VerifyKey>
  /** Tried in order where a token names no key (kid) that we know and its algorithm is a shared secret's. */
  readonly shared: readonly VerifyKey[]
  /** Canonical issuer first, then former ones. */
  readonly issuers: readonly string[]
  readonly audience: string
  /** Of a third party: one of these, where there are some. */
  readonly audiences?: readonly string[]
}

interface VerifiedToken {
  readonly claims: Claims
  /** The claims as PostgreSQL gets them: what was checked, never the raw text. */
  readonly claimsJson: string
  /** ms; null: the token has no end of its own. */
  readonly expiresAt: number | null
  readonly key: VerifyKey
}

/** Seconds that clocks may differ. */
export const CLOCK_SKEW = 30
const TOKEN_CHARS_MAX = 16_384

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

const refuse = (reason: string): Error =>
  fail('invalid_token', { reason }, { headers: { 'www-authenticate': `Bearer error="invalid_token", error_description="${reason}"` } })

const expired = (): Error =>
  fail('token_expired', {}, { headers: { 'www-authenticate': 'Bearer error="invalid_token", error_description="JWT expired"' } })

/** Only the one canonical base64url text of the bytes is taken: a token has exactly one spelling. */
function decode(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url')
  if (bytes.length === 0 || bytes.toString('base64url') !== part) throw refuse('it is malformed')
  return bytes
}

function parseObject(bytes: Buffer, reason = 'it is malformed'): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch {
    throw refuse(reason)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(reason)
  return value as Record<string, unknown>
}

const claimsOf = (bytes: Buffer) => parseObject(bytes, 'its claims are no object')

/** Of RFC 7518, and no key of ours is for them. */
const OTHER_ALGS: ReadonlySet<unknown> = new Set(['HS384', 'HS512', 'RS384', 'RS512', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512'])

const DIGEST: Record<Exclude<Alg, 'HS256'>, 'sha256' | null> = { ES256: 'sha256', RS256: 'sha256', EdDSA: null }

function signature(alg: Alg, key: KeyObject, input: string): Buffer {
  if (alg === 'HS256') return createHmac('sha256', key).update(input).digest()
  const signed = sign(DIGEST[alg], Buffer.from(input), key)
  return alg === 'ES256' ? rawOf(signed) : signed
}

function matches(key: VerifyKey, input: string, given: Buffer): boolean {
  if (key.alg === 'HS256') {
    const wanted = signature('HS256', key.key, input)
    return wanted.length === given.length && timingSafeEqual(wanted, given)
  }
  const bytes = Buffer.from(input)
  const signed = key.alg === 'ES256' ? derOf(given) : given
  return signed !== null && verify(DIGEST[key.alg], bytes, key.key, signed)
}

/** Signs claims as they are: the caller sets iss, aud, iat and exp. */
export function signToken(claims: Claims, key: { alg: Alg; key: KeyObject; kid?: string }): string {
  const header = key.kid === undefined ? { alg: key.alg, typ: 'JWT' } : { alg: key.alg, kid: key.kid, typ: 'JWT' }
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${signature(key.alg, key.key, input).toString('base64url')}`
}

function candidates(set: VerificationSet, alg: Alg, kid: string | undefined): readonly VerifyKey[] {
  const named = kid === undefined ? undefined : set.byKid.get(kid)
  if (named) return named.alg === alg ? [named] : []
  if (alg === 'HS256') return set.shared
  return kid === undefined ? [...set.byKid.values()].filter((key) => key.alg === alg) : []
}

const timeClaim = (claims: Claims, name: string): number | undefined => {
  const value = claims[name]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isFinite(value)) throw refuse(`its ${name} is not a time`)
  return value
}

const isAudience = (aud: unknown): boolean =>
  aud === undefined || aud === null || typeof aud === 'string' || (Array.isArray(aud) && aud.every((each) => typeof each === 'string'))

const audienceFits = (aud: unknown, wanted: string): boolean => (Array.isArray(aud) ? aud.includes(wanted) : aud === wanted)

function checkClaims(claims: Claims, key: VerifyKey, set: VerificationSet, now: number): number | null {
  const seconds = now / 1000
  const exp = timeClaim(claims, 'exp')
  const nbf = timeClaim(claims, 'nbf')
  const iat = timeClaim(claims, 'iat')
  if (exp !== undefined && exp + CLOCK_SKEW <= seconds) throw expired()
  if (nbf !== undefined && nbf - CLOCK_SKEW > seconds) throw refuse('it is not valid yet')
  if (iat !== undefined && iat - CLOCK_SKEW > seconds) throw refuse('it was issued in the future')
  if (!isAudience(claims.aud)) throw refuse('its aud is neither a text nor a list of texts')
  if (key.trust !== 'legacy') {
    if (exp === undefined) throw refuse('it has no end')
    if (typeof claims.iss !== 'string' || !set.issuers.includes(claims.iss)) throw refuse('its issuer is another')
    const wanted = key.trust === 'own' ? [set.audience] : (set.audiences ?? [])
    if (wanted.length > 0 && !wanted.some((each) => audienceFits(claims.aud, each))) throw refuse('its audience is another')
  }
  // `none` would mean the session's own user to PostgreSQL's set role.
  const { role } = claims
  if (role !== undefined && (typeof role !== 'string' || role === '' || role === 'none' || role.length > 63))
    throw refuse('its role is none')
  return exp === undefined ? null : (exp + CLOCK_SKEW) * 1000
}

/** What a token says of itself, believed by nobody: which keys to look for. null: it is none. */
export function peek(token: string): { readonly iss: string; readonly kid: string | null } | null {
  if (token.length > TOKEN_CHARS_MAX) return null
  const [head = '', body = ''] = token.split('.', 2)
  try {
    const { kid } = parseObject(decode(head))
    const { iss } = parseObject(decode(body))
    return typeof iss === 'string' ? { iss, kid: typeof kid === 'string' ? kid : null } : null
  } catch {
    return null
  }
}

/**
 * Verifies a compact JWT against a realm's keys; `now` in ms. Throws `token_expired` or `invalid_token` (both 401, with WWW-Authenticate).
 * The algorithm is the key's own; `none`, `crit`, keys that the token brings along (jwk, jku, x5u, x5c) are refused or never looked at.
 */
export function verifyToken(token: string, set: VerificationSet, now: number): VerifiedToken {
  if (token.length > TOKEN_CHARS_MAX) throw refuse('it is too long')
  if (token === '') throw refuse('it is empty')
  const [head, body, given, ...more] = token.split('.')
  if (given === undefined || more.length > 0) throw refuse(`it has ${token.split('.').length} parts, not 3`)
  if (!head) throw refuse('it is malformed')
  const { alg, kid, crit } = parseObject(decode(head))
  if (alg === 'none') throw refuse('it is unsecured: its algorithm is none')
  if (!body || !given) throw refuse('it is malformed')
  if (!isAlg(alg)) throw refuse(OTHER_ALGS.has(alg) ? 'no key here is for its algorithm' : 'its algorithm is unknown')
  if (crit !== undefined || (kid !== undefined && typeof kid !== 'string')) throw refuse('its header is not accepted')
  const signed = decode(given)
  const input = `${head}.${body}`
  const keys = candidates(set, alg, kid)
  const key = keys.find((each) => (each.expiresAt === null || each.expiresAt > now) && matches(each, input, signed))
  if (!key) throw refuse(keys.length === 0 ? 'no key here is for it' : 'no key here has signed it')
  const claims = claimsOf(decode(body))
  const end = checkClaims(claims, key, set, now)
  const keyEnd = key.expiresAt
  const expiresAt = end === null ? keyEnd : keyEnd === null ? end : Math.min(end, keyEnd)
  return { claims, claimsJson: JSON.stringify(claims), expiresAt, key }
}
