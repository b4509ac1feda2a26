import * as oidc from 'openid-client'
import { safeEqual, sha256 } from '../../base/crypto.ts'
import { fail, isSovraError } from '../../base/errors.ts'
import { randomToken } from '../../base/ids.ts'
import { budgetKey } from '../../base/proxies.ts'
import type { Holder } from '../auth/account.ts'
import { arrive, type Carried, codeFor, depart, type Journey } from '../auth/flows.ts'
import { type Draft, type Grant, granted, signIn, tie } from '../auth/grants.ts'
import { askBeforeEntering, enterAs, linkTo, mayLink, type Outsider } from '../auth/identities.ts'
import type { PkceChallenge } from '../auth/pkce.ts'
import { audit, hidden, limitAddress, type Realm } from '../auth/realm.ts'
import { redirectOf, withParams } from '../auth/redirects.ts'
import type { Json, RealmStore } from '../store/types.ts'
import { configurationOf, fetchThrough } from './client.ts'
import type { Answers, Profile } from './profiles.ts'
import { type Source, sourceOf } from './source.ts'

export interface Beginning {
  readonly provider: string
  readonly redirectTo: string | null
  readonly scopes: string
  readonly pkce: PkceChallenge | null
  /** What the application says to the provider; only what is known to be harmless goes on. */
  readonly params: Readonly<Record<string, string>>
  /** Who links an identity to themselves; null: a sign-in. */
  readonly holder: Holder | null
}

export interface Begun {
  /** At the provider. */
  readonly url: string
  /** For the browser, which must show it when it comes back; null: the application's verifier binds the flow. */
  readonly cookie: { readonly value: string; readonly hash: string } | null
}

/** Parameters that applications may hand on to a provider. */
const PASSED = [
  'access_type',
  'prompt',
  'login_hint',
  'hd',
  'domain_hint',
  'ui_locales',
  'acr_values',
  'claims',
  'max_age',
  'connection',
  'organization',
  'workos_provider',
  'idp_hint',
  'kc_idp_hint',
]

const fromNetwork = (realm: Realm): string => hidden(budgetKey(realm.caller.ip ?? ''))

/** Where to send the browser. Throws `auth_validation_failed`, `auth_manual_linking_disabled`, `auth_provider_exchange_failed`. */
export async function beginOauth(realm: Realm, given: Beginning): Promise<Begun> {
  const source = sourceOf(realm.rules, given.provider)
  await limitAddress(realm, 'sign_ins')
  const { holder } = given
  if (holder) await realm.transact((store) => mayLink(realm, store, holder))
  const config = await configured(realm, source)
  const verifier = source.pkce ? oidc.randomPKCECodeVerifier() : null
  const cookie = given.pkce || holder ? null : randomToken()
  const journey: Journey = {
    provider: source.name,
    redirectTo: redirectOf(realm.rules, realm.url, given.redirectTo),
    pkce: given.pkce,
    verifier,
    nonce: source.preset.kind === 'oidc' ? randomToken() : null,
    cookie: cookie === null ? null : sha256(cookie),
    userId: holder?.userId ?? null,
    from: holder && !given.pkce ? fromNetwork(realm) : null,
  }
  const { state } = await realm.transact((store) => depart(realm, store, journey))
  const wanted = Object.fromEntries(PASSED.filter((name) => given.params[name] !== undefined).map((name) => [name, given.params[name]!]))
  if (wanted.workos_provider) wanted.provider = wanted.workos_provider
  const url = oidc.buildAuthorizationUrl(config, {
    ...wanted,
    ...source.preset.params,
    redirect_uri: callbackOf(realm),
    response_type: 'code',
    scope: [source.scopes, given.scopes.replaceAll(',', ' ').slice(0, 1024)].join(' ').trim(),
    state,
    ...(journey.nonce === null ? {} : { nonce: journey.nonce }),
    ...(verifier === null ? {} : { code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }),
    ...(source.preset.formPost ? { response_mode: 'form_post' } : {}),
  })
  return { url: url.href, cookie: cookie === null ? null : { value: cookie, hash: sha256(cookie) } }
}

const callbackOf = (realm: Realm): string => `${realm.api}/callback`

/** What is wrong at the provider is said to its project in the log, never with the provider's own words. */
function refused(error: unknown): Error {
  const { code, name, cause } = Object(error) as { code?: unknown; name?: unknown; cause?: unknown }
  if (isSovraError(error) || isSovraError(cause))
    return fail('auth_provider_exchange_failed', { reason: 'the provider cannot be reached' }, { cause: error })
  return fail('auth_provider_exchange_failed', { reason: String(code ?? name ?? 'failed').slice(0, 80) }, { cause: error })
}

async function configured(realm: Realm, source: Source): Promise<oidc.Configuration> {
  try {
    return await configurationOf(realm, source)
  } catch (error) {
    if (isSovraError(error, 'auth_validation_failed')) throw error
    throw refused(error)
  }
}

/** The browser that comes back is the one that left. Throws `auth_bad_oauth_state`. */
export function demandBrowser({ cookie: wanted }: Journey, cookie: (hash: string) => string | null): void {
  const shown = wanted === null ? null : cookie(wanted)
  if (wanted !== null && (shown === null || !safeEqual(sha256(shown), wanted)))
    throw fail('auth_bad_oauth_state', { reason: 'it began in another browser' })
}

/** The journey of an answer, used up. Throws `auth_bad_oauth_state`. */
export async function resume(realm: Realm, state: string, cookie: (hash: string) => string | null): Promise<Journey> {
  await limitAddress(realm, 'sign_ins')
  const journey = state === '' ? null : await realm.transact((store) => arrive(realm, store, state))
  if (!journey) throw fail('auth_bad_oauth_state', { reason: 'it is unknown, was used, or is too old' })
  const { from } = journey
  demandBrowser(journey, cookie)
  if (from !== null && from !== fromNetwork(realm)) throw fail('auth_bad_oauth_state', { reason: 'it began elsewhere' })
  return journey
}

interface Account {
  readonly profile: Profile
  readonly issuer: string
  readonly accessToken: string
  readonly refreshToken: string | null
}

async function askOauth2(realm: Realm, source: Source, tokens: Json): Promise<Answers> {
  const { preset } = source
  if (preset.kind !== 'oauth2') throw fail('internal', {}, { cause: 'not an OAuth 2.0 provider' })
  if (preset.account === null) return { main: tokens, more: null }
  const ask = async (url: string): Promise<unknown> => {
    const headers = { accept: 'application/json', ...preset.headers, authorization: `Bearer ${String(tokens.access_token)}` }
    const answer = await fetchThrough(realm.fetch)(url, { headers })
    if (!answer.ok) throw fail('auth_provider_exchange_failed', { reason: `the provider answered ${answer.status}` })
    return answer.json()
  }
  return { main: Object(await ask(preset.account)) as Json, more: preset.more === undefined ? null : await ask(preset.more) }
}

async function accountOf(realm: Realm, source: Source, journey: Journey, answer: Json): Promise<Account> {
  const config = await configured(realm, source)
  try {
    const current = new URL(callbackOf(realm))
    for (const [name, value] of Object.entries(answer)) current.searchParams.set(name, String(value))
    const tokens = await oidc.authorizationCodeGrant(config, current, {
      expectedState: String(answer.state),
      ...(journey.verifier === null ? {} : { pkceCodeVerifier: journey.verifier }),
      ...(journey.nonce === null ? {} : { expectedNonce: journey.nonce, idTokenExpected: true }),
    })
    const claims = tokens.claims()
    let answers: Answers
    if (source.preset.kind === 'oauth2') answers = await askOauth2(realm, source, tokens as unknown as Json)
    else {
      const lacks = claims !== undefined && claims.email === undefined && config.serverMetadata().userinfo_endpoint !== undefined
      const more = lacks ? await oidc.fetchUserInfo(config, tokens.access_token, claims.sub) : {}
      answers = { main: { ...claims, ...more }, more: null }
    }
    const profile = source.preset.parse(answers)
    if (profile.id === '') throw fail('auth_provider_exchange_failed', { reason: 'the provider does not say who it is' })
    const issuer = config.serverMetadata().issuer
    return { profile, issuer, accessToken: tokens.access_token, refreshToken: tokens.refresh_token ?? null }
  } catch (error) {
    throw isSovraError(error, 'auth_provider_exchange_failed') ? error : refused(error)
  }
}

/** In the words of the dialect. */
export const outsiderOf = (source: Source, { id, email, verified, claims }: Profile, issuer: string): Outsider => ({
  provider: source.name,
  id,
  email,
  emailVerified: verified,
  emailOptional: source.emailOptional,
  claims: {
    ...claims,
    iss: issuer,
    sub: id,
    provider_id: id,
    ...(email === null ? {} : { email }),
    email_verified: verified,
    phone_verified: false,
  },
})

/** What a provider sends back; `user`: Apple's, at the first sign-in alone. */
export interface ProviderAnswer {
  readonly code: string
  readonly state: string
  readonly iss: string | null
  readonly user: string | null
}

/** Apple says the name of a person once, beside the code and unsigned: it names, and proves nothing. */
function withName(given: Outsider, user: string | null): Outsider {
  if (user === null || given.provider !== 'apple') return given
  try {
    const { firstName, lastName } = Object(Object(JSON.parse(user)).name) as Record<string, unknown>
    const name = [firstName, lastName]
      .filter((part) => typeof part === 'string' && part !== '')
      .join(' ')
      .slice(0, 255)
    return name === '' ? given : { ...given, claims: { ...given.claims, name, full_name: name } }
  } catch {
    return given
  }
}

/** The way back of a journey: where the browser goes, with a code or with tokens. */
export async function finishOauth(realm: Realm, journey: Journey, answer: ProviderAnswer): Promise<string> {
  const source = sourceOf(realm.rules, journey.provider)
  const { code, state, iss } = answer
  const account = await accountOf(realm, source, journey, { code, state, ...(iss === null ? {} : { iss }) })
  const outsider = withName(outsiderOf(source, account.profile, account.issuer), answer.user)
  const tokens = { providerToken: account.accessToken, providerRefreshToken: account.refreshToken }
  if (journey.userId === null) await askBeforeEntering(realm, outsider)
  const settled = await realm.transact((store) => settle(realm, store, journey, outsider, tokens))
  return leadBack(realm, journey, settled, tokens)
}

/** Ends a journey: a session for the implicit flow, else a code. */
export async function settle(
  realm: Realm,
  store: RealmStore,
  journey: Journey,
  outsider: Outsider,
  tokens: Omit<Carried, 'link'>,
  method = 'oauth',
): Promise<Draft | string> {
  const { userId, pkce } = journey
  if (userId !== null && pkce) {
    if (await store.identityOf(outsider.provider, outsider.id)) throw fail('auth_identity_already_exists')
    return codeFor(realm, store, journey, { userId, method, carried: { ...tokens, link: outsider } })
  }
  const user = userId === null ? await enterAs(realm, store, outsider) : await linkTo(realm, store, userId, outsider)
  if (pkce) return codeFor(realm, store, journey, { userId: user.id, method, carried: { ...tokens, link: null } })
  await audit(realm, store, 'login', user, { provider: outsider.provider })
  return tie(store, await signIn(realm, store, user, method), tokens, realm.now())
}

export async function leadBack(
  realm: Realm,
  { redirectTo }: Journey,
  settled: Draft | string,
  tokens: Omit<Carried, 'link'>,
): Promise<string> {
  if (typeof settled === 'string') return withParams(redirectTo, 'query', { code: settled })
  return withParams(redirectTo, 'fragment', fragmentOf(await granted(realm, settled), tokens))
}

const fragmentOf = (grant: Grant, { providerToken, providerRefreshToken }: Omit<Carried, 'link'>): Record<string, string> => ({
  access_token: grant.accessToken,
  expires_at: String(grant.expiresAt),
  expires_in: String(grant.expiresIn),
  ...(providerToken === null ? {} : { provider_token: providerToken }),
  ...(providerRefreshToken === null ? {} : { provider_refresh_token: providerRefreshToken }),
  refresh_token: grant.refreshToken,
  token_type: 'bearer',
})
