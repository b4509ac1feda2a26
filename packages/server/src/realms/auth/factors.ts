import { createHmac, randomBytes } from 'node:crypto'
import { safeEqual } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import { later } from '../../base/later.ts'
import type { Challenge, Factor, RealmSession, RealmStore, RealmUser } from '../store/types.ts'
import { type Holder, present } from './account.ts'
import { type Draft, draftFor, endSessions, endSessionsOf, type Grant, granted, sessionRules } from './grants.ts'
import { mfaAttempt } from './hooks.ts'
import { limitSms, smsCode } from './one-time.ts'
import { phoneOf } from './people.ts'
import { channelOf } from './phones.ts'
import { audit, HOUR, limitAddress, MINUTE, type Realm, tooMany } from './realm.ts'
import { writeSms } from './sms.ts'
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
  readonly phone?: unknown
}

/** What a factor of this kind starts with. Throws where the realm has none of it. */
function startOf({ rules }: Realm, given: Enrolling): { type: 'totp' | 'phone'; secret: string | null; phone: string | null } {
  if (given.type === 'webauthn') throw fail('auth_mfa_webauthn_enroll_not_enabled')
  if (given.type === 'phone') {
    if (!rules.mfa_phone) throw fail('auth_mfa_phone_enroll_not_enabled')
    return { type: 'phone', secret: null, phone: phoneOf(given.phone) }
  }
  if (given.type !== 'totp') throw fail('auth_validation_failed', { reason: 'factor_type needs to be totp, phone, or webauthn' })
  if (!rules.mfa_totp) throw fail('auth_mfa_totp_enroll_not_enabled')
  return { type: 'totp', secret: newSecret(), phone: null }
}

/** Makes room: what was begun and never verified, and the same number once more. Throws where there is none. */
async function makeRoom(realm: Realm, store: RealmStore, all: readonly Factor[], phone: string | null): Promise<void> {
  const now = realm.now()
  if (phone !== null && all.some((old) => old.phone === phone && old.status === 'verified')) throw fail('auth_mfa_verified_factor_exists')
  const left = all.filter((old) => old.status === 'verified' || (old.createdAt + HOUR > now && (phone === null || old.phone !== phone)))
  for (const old of all) if (!left.includes(old)) await store.deleteFactor(old.id)
  if (left.length >= realm.rules.mfa_max_factors) throw fail('auth_too_many_enrolled_mfa_factors')
}

export async function enroll(realm: Realm, holder: Holder, given: Enrolling): Promise<Enrolled> {
  const { rules } = realm
  const start = startOf(realm, given)
  const name = typeof given.name === 'string' && given.name.trim() !== '' ? given.name.trim().slice(0, 255) : null
  return realm.transact(async (store) => {
    const { user, session } = await inSession(realm, store, holder)
    const now = realm.now()
    const all = await store.factorsOf(user.id)
    demandAal2(all, session, 'enroll a new factor')
    await makeRoom(realm, store, all, start.phone)
    const times = { createdAt: now, updatedAt: now, lastChallengedAt: null }
    const factor: Factor = { id: uuid(), userId: user.id, name, status: 'unverified', ...start, ...times }
    if (!(await store.insertFactor(factor))) throw fail('auth_mfa_factor_name_conflict', { name: name ?? '' })
    await audit(realm, store, 'factor_in_progress', user, { factor_id: factor.id })
    if (start.secret === null) return { factor, uri: '', qrCode: '' }
    const issuer =
      typeof given.issuer === 'string' && given.issuer !== '' ? given.issuer.slice(0, 128) : new URL(rules.site_url ?? realm.url).host
    const uri = otpauth(issuer, user.email ?? user.phone ?? user.id, start.secret)
    return { factor, uri, qrCode: later<typeof import('uqr')>('uqr').renderSVG(uri, { border: 2 }) }
  })
}

/** Keyed and bound to the challenge, as the codes of mails are. */
const phoneCodeHash = (realm: Realm, challengeId: string, code: string): string =>
  createHmac('sha256', realm.pepper).update(`mfa:${challengeId}:${code}`).digest('hex')

interface Asked extends Challenge {
  readonly type: string
  readonly expiresAt: number
}

/** A challenge to answer; to a telephone a code is sent. */
export async function challenge(realm: Realm, holder: Holder, factorId: string, channel?: unknown): Promise<Asked> {
  const found = await realm.transact(async (store) => ownFactor(store, (await inSession(realm, store, holder)).user, factorId))
  const way = channelOf(realm, channel)
  if (found.phone !== null) {
    if (!realm.rules.mfa_phone) throw fail('auth_mfa_phone_verify_not_enabled')
    await limitSms(realm, found.phone)
  }
  const asked = await realm.transact(async (store) => {
    const { user } = await inSession(realm, store, holder)
    const factor = await ownFactor(store, user, factorId)
    const now = realm.now()
    const id = uuid()
    const code = factor.phone === null ? null : smsCode(realm, factor.phone)
    const otpHash = code === null ? null : phoneCodeHash(realm, id, code)
    const made: Challenge = { id, factorId: factor.id, createdAt: now, verifiedAt: null, ip: realm.caller.ip ?? '0.0.0.0', otpHash }
    await store.insertChallenge(made)
    if (code !== null) await writeSms(realm, store, { user, phone: factor.phone ?? '', code, channel: way })
    await store.updateFactor(factor.id, { lastChallengedAt: now }, now)
    await audit(realm, store, 'challenge_created', user, { factor_id: factor.id })
    return { ...made, type: factor.type, expiresAt: now + CHALLENGE_LIFE }
  })
  if (found.phone !== null) realm.poke()
  return asked
}

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
  const step = factor.secret === null ? null : matchingStep(factor.secret, code, realm.now())
  // The step is kept for as long as its code would be taken: whoever looked over the shoulder comes too late.
  return step !== null && (await store.take(`totp:${factor.id}:${step}`, { amount: 1, window: 2 * MINUTE }, realm.now())) === 0
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
  const fresh = await isRight(realm, store, factor, open, String(given.code ?? ''))
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
  if (!valid) throw fail(factor.type === 'phone' ? 'auth_mfa_phone_code_wrong' : 'auth_mfa_verification_failed')
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
