import { sha256 } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { isUuid, randomToken, uuid } from '../../base/ids.ts'
import { arriveAt, depart, type Journey } from '../auth/flows.ts'
import { askBeforeEntering, type Outsider } from '../auth/identities.ts'
import type { PkceChallenge } from '../auth/pkce.ts'
import { limitAddress, type Realm } from '../auth/realm.ts'
import { isAllowed, redirectOf } from '../auth/redirects.ts'
import { type Begun, demandBrowser, leadBack, settle } from '../federated/oauth.ts'
import type { RealmStore, SsoProvider } from '../store/types.ts'
import { type Answer, readAnswer } from './answer.ts'
import { claimsOf, emailOf, type Mapping, userIdOf } from './attributes.ts'
import { type Proved, prove, requestUrl } from './library.ts'
import { parseMetadata } from './metadata.ts'
import { withFreshMetadata } from './providers.ts'
import type { Service } from './service.ts'

/** How sessions say that they were proved. */
export const METHOD = 'sso/saml'
const NOTHING = { providerToken: null, providerRefreshToken: null }

export interface SsoBeginning {
  readonly providerId: unknown
  readonly domain: unknown
  readonly redirectTo: string | null
  readonly pkce: PkceChallenge | null
}

async function wanted(store: RealmStore, { providerId, domain }: SsoBeginning): Promise<SsoProvider> {
  const id = typeof providerId === 'string' ? providerId.trim() : ''
  const name = typeof domain === 'string' ? domain.trim().toLowerCase() : ''
  if (id !== '' && name !== '') throw fail('auth_validation_failed', { reason: 'Only one of provider_id or domain supported' })
  if (id === '' && name === '') throw fail('auth_validation_failed', { reason: 'A provider_id or domain needs to be provided' })
  if (id !== '' && !isUuid(id)) throw fail('auth_validation_failed', { reason: 'provider_id must be an UUID' })
  const found = id === '' ? await store.ssoByDomain(name) : await store.ssoById(id)
  if (!found) {
    const reason = id === '' ? 'No SSO provider assigned for this domain' : 'No such SSO provider'
    throw fail('auth_sso_provider_not_found', { reason })
  }
  if (found.disabled) throw fail('auth_sso_provider_disabled')
  return found
}

/** Over TLS alone a browser keeps a cookie that comes along when another site sends it here by a form. */
const bindsByCookie = ({ api }: Realm): boolean => api.startsWith('https:')

/** Whether the browser itself must come by for a cookie: one that signs in by the implicit flow. */
export const needsBrowser = (realm: Realm, pkce: PkceChallenge | null): boolean => pkce === null && bindsByCookie(realm)

/** Where to send the browser. Throws `auth_sso_provider_not_found`, `auth_sso_provider_disabled`. */
export async function beginSaml(realm: Realm, service: Service, given: SsoBeginning): Promise<Begun> {
  await limitAddress(realm, 'sign_ins')
  const found = await realm.transact((store) => wanted(store, given))
  const provider = await withFreshMetadata(realm, found)
  const cookie = needsBrowser(realm, given.pkce) ? randomToken() : null
  const journey: Journey = {
    provider: `sso:${provider.id}`,
    redirectTo: redirectOf(realm.rules, realm.url, given.redirectTo),
    pkce: given.pkce,
    verifier: null,
    nonce: null,
    cookie: cookie === null ? null : sha256(cookie),
    userId: null,
    from: null,
  }
  const requestId = `_${uuid()}`
  const relayState = await realm.transact(async (store) => {
    const { id } = await depart(realm, store, journey, METHOD)
    const state = { id, providerId: provider.id, requestId, redirectTo: journey.redirectTo, createdAt: realm.now(), flowId: id }
    await store.insertRelayState(state)
    return id
  })
  const asked = { id: requestId, relayState, nameIdFormat: provider.nameIdFormat }
  const url = await requestUrl(service, parseMetadata(provider.metadataXml), asked)
  return { url, cookie: cookie === null ? null : { value: cookie, hash: sha256(cookie) } }
}

/** A journey that comes to its end. */
export interface Landing {
  readonly journey: Journey
  /** null: whoever it is that the answer says. */
  readonly providerId: string | null
  readonly requestId: string | null
}

/** An answer that nobody here asked for leads where its provider says, if the realm allows both. */
function unasked(realm: Realm, relayState: string): Landing {
  if (realm.rules.saml?.allow_idp_initiated !== true) throw fail('auth_saml_relay_state_not_found')
  const site = realm.rules.site_url ?? realm.url
  const redirectTo = isAllowed(realm.rules, site, relayState) ? relayState : site
  const journey = { provider: '', redirectTo, pkce: null, verifier: null, nonce: null, cookie: null, userId: null, from: null }
  return { journey, providerId: null, requestId: null }
}

/** What an answer belongs to, used up. Throws `auth_saml_relay_state_not_found`, `auth_saml_relay_state_expired`, `auth_bad_oauth_state`. */
export async function landingOf(realm: Realm, relayState: string, cookie: (hash: string) => string | null): Promise<Landing> {
  await limitAddress(realm, 'sign_ins')
  if (!isUuid(relayState)) return unasked(realm, relayState)
  const landing = await realm.transact(async (store) => {
    const state = await store.takeRelayState(relayState)
    if (!state) return 'unknown'
    const journey = state.flowId === null ? null : await arriveAt(realm, store, state.flowId)
    return journey ? { journey, providerId: state.providerId, requestId: state.requestId } : 'late'
  })
  if (landing === 'unknown') throw fail('auth_saml_relay_state_not_found')
  if (landing === 'late') throw fail('auth_saml_relay_state_expired')
  demandBrowser(landing.journey, cookie)
  return landing
}

async function providerOf(realm: Realm, { providerId }: Landing, answer: Answer): Promise<SsoProvider> {
  const found = await realm.transact((store) => (providerId === null ? store.ssoByEntity(answer.issuer) : store.ssoById(providerId)))
  if (!found) throw fail('auth_saml_idp_not_found')
  if (found.disabled) throw fail('auth_sso_provider_disabled')
  return found
}

function outsiderOf(provider: SsoProvider, proved: Proved): Outsider {
  const id = userIdOf(proved)
  if (id === null) throw fail('auth_saml_assertion_no_user_id')
  const said = claimsOf(proved, (provider.mapping ?? {}) as Mapping)
  const email = emailOf(proved, said)
  if (email === null) throw fail('auth_saml_assertion_no_email')
  const { claims, custom } = sorted(said)
  return {
    provider: `sso:${provider.id}`,
    id,
    email,
    emailVerified: true,
    emailOptional: false,
    sso: true,
    claims: {
      ...claims,
      ...(Object.keys(custom).length === 0 ? {} : { custom_claims: custom }),
      iss: provider.entityId,
      sub: id,
      email,
      email_verified: true,
      phone_verified: false,
    },
  }
}

/** Claims that have a place of their own (OpenID Connect Core 1.0 §5.1, and what GoTrue names so); all others are the project's. */
const KNOWN = new Set(
  `name family_name given_name middle_name nickname preferred_username profile picture website gender birthdate zoneinfo locale updated_at
  avatar_url full_name provider_id slug user_name`.split(/\s+/),
)
const OURS = new Set(['iss', 'sub', 'aud', 'exp', 'iat', 'email', 'email_verified', 'phone', 'phone_verified', 'custom_claims'])

function sorted(said: Readonly<Record<string, unknown>>) {
  const entries = Object.entries(said).filter(([name]) => !OURS.has(name))
  return {
    claims: Object.fromEntries(entries.filter(([name]) => KNOWN.has(name))),
    custom: Object.fromEntries(entries.filter(([name]) => !KNOWN.has(name))),
  }
}

/** The end of a journey: where the browser goes, with a code or with tokens. */
export async function finishSaml(realm: Realm, service: Service, landing: Landing, samlResponse: unknown): Promise<string> {
  const answer = readAnswer(samlResponse)
  const provider = await withFreshMetadata(realm, await providerOf(realm, landing, answer))
  const idp = parseMetadata(provider.metadataXml)
  const proved = await prove(realm, answer, { service, idp, requestId: landing.requestId })
  const said = outsiderOf(provider, proved)
  const outsider = realm.ofSso?.(said, provider) ?? said
  await askBeforeEntering(realm, outsider)
  const { nameId, nameIdFormat, nameQualifier, spNameQualifier, sessionIndex } = proved
  const known = { nameId, nameIdFormat: nameIdFormat || null, nameQualifier, spNameQualifier, sessionIndex }
  const tokens = { ...NOTHING, ends: proved.sessionEnds, saml: { providerId: provider.id, ...known } }
  const journey = { ...landing.journey, provider: outsider.provider }
  const settled = await realm.transact(async (store) => {
    await demandFirst(realm, store, provider, proved)
    return settle(realm, store, journey, outsider, tokens, METHOD)
  })
  return leadBack(realm, journey, settled, tokens)
}

/** Each assertion is good once, for as long as anybody would take it (SAML profiles 2.0 §4.1.4.5). */
async function demandFirst(realm: Realm, store: RealmStore, provider: SsoProvider, { id, expires }: Proved): Promise<void> {
  if (!(await store.isFirst(`saml:${sha256(`${provider.id} ${id}`)}`, expires, realm.now())))
    throw fail('auth_saml_assertion_invalid', { reason: 'it was used before' })
}
