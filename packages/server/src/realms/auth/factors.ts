import { fail } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import { later } from '../../base/later.ts'
import { type Ceremony, type CredentialOptions, optionsFor } from '../passkeys/factor.ts'
import type { Challenge, Factor, RealmStore } from '../store/types.ts'
import type { Holder } from './account.ts'
import { CHALLENGE_LIFE, demandAal2, inSession, ownFactor, phoneCodeHash } from './factor-session.ts'
import { limitSms, smsCode } from './one-time.ts'
import { phoneOf } from './people.ts'
import { channelOf } from './phones.ts'
import { audit, HOUR, type Realm } from './realm.ts'
import { writeSms } from './sms.ts'
import { newSecret, otpauth } from './totp.ts'

export interface Enrolled {
  readonly factor: Factor
  readonly qrCode: string
  readonly uri: string
}

export interface Enrolling {
  readonly type: unknown
  readonly name: unknown
  readonly issuer: unknown
  readonly phone?: unknown
}

/** What a factor of this kind starts with. Throws where the realm has none of it. */
function startOf({ rules }: Realm, given: Enrolling): { type: 'totp' | 'phone' | 'webauthn'; secret: string | null; phone: string | null } {
  if (given.type === 'webauthn') {
    if (!rules.mfa_webauthn) throw fail('auth_mfa_webauthn_enroll_not_enabled')
    return { type: 'webauthn', secret: null, phone: null }
  }
  if (given.type === 'phone') {
    if (!rules.mfa_phone) throw fail('auth_mfa_phone_enroll_not_enabled')
    if ((given.phone ?? '') === '') throw fail('auth_validation_failed', { reason: 'Phone number required to enroll Phone factor' })
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
    if (user.anonymous) throw fail('auth_anonymous_refused')
    const now = realm.now()
    const all = await store.factorsOf(user.id)
    demandAal2(all, session, 'enroll')
    await makeRoom(realm, store, all, start.phone)
    const times = { createdAt: now, updatedAt: now, lastChallengedAt: null }
    const factor: Factor = { id: uuid(), userId: user.id, name, status: 'unverified', credential: null, ...start, ...times }
    if (!(await store.insertFactor(factor))) throw fail('auth_mfa_factor_name_conflict', { name: name ?? '' })
    await audit(realm, store, 'factor_in_progress', user, { factor_id: factor.id })
    if (start.secret === null) return { factor, uri: '', qrCode: '' }
    const issuer =
      typeof given.issuer === 'string' && given.issuer !== '' ? given.issuer.slice(0, 128) : new URL(rules.site_url ?? realm.url).host
    const uri = otpauth(issuer, user.email ?? user.phone ?? user.id, start.secret)
    return { factor, uri, qrCode: later<typeof import('uqr')>('uqr').renderSVG(uri, { border: 2 }) }
  })
}

interface Asked extends Challenge {
  readonly type: string
  readonly expiresAt: number
  /** For the browser, where the factor is a credential of WebAuthn. */
  readonly webauthn: CredentialOptions | null
}

/** What a browser shall do for a factor of WebAuthn; made before the transaction, which awaits nothing but the database. */
async function ceremonyOf(realm: Realm, holder: Holder, factorId: string): Promise<{ factor: Factor; ceremony: Ceremony | null }> {
  const { user, factor, others } = await realm.transact(async (store) => {
    const { user } = await inSession(realm, store, holder)
    const factor = await ownFactor(store, user, factorId)
    return { user, factor, others: await store.factorsOf(user.id) }
  })
  if (factor.type !== 'webauthn') return { factor, ceremony: null }
  if (!realm.rules.mfa_webauthn) throw fail('auth_mfa_webauthn_verify_not_enabled')
  return { factor, ceremony: await optionsFor(realm, user, factor, others) }
}

/** A challenge to answer; to a telephone a code is sent. */
export async function challenge(realm: Realm, holder: Holder, factorId: string, channel?: unknown): Promise<Asked> {
  const { factor: found, ceremony } = await ceremonyOf(realm, holder, factorId)
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
    const ip = realm.caller.ip ?? '0.0.0.0'
    const made: Challenge = { id, factorId: factor.id, createdAt: now, verifiedAt: null, ip, otpHash, session: ceremony?.session ?? null }
    await store.insertChallenge(made)
    if (code !== null) await writeSms(realm, store, { user, phone: factor.phone ?? '', code, channel: way })
    await store.updateFactor(factor.id, { lastChallengedAt: now }, now)
    await audit(realm, store, 'challenge_created', user, { factor_id: factor.id })
    return { ...made, type: factor.type, expiresAt: now + CHALLENGE_LIFE, webauthn: ceremony?.options ?? null }
  })
  if (found.phone !== null) realm.poke()
  return asked
}

export async function unenroll(realm: Realm, holder: Holder, factorId: string): Promise<string> {
  return realm.transact(async (store) => {
    const { user, session } = await inSession(realm, store, holder)
    const factor = await ownFactor(store, user, factorId)
    if (factor.status === 'verified') demandAal2([factor], session, 'unenroll')
    await store.deleteFactor(factor.id)
    const left = (await store.factorsOf(user.id)).filter(({ status }) => status === 'verified')
    if (left.length === 0) {
      await store.replaceRecoveryCodes(user.id, [], realm.now())
      await store.updateSession(session.id, { aal: 'aal1' }, realm.now())
    }
    // What it has proved counts no more, in none of the sessions.
    for (const each of await store.sessionsOf(user.id))
      if (each.factorId === factor.id) await store.updateSession(each.id, { aal: 'aal1', factorId: null }, realm.now())
    await audit(realm, store, 'factor_unenrolled', user, { factor_id: factor.id })
    return factor.id
  })
}
