import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server'
import { fail } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import { type Holder, present } from '../auth/account.ts'
import { type Grant, granted, signIn } from '../auth/grants.ts'
import { isConfirmed, userId as userIdOf } from '../auth/people.ts'
import { audit, limitAddress, MINUTE, type Realm } from '../auth/realm.ts'
import type { Ceremony, Passkey, RealmStore, RealmUser } from '../store/types.ts'
import { mayEnter } from '../users.ts'
import { isAnswer, type Site, siteOf, unverified, webauthn } from './site.ts'

/** Passkeys (WebAuthn Level 3): discoverable, with user verification, in place of a password. */
const CEREMONY_LIFE = 5 * MINUTE
const MAX = 10
const NAME_CHARS = 120

/** Throws `auth_passkey_disabled`. */
function openSite(realm: Realm): Site {
  if (realm.rules.passkeys?.enabled !== true) throw fail('auth_passkey_disabled')
  return siteOf(realm)
}

const toHex = (base64url: string): string => `\\x${Buffer.from(base64url, 'base64url').toString('hex')}`
const fromHex = (hex: string): Buffer => Buffer.from(hex.slice(2), 'hex')
const idFor = (passkey: Passkey): string => fromHex(passkey.credentialId).toString('base64url')
const transportsOf = (passkey: Passkey) => ({ transports: [...passkey.transports] as never })

export interface Offered {
  readonly challengeId: string
  readonly options: object
  readonly expiresAt: number
}

async function offer(
  realm: Realm,
  store: RealmStore,
  kind: Ceremony['kind'],
  userId: string | null,
  options: { challenge: string },
): Promise<Offered> {
  const now = realm.now()
  const ceremony: Ceremony = {
    id: uuid(),
    userId,
    kind,
    data: { challenge: options.challenge },
    createdAt: now,
    expiresAt: now + CEREMONY_LIFE,
  }
  await store.insertCeremony(ceremony)
  return { challengeId: ceremony.id, options, expiresAt: ceremony.expiresAt }
}

/** Whoever may add or remove a way into the account: a confirmed person, with the second factor where there is one. */
async function owner(realm: Realm, store: RealmStore, holder: Holder): Promise<RealmUser> {
  const { user, session } = await present(realm, store, holder)
  if (!session) throw fail('auth_session_not_found')
  if (user.sso) throw fail('auth_user_sso_managed')
  if (session.aal !== 'aal2' && (await store.factorsOf(user.id)).some(({ status }) => status === 'verified'))
    throw fail('auth_insufficient_aal', { reason: 'AAL2 session is required to change passkeys when MFA is enabled.' })
  return user
}

export async function startRegistration(realm: Realm, holder: Holder): Promise<Offered> {
  const site = openSite(realm)
  await limitAddress(realm, 'verifications')
  return realm.transact(async (store) => {
    const user = await owner(realm, store, holder)
    if (!isConfirmed(user)) throw fail('auth_email_not_confirmed')
    const known = await store.passkeysOf(user.id)
    if (known.length >= MAX) throw fail('auth_too_many_passkeys')
    const options = await webauthn().generateRegistrationOptions({
      rpName: site.name,
      rpID: site.id,
      userName: user.email ?? user.phone ?? user.id,
      userID: new TextEncoder().encode(user.id),
      attestationType: 'none',
      excludeCredentials: known.map((each) => ({ id: idFor(each), ...transportsOf(each) })),
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    })
    return offer(realm, store, 'registration', user.id, options)
  })
}

/** The challenge, used up whatever comes of it. */
async function taken(realm: Realm, id: unknown, kind: Ceremony['kind']): Promise<{ ceremony: Ceremony; challenge: string }> {
  await limitAddress(realm, 'verifications')
  const ceremony = typeof id === 'string' && isUuid(id) ? await realm.transact((store) => store.takeCeremony(id, kind)) : null
  if (!ceremony) throw fail('auth_webauthn_challenge_not_found')
  if (ceremony.expiresAt <= realm.now()) throw fail('auth_webauthn_challenge_expired')
  return { ceremony, challenge: String(ceremony.data.challenge) }
}

export interface Answered {
  readonly challengeId: unknown
  readonly credential: unknown
}

export async function finishRegistration(realm: Realm, holder: Holder, given: Answered): Promise<Passkey> {
  const site = openSite(realm)
  const { ceremony, challenge } = await taken(realm, given.challengeId, 'registration')
  if (ceremony.userId !== holder.userId) throw fail('auth_webauthn_challenge_not_found')
  if (!isAnswer(given.credential)) throw fail('auth_validation_failed', { reason: 'credential is required' })
  const response = given.credential as unknown as RegistrationResponseJSON
  const expected = { expectedChallenge: challenge, expectedOrigin: site.origins, expectedRPID: site.id }
  const { verified, registrationInfo } = await webauthn()
    .verifyRegistrationResponse({ response, ...expected, requireUserVerification: true })
    .catch((error: unknown) => {
      throw unverified(error)
    })
  if (!verified) throw unverified()
  const { credential, aaguid, credentialDeviceType, credentialBackedUp, fmt } = registrationInfo
  return realm.transact(async (store) => {
    const user = await owner(realm, store, holder)
    if ((await store.passkeysOf(user.id)).length >= MAX) throw fail('auth_too_many_passkeys')
    const now = realm.now()
    const passkey: Passkey = {
      id: uuid(),
      userId: user.id,
      credentialId: toHex(credential.id),
      publicKey: `\\x${Buffer.from(credential.publicKey).toString('hex')}`,
      attestation: fmt,
      aaguid: isUuid(aaguid) ? aaguid : null,
      signCount: credential.counter,
      transports: credential.transports ?? [],
      backupEligible: credentialDeviceType === 'multiDevice',
      backedUp: credentialBackedUp,
      name: '',
      createdAt: now,
      updatedAt: now,
      lastUsedAt: null,
    }
    if (!(await store.insertPasskey(passkey))) throw fail('auth_webauthn_credential_exists')
    await audit(realm, store, 'passkey_created', user, { passkey_id: passkey.id })
    return passkey
  })
}

/** For whoever comes: names nobody, so that it tells nothing of who is known. */
export async function startAuthentication(realm: Realm): Promise<Offered> {
  const site = openSite(realm)
  await limitAddress(realm, 'sign_ins')
  const options = await webauthn().generateAuthenticationOptions({ rpID: site.id, userVerification: 'required' })
  return realm.transact((store) => offer(realm, store, 'authentication', null, options))
}

/** What the authenticator says of the user is the user that we know by the credential. */
function demandHandle(passkey: Passkey, handle: string | undefined): void {
  if (handle === undefined || handle === '') return
  const bytes = Buffer.from(handle, 'base64url')
  if (bytes.toString('utf8') !== passkey.userId && bytes.toString('hex') !== passkey.userId.replaceAll('-', '')) throw unverified()
}

export async function finishAuthentication(realm: Realm, given: Answered): Promise<Grant> {
  const site = openSite(realm)
  const { challenge } = await taken(realm, given.challengeId, 'authentication')
  if (!isAnswer(given.credential)) throw fail('auth_validation_failed', { reason: 'credential is required' })
  const response = given.credential as unknown as AuthenticationResponseJSON
  const passkey = await realm.transact((store) => store.passkeyByCredential(toHex(response.id)))
  if (!passkey) throw unverified()
  demandHandle(passkey, response.response.userHandle)
  const credential = {
    id: idFor(passkey),
    publicKey: new Uint8Array(fromHex(passkey.publicKey)),
    counter: passkey.signCount,
    ...transportsOf(passkey),
  }
  const expected = { expectedChallenge: challenge, expectedOrigin: site.origins, expectedRPID: site.id, requireUserVerification: true }
  const { verified, authenticationInfo } = await webauthn()
    .verifyAuthenticationResponse({ response, credential, ...expected })
    .catch((error: unknown) => {
      throw unverified(error)
    })
  if (!verified) throw unverified()
  const draft = await realm.transact(async (store) => {
    const now = realm.now()
    const still = await store.passkeyByCredential(passkey.credentialId)
    const user = still && (await store.userById(still.userId))
    if (!still || !user) throw unverified()
    if (!mayEnter(user, now)) throw fail('auth_sign_in_banned')
    const { newCounter, credentialBackedUp } = authenticationInfo
    await store.updatePasskey(still.id, { signCount: newCounter, backedUp: credentialBackedUp, lastUsedAt: now }, now)
    await audit(realm, store, 'login', user, { provider: 'passkey' })
    return signIn(realm, store, user, 'passkey')
  })
  return granted(realm, draft)
}

export async function listPasskeys(realm: Realm, holder: Holder): Promise<Passkey[]> {
  openSite(realm)
  return realm.transact(async (store) => store.passkeysOf((await present(realm, store, holder)).user.id))
}

const own = async (store: RealmStore, userId: string, id: string): Promise<Passkey> => {
  const found = (await store.passkeysOf(userId)).find((each) => each.id === id)
  if (!found) throw fail('auth_webauthn_credential_not_found')
  return found
}

export async function renamePasskey(realm: Realm, holder: Holder, id: string, name: unknown): Promise<Passkey> {
  openSite(realm)
  if (typeof name !== 'string' || name.trim() === '' || name.length > NAME_CHARS)
    throw fail('auth_validation_failed', { reason: `friendly_name needs 1 to ${NAME_CHARS} characters` })
  return realm.transact(async (store) => {
    const found = await own(store, (await owner(realm, store, holder)).id, id)
    await store.updatePasskey(id, { name: name.trim() }, realm.now())
    return { ...found, name: name.trim() }
  })
}

export async function removePasskey(realm: Realm, holder: Holder, id: string): Promise<void> {
  openSite(realm)
  await realm.transact(async (store) => {
    const user = await owner(realm, store, holder)
    await store.deletePasskey((await own(store, user.id, id)).id)
    await audit(realm, store, 'passkey_deleted', user, { passkey_id: id })
  })
}

/** For administrators. Throws `auth_user_not_found`. */
export const passkeysOfUser = (realm: Realm, id: string): Promise<Passkey[]> =>
  realm.transact(async (store) => {
    const user = await store.userById(userIdOf(id))
    if (!user) throw fail('auth_user_not_found')
    return store.passkeysOf(user.id)
  })

export const removePasskeyOfUser = (realm: Realm, userId: string, id: string): Promise<void> =>
  realm.transact(async (store) => {
    const user = await store.userById(userIdOf(userId))
    if (!user) throw fail('auth_user_not_found')
    await store.deletePasskey((await own(store, user.id, id)).id)
    await audit(realm, store, 'passkey_deleted', user, { passkey_id: id })
  })
