import { createHmac, randomBytes } from 'node:crypto'
import { renderSVG } from 'uqr'
import { fail } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import type { Challenge, Factor, RealmSession, RealmStore, RealmUser } from '../store/types.ts'
import { type Holder, present } from './account.ts'
import { type Draft, draftFor, endSessions, endSessionsOf, type Grant, granted, sessionRules } from './grants.ts'
import { mfaAttempt } from './hooks.ts'
import { audit, HOUR, limitAddress, MINUTE, type Realm, tooMany } from './realm.ts'
import { base32, matchingStep, newSecret, otpauth } from './totp.ts'

const CHALLENGE_LIFE = 5 * MINUTE
/** Wrong codes of one factor, from wherever they come. */
const TRIES = { amount: 10, window: HOUR }
const RECOVERY_CODES = 10
const RECOVERY_BYTES = 10

export interface Enrolled {
  readonly factor: Factor
  readonly qrCode: string
  readonly uri: string
}

/** The session that a factor is added to or used in: one of our own tokens, not one that the project's people signed. */
async function inSession(realm: Realm, store: RealmStore, holder: Holder): Promise<{ user: RealmUser; session: RealmSession }> {
  const { user, session } = await present(realm, store, holder)
  if (!session) throw fail('auth_session_not_found')
  return { user, session }
}

async function ownFactor(store: RealmStore, user: RealmUser, id: string): Promise<Factor> {
  const factor = isUuid(id) ? await store.factorById(id) : null
  if (!factor || factor.userId !== user.id) throw fail('auth_mfa_factor_not_found')
  return factor
}

/** A second factor is guarded by those that are there already. */
function demandAal2(factors: readonly Factor[], session: RealmSession, what: string): void {
  if (session.aal !== 'aal2' && factors.some(({ status }) => status === 'verified'))
    throw fail('auth_insufficient_aal', { reason: `AAL2 required to ${what}` })
}

export interface Enrolling {
  readonly type: unknown
  readonly name: unknown
  readonly issuer: unknown
}

export async function enroll(realm: Realm, holder: Holder, given: Enrolling): Promise<Enrolled> {
  const { rules } = realm
  if (given.type === 'phone' || given.type === 'webauthn')
    throw fail(given.type === 'phone' ? 'auth_mfa_phone_enroll_not_enabled' : 'auth_mfa_webauthn_enroll_not_enabled')
  if (given.type !== 'totp') throw fail('auth_validation_failed', { reason: 'factor_type needs to be totp, phone, or webauthn' })
  if (!rules.mfa_totp) throw fail('auth_mfa_totp_enroll_not_enabled')
  const name = typeof given.name === 'string' && given.name.trim() !== '' ? given.name.trim().slice(0, 255) : null
  return realm.transact(async (store) => {
    const { user, session } = await inSession(realm, store, holder)
    const now = realm.now()
    const all = await store.factorsOf(user.id)
    demandAal2(all, session, 'enroll a new factor')
    // What was begun and never verified makes room.
    for (const old of all) if (old.status === 'unverified' && old.createdAt + HOUR <= now) await store.deleteFactor(old.id)
    const living = (await store.factorsOf(user.id)).length
    if (living >= rules.mfa_max_factors) throw fail('auth_too_many_enrolled_mfa_factors')
    const secret = newSecret()
    const factor: Factor = {
      id: uuid(),
      userId: user.id,
      name,
      type: 'totp',
      status: 'unverified',
      secret,
      phone: null,
      createdAt: now,
      updatedAt: now,
      lastChallengedAt: null,
    }
    if (!(await store.insertFactor(factor))) throw fail('auth_mfa_factor_name_conflict', { name: name ?? '' })
    await audit(realm, store, 'factor_in_progress', user, { factor_id: factor.id })
    const issuer =
      typeof given.issuer === 'string' && given.issuer !== '' ? given.issuer.slice(0, 128) : new URL(rules.site_url ?? realm.url).host
    const uri = otpauth(issuer, user.email ?? user.phone ?? user.id, secret)
    return { factor, uri, qrCode: renderSVG(uri, { border: 2 }) }
  })
}

export async function challenge(realm: Realm, holder: Holder, factorId: string): Promise<Challenge & { type: string; expiresAt: number }> {
  return realm.transact(async (store) => {
    const { user } = await inSession(realm, store, holder)
    const factor = await ownFactor(store, user, factorId)
    const now = realm.now()
    const made: Challenge = { id: uuid(), factorId: factor.id, createdAt: now, verifiedAt: null, ip: realm.caller.ip ?? '0.0.0.0' }
    await store.insertChallenge(made)
    await store.updateFactor(factor.id, { lastChallengedAt: now }, now)
    await audit(realm, store, 'challenge_created', user, { factor_id: factor.id })
    return { ...made, type: factor.type, expiresAt: now + CHALLENGE_LIFE }
  })
}

/** The challenge of this factor, still open. */
async function openChallenge(realm: Realm, store: RealmStore, factor: Factor, id: unknown): Promise<Challenge> {
  const found = typeof id === 'string' && isUuid(id) ? await store.challengeById(id) : null
  if (!found || found.factorId !== factor.id || found.verifiedAt !== null) throw fail('auth_mfa_challenge_not_found')
  if (found.createdAt + CHALLENGE_LIFE <= realm.now()) throw fail('auth_mfa_challenge_expired', { id: found.id })
  return found
}

type Look = { readonly user: RealmUser; readonly factor: Factor; readonly valid: boolean } | number

/** Looks at a code: it and its challenge are used up by being right, whatever the project's own code then says. */
async function lookAt(
  realm: Realm,
  store: RealmStore,
  holder: Holder,
  id: string,
  given: { challengeId: unknown; code: unknown },
): Promise<Look> {
  const { user } = await inSession(realm, store, holder)
  const factor = await ownFactor(store, user, id)
  const open = await openChallenge(realm, store, factor, given.challengeId)
  const wait = await store.take(`totp:${factor.id}`, TRIES, realm.now())
  if (wait > 0) return wait
  const step = factor.secret === null ? null : matchingStep(factor.secret, String(given.code ?? ''), realm.now())
  // The step is kept for as long as its code would be taken: whoever looked over the shoulder comes too late.
  const fresh = step !== null && (await store.take(`totp:${factor.id}:${step}`, { amount: 1, window: 2 * MINUTE }, realm.now())) === 0
  await audit(realm, store, 'verification_attempted', user, { factor_id: factor.id })
  const valid = fresh && (await store.useChallenge(open.id, realm.now()))
  if (valid) await store.giveBack(`totp:${factor.id}`)
  return { user, factor, valid }
}

/** A code of an app raises the session to aal2; the first one also completes the factor. Each code is good once. */
export async function verifyFactor(
  realm: Realm,
  holder: Holder,
  factorId: string,
  given: { challengeId: unknown; code: unknown },
): Promise<Grant> {
  await limitAddress(realm, 'verifications')
  const look = await realm.transact((store) => lookAt(realm, store, holder, factorId, given))
  if (typeof look === 'number') throw tooMany(look)
  const { user, factor, valid } = look
  const attempt = { user_id: user.id, factor_id: factor.id, factor_type: factor.type, valid }
  const { reject, message } = await mfaAttempt(realm, attempt)
  if (reject) {
    await realm.transact((store) => endSessionsOf(realm, store, user.id))
    throw fail('auth_mfa_verification_rejected', { reason: message })
  }
  if (!valid) throw fail('auth_mfa_verification_failed')
  const draft = await realm.transact(async (store) => {
    const { session } = await inSession(realm, store, holder)
    if (factor.status !== 'verified') await complete(realm, store, factor, session)
    return raise(realm, store, user, session, { method: factor.type, factorId: factor.id })
  })
  return granted(realm, draft)
}

/** The first factor: sessions that know only the password end, since it is no longer enough. */
async function complete(realm: Realm, store: RealmStore, factor: Factor, session: RealmSession): Promise<void> {
  await store.updateFactor(factor.id, { status: 'verified' }, realm.now())
  const others = (await store.sessionsOf(factor.userId)).filter(({ id, aal }) => id !== session.id && aal === 'aal1')
  await endSessions(
    realm,
    store,
    others.map(({ id }) => id),
  )
}

/** The same session, stronger, with tokens that say so. */
async function raise(
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

export async function unenroll(realm: Realm, holder: Holder, factorId: string): Promise<string> {
  return realm.transact(async (store) => {
    const { user, session } = await inSession(realm, store, holder)
    const factor = await ownFactor(store, user, factorId)
    if (factor.status === 'verified') demandAal2([factor], session, 'unenroll verified factor')
    await store.deleteFactor(factor.id)
    const left = (await store.factorsOf(user.id)).filter(({ status }) => status === 'verified')
    if (left.length === 0) {
      await store.replaceRecoveryCodes(user.id, [], realm.now())
      await store.updateSession(session.id, { aal: 'aal1' }, realm.now())
    }
    await audit(realm, store, 'factor_unenrolled', user, { factor_id: factor.id })
    return factor.id
  })
}

const codeHash = (realm: Realm, userId: string, code: string): string =>
  createHmac('sha256', realm.pepper)
    .update(`recovery:${userId}:${code.toUpperCase().replace(/[^A-Z2-7]/g, '')}`)
    .digest('hex')

/** Codes on paper, each good once in place of the app; the former ones are void. Shown now and never again. */
export async function makeRecoveryCodes(realm: Realm, holder: Holder): Promise<string[]> {
  return realm.transact(async (store) => {
    const { user, session } = await inSession(realm, store, holder)
    if (session.aal !== 'aal2') throw fail('auth_insufficient_aal', { reason: 'AAL2 required to generate recovery codes' })
    const codes = Array.from({ length: RECOVERY_CODES }, () => base32(randomBytes(RECOVERY_BYTES)).replace(/(.{4})(?!$)/g, '$1-'))
    await store.replaceRecoveryCodes(
      user.id,
      codes.map((code) => codeHash(realm, user.id, code)),
      realm.now(),
    )
    await audit(realm, store, 'generate_recovery_codes', user)
    return codes
  })
}

export async function useRecoveryCode(realm: Realm, holder: Holder, code: unknown): Promise<Grant> {
  await limitAddress(realm, 'verifications')
  const outcome = await realm.transact(async (store): Promise<Draft | number | null> => {
    const { user, session } = await inSession(realm, store, holder)
    const wait = await store.take(`recovery:${user.id}`, TRIES, realm.now())
    if (wait > 0) return wait
    if (typeof code !== 'string' || !(await store.useRecoveryCode(user.id, codeHash(realm, user.id, code)))) return null
    return raise(realm, store, user, session, { method: 'recovery_code', factorId: null })
  })
  if (typeof outcome === 'number') throw tooMany(outcome)
  if (!outcome) throw fail('auth_mfa_recovery_code_invalid')
  return granted(realm, outcome)
}
