import { createHash } from 'node:crypto'
import { createRemoteJWKSet, customFetch, decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose'
import { expiringMap } from '../../base/cache.ts'
import { safeEqual, sha256 } from '../../base/crypto.ts'
import { fail, isSovraError } from '../../base/errors.ts'
import type { Holder } from '../auth/account.ts'
import { type Grant, granted, signIn } from '../auth/grants.ts'
import { askBeforeEntering, enterAs, linkTo, mayLink } from '../auth/identities.ts'
import { audit, limitAddress, type Realm } from '../auth/realm.ts'
import { configurationOf, fetchThrough } from './client.ts'
import { outsiderOf } from './oauth.ts'
import { issuerOf, type Source, sourceOf } from './source.ts'

export interface IdTokenSignIn {
  readonly provider: unknown
  readonly idToken: unknown
  readonly accessToken: unknown
  readonly nonce: unknown
  /** Who links the identity to themselves. */
  readonly holder: Holder | null
}

/** Signatures only: a shared secret would make each of our applications a provider. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const SKEW = 30
const KEYS_LIFE = 600_000
const PATIENCE = 5_000
const CHARS = 16_384

type Keys = ReturnType<typeof createRemoteJWKSet>
const known = expiringMap<Keys>(200)

function keysOf(realm: Realm, url: string): Keys {
  const before = known.get(url)
  if (before) return before
  const keys = createRemoteJWKSet(new URL(url), {
    [customFetch]: (address, options) => fetchThrough(realm.fetch)(address, options),
    timeoutDuration: PATIENCE,
    cacheMaxAge: KEYS_LIFE,
  })
  known.set(url, keys, Date.now() + KEYS_LIFE)
  return keys
}

const refuse = (reason: string, cause?: unknown) => fail('auth_id_token_refused', { reason }, { cause })

/** Entra ID names each tenant in the issuer, and `{tenantid}` in the metadata that all of them share. */
const issuerFor = (said: string, claims: JWTPayload): string => said.replace('{tenantid}', typeof claims.tid === 'string' ? claims.tid : '')

async function verified(realm: Realm, source: Source, idToken: string): Promise<{ claims: JWTPayload; issuer: string }> {
  try {
    const config = await configurationOf(realm, source)
    const { issuer: said, jwks_uri } = config.serverMetadata()
    if (!jwks_uri) throw refuse('The provider publishes no keys')
    const issuer = issuerFor(said, decodeJwt(idToken))
    const checks = {
      issuer,
      audience: [...source.audiences],
      algorithms: ALGORITHMS,
      clockTolerance: SKEW,
      requiredClaims: ['sub', 'exp', 'iat'],
    }
    const { payload } = await jwtVerify(idToken, keysOf(realm, jwks_uri), { ...checks, currentDate: new Date(realm.now()) })
    return { claims: payload, issuer }
  } catch (error) {
    if (isSovraError(error, 'auth_id_token_refused') || isSovraError(error, 'auth_validation_failed')) throw error
    if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud') throw refuse('Unacceptable audience in id_token', error)
    if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'iss') throw refuse('Unacceptable issuer in id_token', error)
    if (error instanceof errors.JWTExpired) throw refuse('Bad ID token: it has expired', error)
    throw refuse('Bad ID token', error)
  }
}

/** The nonce binds the token to the application that asked for it: both have it or neither, hashed in the token or plain. */
function demandNonce(source: Source, claims: JWTPayload, nonce: string): void {
  if (source.skipNonce) return
  const said = typeof claims.nonce === 'string' ? claims.nonce : ''
  if ((said === '') !== (nonce === '')) throw refuse('Passed nonce and nonce in id_token should either both exist or not.')
  if (said !== '' && !safeEqual(said, sha256(nonce)) && !safeEqual(said, nonce)) throw fail('auth_nonce_refused')
}

const DIGESTS: Readonly<Record<string, string>> = { '256': 'sha256', '384': 'sha384', '512': 'sha512' }

/** The access token that is brought along belongs to the id_token (OpenID Connect Core 1.0 §3.1.3.6). */
function demandOwn(idToken: string, claims: JWTPayload, accessToken: string): void {
  if (accessToken === '' || typeof claims.at_hash !== 'string') return
  const { alg } = JSON.parse(Buffer.from(idToken.split('.')[0] ?? '', 'base64url').toString()) as { alg: string }
  const digest = createHash(DIGESTS[alg.slice(-3)] ?? 'sha512')
    .update(accessToken)
    .digest()
  if (!safeEqual(digest.subarray(0, digest.length / 2).toString('base64url'), claims.at_hash))
    throw refuse('at_hash and access_token do not match')
}

/** At this door a provider that is off has a code of its own, which clients know, and one that nobody knows its own words. */
function openSource({ rules }: Realm, provider: string): Source {
  try {
    return sourceOf(rules, provider)
  } catch (cause) {
    const issuer = issuerOf(rules, provider)
    if (issuer !== null) throw fail('auth_provider_disabled', { issuer }, { cause })
    throw fail('auth_validation_failed', { reason: `Custom OIDC provider ${JSON.stringify(provider.slice(0, 64))} not allowed` }, { cause })
  }
}

/** Grant type `id_token`: an application brings what Google's, Apple's or another's SDK gave it. */
export async function signInByIdToken(realm: Realm, given: IdTokenSignIn): Promise<Grant> {
  const { provider, idToken, accessToken = '', nonce = '' } = given
  if (typeof idToken !== 'string' || idToken === '' || idToken.length > CHARS) throw refuse('id_token required')
  if (typeof provider !== 'string' || provider === '') throw refuse('provider or client_id and issuer required')
  await limitAddress(realm, 'sign_ins')
  const source = openSource(realm, provider)
  if (source.preset.kind !== 'oidc') throw fail('auth_validation_failed', { reason: `${source.name} has no id_tokens` })
  const { claims, issuer } = await verified(realm, source, idToken)
  demandNonce(source, claims, String(nonce ?? ''))
  demandOwn(idToken, claims, String(accessToken ?? ''))
  const profile = source.preset.parse({ main: claims, more: null })
  if (profile.id === '') throw refuse('Missing sub claim in id_token')
  const outsider = outsiderOf(source, profile, issuer)
  const { holder } = given
  if (!holder) await askBeforeEntering(realm, outsider)
  const draft = await realm.transact(async (store) => {
    const user = holder
      ? await linkTo(realm, store, (await mayLink(realm, store, holder)).id, outsider)
      : await enterAs(realm, store, outsider)
    await audit(realm, store, 'login', user, { provider: source.name })
    return signIn(realm, store, user, 'oauth')
  })
  return granted(realm, draft)
}
