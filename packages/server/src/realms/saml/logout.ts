import { sha256 } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import { type Holder, present } from '../auth/account.ts'
import { endSessions } from '../auth/grants.ts'
import { audit, limitAddress, MINUTE, type Realm } from '../auth/realm.ts'
import { redirectOf } from '../auth/redirects.ts'
import type { RealmStore, SsoProvider } from '../store/types.ts'
import { logoutRequestUrl, logoutResponseUrl, provePosted } from './library.ts'
import { type Came, type LogoutRequest, provesQuery, readLogoutRequest, refusedLogout, type Whom, whomOf } from './logout-request.ts'
import { parseMetadata } from './metadata.ts'
import { withFreshMetadata } from './providers.ts'
import type { Service } from './service.ts'

/** What clocks may differ, and how long a request may be on its way. */
const SKEW = MINUTE
const LIFE = 5 * MINUTE

/**
 * Ends the session of a token here and now, whatever becomes of the rest; answers where the browser goes: to the provider that it came by,
 * which ends its own session and sends it back, or at once to where it wanted to.
 */
export async function beginLogout(realm: Realm, service: Service, holder: Holder, wanted: string | null): Promise<string> {
  const redirectTo = redirectOf(realm.rules, realm.url, wanted)
  const requestId = `_${uuid()}`
  const left = await realm.transact(async (store) => {
    const { user, session } = await present(realm, store, holder)
    if (session === null) throw fail('auth_session_not_found')
    const known = await store.samlSession(session.id)
    const provider = known ? await store.ssoById(known.providerId) : null
    const to = provider ? parseMetadata(provider.metadataXml).logoutUrl : null
    await endSessions(realm, store, [session.id])
    await audit(realm, store, 'logout', user)
    if (!known || !provider || to === null) return null
    const relayState = uuid()
    await store.insertRelayState({ id: relayState, providerId: provider.id, requestId, redirectTo, createdAt: realm.now(), flowId: null })
    return { session: known, provider, to, relayState }
  })
  if (!left) return redirectTo
  const { session, provider, to, relayState } = left
  return logoutRequestUrl(service, parseMetadata(provider.metadataXml), { id: requestId, relayState, to, session })
}

/**
 * The browser is back from the provider that it was sent to. Our session has ended before it went, so the answer decides nothing, and is not
 * read: it leads where the browser wanted to, which was kept here.
 */
export async function finishLogout(realm: Realm, relayState: string): Promise<string> {
  await limitAddress(realm, 'sign_ins')
  const state = isUuid(relayState) ? await realm.transact((store) => store.takeRelayState(relayState)) : null
  return state?.flowId === null && state.redirectTo !== null ? state.redirectTo : redirectOf(realm.rules, realm.url, null)
}

/** A provider ends sessions of one of its people, by one request once (SAML core 2.0 §3.7). Answers where the browser takes our answer. */
export async function answerLogout(realm: Realm, service: Service, came: Came): Promise<string> {
  await limitAddress(realm, 'sign_ins')
  const request = readLogoutRequest(came)
  const found = await realm.transact((store) => store.ssoByEntity(request.issuer))
  if (!found) throw fail('auth_saml_idp_not_found')
  const provider = await withFreshMetadata(realm, found)
  await demandProved(realm, service, provider, request)
  const whom = await whomOf(request, service.openers)
  await realm.transact(async (store) => {
    await demandFirst(realm, store, provider, request)
    await endNamed(realm, store, provider, whom)
  })
  const idp = parseMetadata(provider.metadataXml)
  const to = idp.logoutResponseUrl
  if (to === null) return redirectOf(realm.rules, realm.url, null)
  return logoutResponseUrl(service, idp, { id: `_${uuid()}`, inResponseTo: request.id, relayState: request.relayState, to })
}

async function demandProved(realm: Realm, service: Service, provider: SsoProvider, request: LogoutRequest): Promise<void> {
  const { destination, issuedAt, expires, signed, xml } = request
  const idp = parseMetadata(provider.metadataXml)
  const proved = signed ? provesQuery(signed, idp.certificates) : await provePosted(service, idp, xml)
  if (!proved) throw refusedLogout('its signature is not of the identity provider')
  if (destination !== service.slo) throw refusedLogout('it is meant for another address')
  const now = realm.now()
  const young = issuedAt - SKEW <= now && issuedAt + LIFE + SKEW > now
  if (!young || (expires !== null && !(expires + SKEW > now))) throw refusedLogout('it is not of this time')
}

async function demandFirst(realm: Realm, store: RealmStore, provider: SsoProvider, { id }: LogoutRequest): Promise<void> {
  const now = realm.now()
  if (!(await store.isFirst(`saml:${sha256(`${provider.id} ${id}`)}`, now + LIFE + 2 * SKEW, now)))
    throw refusedLogout('it was used before')
}

/** Who is not here any more is signed out as well: there is nothing to tell of it. */
async function endNamed(realm: Realm, store: RealmStore, provider: SsoProvider, { nameId, sessionIndexes }: Whom): Promise<void> {
  const all = await store.samlSessionsOf(provider.id, nameId)
  const named = all.filter(({ sessionIndex: own }) => sessionIndexes.length === 0 || own === null || sessionIndexes.includes(own))
  for (const { sessionId } of named) {
    const session = await store.sessionById(sessionId)
    const user = session ? await store.userById(session.userId) : null
    if (user) await audit(realm, store, 'logout', user, { provider: `sso:${provider.id}`, session_id: sessionId })
  }
  await endSessions(
    realm,
    store,
    named.map(({ sessionId }) => sessionId),
  )
}
