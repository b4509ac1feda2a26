import type { AuthenticationResponseJSON, AuthenticatorTransport, RegistrationResponseJSON } from '@simplewebauthn/server'
import { fail } from '../../base/errors.ts'
import type { Realm } from '../auth/realm.ts'
import type { Factor, Json, RealmUser } from '../store/types.ts'
import { isAnswer, siteOf, webauthn } from './site.ts'

/** A credential of WebAuthn as a second factor: bound to the account, shown beside the password. */

/** As GoTrue keeps it, so that factors of an imported project go on working: bytes in base64. */
export interface StoredCredential {
  readonly id: string
  readonly publicKey: string
  readonly attestationType: string
  readonly transport: readonly string[]
  readonly flags: { readonly backupEligible: boolean; readonly backupState: boolean }
  readonly authenticator: { readonly AAGUID: string; readonly signCount: number }
}

export interface CredentialOptions {
  readonly type: 'create' | 'request'
  readonly credential_options: { readonly publicKey: object }
}

export interface Ceremony {
  readonly options: CredentialOptions
  /** What is kept until the answer is here. */
  readonly session: Json
}

/** null: none, or none that can be read. */
function credentialOf({ credential }: Factor): StoredCredential | null {
  const found = credential as unknown as StoredCredential | null
  return found !== null && typeof found.id === 'string' && typeof found.publicKey === 'string' ? found : null
}

const toUrl = (base64: string): string => Buffer.from(base64, 'base64').toString('base64url')
const toPlain = (base64url: string): string => Buffer.from(base64url, 'base64url').toString('base64')

const named = (credential: StoredCredential) => ({
  id: toUrl(credential.id),
  transports: [...(credential.transport ?? [])] as AuthenticatorTransport[],
})

/** To make a credential for a factor that has none, or to show the one that it has. */
export async function optionsFor(realm: Realm, user: RealmUser, factor: Factor, others: readonly Factor[]): Promise<Ceremony> {
  const site = siteOf(realm)
  const library = webauthn()
  const own = credentialOf(factor)
  if (factor.status === 'verified' && own) {
    const options = await library.generateAuthenticationOptions({
      rpID: site.id,
      allowCredentials: [named(own)],
      userVerification: 'preferred',
    })
    return {
      options: { type: 'request', credential_options: { publicKey: options } },
      session: { challenge: options.challenge, type: 'request' },
    }
  }
  const options = await library.generateRegistrationOptions({
    rpName: site.name,
    rpID: site.id,
    userName: user.email ?? user.phone ?? user.id,
    userID: new TextEncoder().encode(user.id),
    attestationType: 'none',
    excludeCredentials: others.flatMap((other) => credentialOf(other) ?? []).map(named),
    authenticatorSelection: { residentKey: 'discouraged', userVerification: 'preferred' },
  })
  return {
    options: { type: 'create', credential_options: { publicKey: options } },
    session: { challenge: options.challenge, type: 'create' },
  }
}

async function made(realm: Realm, response: RegistrationResponseJSON, challenge: string): Promise<StoredCredential | null> {
  const site = siteOf(realm)
  const { verifyRegistrationResponse } = webauthn()
  const expected = { expectedChallenge: challenge, expectedOrigin: site.origins, expectedRPID: site.id }
  const { verified, registrationInfo } = await verifyRegistrationResponse({ response, ...expected, requireUserVerification: false })
  if (!verified) return null
  const { credential, aaguid, credentialDeviceType, credentialBackedUp, fmt } = registrationInfo
  return {
    id: toPlain(credential.id),
    publicKey: Buffer.from(credential.publicKey).toString('base64'),
    attestationType: fmt,
    transport: credential.transports ?? [],
    flags: { backupEligible: credentialDeviceType === 'multiDevice', backupState: credentialBackedUp },
    authenticator: { AAGUID: Buffer.from(aaguid.replaceAll('-', ''), 'hex').toString('base64'), signCount: credential.counter },
  }
}

async function shown(
  realm: Realm,
  own: StoredCredential,
  response: AuthenticationResponseJSON,
  challenge: string,
): Promise<StoredCredential | null> {
  const site = siteOf(realm)
  if (response.id !== toUrl(own.id)) return null
  const { verifyAuthenticationResponse } = webauthn()
  const credential = {
    ...named(own),
    publicKey: new Uint8Array(Buffer.from(own.publicKey, 'base64')),
    counter: own.authenticator?.signCount ?? 0,
  }
  const expected = { expectedChallenge: challenge, expectedOrigin: site.origins, expectedRPID: site.id, requireUserVerification: false }
  const { verified, authenticationInfo } = await verifyAuthenticationResponse({ response, credential, ...expected })
  if (!verified) return null
  const { newCounter, credentialBackedUp } = authenticationInfo
  return {
    ...own,
    flags: { ...own.flags, backupState: credentialBackedUp },
    authenticator: { ...own.authenticator, signCount: newCounter },
  }
}

/** The credential as it is after its answer; null: it does not answer this challenge. Throws `auth_validation_failed` for what is no answer. */
export async function proveFactor(realm: Realm, factor: Factor, session: Json, given: unknown): Promise<StoredCredential | null> {
  const { type, credential_response: response } = Object(given) as Record<string, unknown>
  if (type !== 'create' && type !== 'request') throw fail('auth_validation_failed', { reason: 'WebAuthn type must be create or request' })
  if (!isAnswer(response)) throw fail('auth_validation_failed', { reason: 'Invalid credential_response' })
  const own = credentialOf(factor)
  // Whoever is asked to show a credential cannot make another in its place.
  if (type !== session.type || typeof session.challenge !== 'string') return null
  try {
    if (type === 'create') return factor.status === 'verified' ? null : await made(realm, response as never, session.challenge)
    return own ? await shown(realm, own, response as never, session.challenge) : null
  } catch {
    return null
  }
}
