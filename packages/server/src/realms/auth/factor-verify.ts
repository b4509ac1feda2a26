import { safeEqual } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import { proveFactor, type StoredCredential } from '../passkeys/factor.ts'
import type { Challenge, Factor, RealmSession, RealmStore, RealmUser } from '../store/types.ts'
import type { Holder } from './account.ts'
import { CHALLENGE_LIFE, inSession, ownFactor, phoneCodeHash, TRIES } from './factor-session.ts'
import { type Draft, draftFor, endSessions, endSessionsOf, type Grant, granted, sessionRules } from './grants.ts'
import { mfaAttempt } from './hooks.ts'
import { audit, limitAddress, MINUTE, type Realm, tooMany } from './realm.ts'
import { matchingStep } from './totp.ts'

/** The challenge of this factor, still open. */
async function openChallenge(realm: Realm, store: RealmStore, factor: Factor, id: unknown): Promise<Challenge> {
  const found = typeof id === 'string' && isUuid(id) ? await store.challengeById(id) : null
  if (!found || found.factorId !== factor.id || found.verifiedAt !== null) throw fail('auth_mfa_challenge_not_found')
  if (found.createdAt + CHALLENGE_LIFE <= realm.now()) throw fail('auth_mfa_challenge_expired', { id: found.id })
  return found
}

/** Whether a code is the one of now. */
async function isRight(realm: Realm, store: RealmStore, factor: Factor, open: Challenge, code: string): Promise<boolean> {
  if (factor.type === 'phone') return open.otpHash !== null && safeEqual(open.otpHash, phoneCodeHash(realm, open.id, code))
  const now = realm.now()
  const step = factor.secret === null ? null : matchingStep(factor.secret, code, now)
  // The step is kept for as long as its code would be taken: whoever looked over the shoulder comes too late.
  return step !== null && (await store.isFirst(`totp:${factor.id}:${step}`, now + 2 * MINUTE, now))
}

/** How sessions say it: the words that clients know. */
const METHODS: Readonly<Record<string, string>> = { phone: 'mfa/phone', webauthn: 'mfa/webauthn' }

const FAILURES = {
  totp: 'auth_mfa_verification_failed',
  phone: 'auth_mfa_phone_code_wrong',
  webauthn: 'auth_mfa_webauthn_failed',
} as const

export interface Answer {
  readonly challengeId: unknown
  /** Of an app or a message. */
  readonly code?: unknown
  /** `{ type, credential_response }`. */
  readonly webauthn?: unknown
}

interface Look {
  readonly user: RealmUser
  readonly factor: Factor
  readonly open: Challenge
  readonly valid: boolean
}

/**
 * Looks at an answer: it and its challenge are used up by being right, whatever the project's own code then says. One of WebAuthn is looked
 * at outside, so that its challenge is used up in any case.
 */
async function lookAt(realm: Realm, store: RealmStore, holder: Holder, id: string, given: Answer): Promise<Look | number> {
  const { user } = await inSession(realm, store, holder)
  const factor = await ownFactor(store, user, id)
  const open = await openChallenge(realm, store, factor, given.challengeId)
  const wait = await store.take(`totp:${factor.id}`, TRIES, realm.now())
  if (wait > 0) return wait
  const fresh = factor.type === 'webauthn' || (await isRight(realm, store, factor, open, String(given.code ?? '')))
  await audit(realm, store, 'verification_attempted', user, { factor_id: factor.id })
  const valid = fresh && (await store.useChallenge(open.id, realm.now()))
  if (valid && factor.type !== 'webauthn') await store.giveBack(`totp:${factor.id}`)
  return { user, factor, open, valid }
}

/** The credential that answers; null: it does not. */
async function credentialOf(realm: Realm, { factor, open, valid }: Look, given: Answer): Promise<StoredCredential | null> {
  if (factor.type !== 'webauthn' || !valid) return null
  if (!realm.rules.mfa_webauthn) throw fail('auth_mfa_webauthn_verify_not_enabled')
  return proveFactor(realm, factor, open.session ?? {}, given.webauthn)
}

/** An answer raises the session to aal2; the first one also completes the factor. Each is good once. */
export async function verifyFactor(realm: Realm, holder: Holder, factorId: string, given: Answer): Promise<Grant> {
  await limitAddress(realm, 'verifications')
  if ((given.code ?? '') === '' && given.webauthn === undefined)
    throw fail('auth_validation_failed', { reason: 'Code needs to be non-empty' })
  const look = await realm.transact((store) => lookAt(realm, store, holder, factorId, given))
  if (typeof look === 'number') throw tooMany(look)
  const { user, factor } = look
  const credential = await credentialOf(realm, look, given)
  const valid = factor.type === 'webauthn' ? credential !== null : look.valid
  const attempt = { user_id: user.id, factor_id: factor.id, factor_type: factor.type, valid }
  const { reject, message } = await mfaAttempt(realm, attempt)
  if (reject) {
    await realm.transact((store) => endSessionsOf(realm, store, user.id))
    throw fail('auth_mfa_verification_rejected', { reason: message })
  }
  if (!valid) throw fail(FAILURES[factor.type as keyof typeof FAILURES])
  const draft = await realm.transact(async (store) => {
    const { session } = await inSession(realm, store, holder)
    const still = await ownFactor(store, user, factor.id)
    if (credential) {
      // Two that were made at once: the first one is the factor.
      if (still.status !== factor.status) throw fail('auth_mfa_challenge_not_found')
      await store.updateFactor(factor.id, { credential: { ...credential } }, realm.now())
      await store.giveBack(`totp:${factor.id}`)
    }
    if (still.status !== 'verified') await complete(realm, store, factor, session)
    return raise(realm, store, user, session, { method: METHODS[factor.type] ?? factor.type, factorId: factor.id })
  })
  return granted(realm, draft)
}

/** The first factor: sessions that know only the password end, since it is no longer enough. */
async function complete(realm: Realm, store: RealmStore, factor: Factor, session: RealmSession): Promise<void> {
  await store.updateFactor(factor.id, { status: 'verified' }, realm.now())
  for (const other of await store.factorsOf(factor.userId))
    if (other.type === factor.type && other.status !== 'verified' && other.id !== factor.id) await store.deleteFactor(other.id)
  const others = (await store.sessionsOf(factor.userId)).filter(({ id, aal }) => id !== session.id && aal === 'aal1')
  await endSessions(
    realm,
    store,
    others.map(({ id }) => id),
  )
}

/** The same session, stronger, with tokens that say so. */
export async function raise(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  session: RealmSession,
  { method, factorId }: { method: string; factorId: string | null },
): Promise<Draft> {
  const now = realm.now()
  await store.addProof(session.id, method, now)
  await store.updateSession(session.id, { aal: 'aal2', ...(factorId === null ? {} : { factorId }) }, now)
  const rules = sessionRules(realm)
  const text = rules.newRefreshToken()
  await store.insertRefreshToken({
    hash: rules.hashRefreshToken(text),
    userId: user.id,
    sessionId: session.id,
    parent: null,
    createdAt: now,
  })
  await audit(realm, store, 'mfa_code_login', user)
  return draftFor(realm, store, user, { ...session, aal: 'aal2' }, { refreshToken: text, method })
}
