import { fail } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import type { RealmStore, RealmUser } from '../store/types.ts'
import { blankUser, mayEnter } from '../users.ts'
import { granted, signIn } from './grants.ts'
import { beforeUserCreated, hasHook } from './hooks.ts'
import { limitSms, sendToken, type TokenKind } from './one-time.ts'
import { demandPassword, hashedNew } from './passwords.ts'
import { confirmPhone, insertPerson, mergedMetadata, personOf, phoneOf } from './people.ts'
import { audit, level, limitAddress, newcomer, type Realm } from './realm.ts'
import type { SignedUp } from './sign-up.ts'
import { CHANNELS, type Channel, writeSms } from './sms.ts'

/** How a code goes out. Throws `auth_validation_failed`. */
export function channelOf({ rules }: Realm, value: unknown): Channel {
  const channel = value === undefined || value === null || value === '' ? 'sms' : value
  const known = CHANNELS.find((each) => each === channel)
  const able = rules.sms?.provider === 'twilio' || rules.sms?.provider === 'http' || rules.hooks?.send_sms !== undefined
  if (known === undefined || (known === 'whatsapp' && !able))
    throw fail('auth_validation_failed', { reason: "Invalid channel, supported values are 'sms' or 'whatsapp'" })
  return known
}

/** A code to a number, in the transaction that makes it; answers the id of the message. */
export async function sendCode(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  to: { kind: TokenKind; phone: string; channel: Channel },
): Promise<string> {
  const { otp } = await sendToken(realm, store, user, to.kind, to.phone)
  const patch = to.kind === 'phone_change_token' ? { phoneChangeSentAt: realm.now() } : { confirmationSentAt: realm.now() }
  await store.updateUser(user.id, patch, realm.now())
  return writeSms(realm, store, { user, phone: to.phone, code: otp, channel: to.channel })
}

export interface PhoneSignUp {
  readonly phone: unknown
  readonly password: unknown
  readonly data: unknown
  readonly channel: unknown
  /** The request speaks of PKCE, which a code has no use for. */
  readonly pkce?: boolean
}

async function askBefore(realm: Realm, phone: string, metadata: RealmUser['userMetadata']): Promise<void> {
  if (!hasHook(realm, 'before_user_created') || (await realm.transact((store) => store.userByPhone(phone)))) return
  const appMetadata = { provider: 'phone', providers: ['phone'] }
  await beforeUserCreated(realm, { ...blankUser(uuid(), realm.now()), phone, userMetadata: metadata, appMetadata })
}

const newPerson = (phone: string, passwordHash: string | null, metadata: RealmUser['userMetadata'], confirmedAt: number | null) => ({
  email: null,
  phone,
  passwordHash,
  metadata,
  confirmedAt: null,
  phoneConfirmedAt: confirmedAt,
})

/** POST /signup with a telephone number. */
export async function signUpByPhone(realm: Realm, given: PhoneSignUp): Promise<SignedUp> {
  const { rules } = realm
  if (rules.disable_signup) throw fail('auth_signup_disabled')
  if (!rules.phone_enabled) throw fail('auth_phone_provider_disabled', { reason: 'Phone signups are disabled' })
  demandPassword(rules, given.password)
  if (given.pkce === true) throw fail('auth_validation_failed', { reason: 'PKCE not supported for phone signups' })
  const phone = phoneOf(given.phone)
  const channel = channelOf(realm, given.channel)
  const metadata = mergedMetadata({}, given.data)
  await limitAddress(realm, 'sign_ups')
  return level(async () => {
    const passwordHash = await hashedNew(realm, given.password)
    await askBefore(realm, phone, metadata)
    if (!rules.phone_autoconfirm) await limitSms(realm, phone)
    const made = await newcomer(realm, async (store) => {
      const now = realm.now()
      const known = await store.userByPhone(phone)
      if (known && (rules.phone_autoconfirm || known.phoneConfirmedAt !== null)) {
        await audit(realm, store, 'user_repeated_signup', known, { provider: 'phone' })
        if (rules.phone_autoconfirm) throw fail('auth_user_already_exists')
        return { person: stranger(phone, metadata, now) }
      }
      const confirmedAt = rules.phone_autoconfirm ? now : null
      const user = known ?? (await insertPerson(store, newPerson(phone, passwordHash, metadata, confirmedAt), now))
      await audit(realm, store, 'user_signedup', user, { provider: 'phone' })
      if (rules.phone_autoconfirm) return signIn(realm, store, user, 'password')
      await sendCode(realm, store, user, { kind: 'confirmation_token', phone, channel })
      return { person: await personOf(store, { ...user, confirmationSentAt: now }) }
    })
    realm.poke()
    return 'claims' in made ? { grant: await granted(realm, made) } : made
  })
}

/** What the owner of a taken number gets to see: the answer does not tell that it is taken. */
function stranger(phone: string, userMetadata: RealmUser['userMetadata'], now: number) {
  const appMetadata = { provider: 'phone', providers: ['phone'] }
  const user = { ...blankUser(uuid(), now), phone, role: '', userMetadata, appMetadata, confirmationSentAt: now }
  return { user, identities: [], factors: [] }
}

export interface PhoneOtp {
  readonly phone: unknown
  readonly data: unknown
  readonly createUser: boolean
  readonly channel: unknown
}

/** POST /otp with a number: a code, for a new person too where sign-ups are open and wanted. Answers the message's id. */
export async function sendPhoneOtp(realm: Realm, given: PhoneOtp): Promise<string> {
  const { rules } = realm
  if (!rules.phone_enabled) throw fail('auth_phone_provider_disabled', { reason: 'Unsupported phone provider' })
  const phone = phoneOf(given.phone)
  const channel = channelOf(realm, given.channel)
  const metadata = mergedMetadata({}, given.data)
  await limitAddress(realm, 'otps')
  await limitSms(realm, phone)
  const creates = given.createUser && !rules.disable_signup
  if (creates) await askBefore(realm, phone, metadata)
  const id = await level(() =>
    newcomer(realm, async (store) => {
      const known = await store.userByPhone(phone)
      if (!known && !creates) throw fail('auth_otp_disabled')
      if (known && !mayEnter(known, realm.now())) return uuid()
      const user = known ?? (await insertPerson(store, newPerson(phone, null, metadata, null), realm.now()))
      await audit(realm, store, known ? 'user_recovery_requested' : 'user_signedup', user, { provider: 'phone', channel })
      return sendCode(realm, store, user, { kind: 'confirmation_token', phone, channel })
    }),
  )
  realm.poke()
  return id
}

/** Of a change: whoever has the number or is to have it, and the new one. */
async function receiverOf(store: RealmStore, type: 'sms' | 'phone_change', phone: string): Promise<[RealmUser | null, string]> {
  const owner = await store.userByPhone(phone)
  if (type === 'sms') return [owner, phone]
  if (owner?.phoneChange) return [owner, owner.phoneChange]
  return [await store.userByPhoneChange(phone), phone]
}

/** POST /resend of `sms` and `phone_change`. Answers an id whether anybody has the number or not. */
export async function resendPhone(
  realm: Realm,
  type: 'sms' | 'phone_change',
  given: { phone: unknown; channel: unknown },
): Promise<string> {
  if (!realm.rules.phone_enabled) throw fail('auth_phone_provider_disabled', { reason: 'Phone logins are disabled' })
  const phone = phoneOf(given.phone)
  const channel = channelOf(realm, given.channel)
  await limitAddress(realm, 'otps')
  await limitSms(realm, phone)
  const id = await level(() =>
    realm.transact(async (store) => {
      const [user, to] = await receiverOf(store, type, phone)
      if (!user || !mayEnter(user, realm.now()) || (type === 'sms' && user.phoneConfirmedAt !== null)) return uuid()
      return sendCode(realm, store, user, { kind: type === 'sms' ? 'confirmation_token' : 'phone_change_token', phone: to, channel })
    }),
  )
  realm.poke()
  return id
}

/** A new number for the own account: proved by a code that goes there. Throws `auth_phone_exists`. */
export async function changePhone(realm: Realm, store: RealmStore, user: RealmUser, phone: string, channel: Channel): Promise<RealmUser> {
  const taken = await store.userByPhone(phone)
  if (taken && taken.id !== user.id) throw fail('auth_phone_exists')
  if (realm.rules.phone_autoconfirm) return confirmPhone(store, { ...user, phone }, realm.now())
  await store.updateUser(user.id, { phoneChange: phone, phoneChangeSentAt: realm.now() }, realm.now())
  await sendCode(realm, store, user, { kind: 'phone_change_token', phone, channel })
  return { ...user, phoneChange: phone, phoneChangeSentAt: realm.now() }
}

/** The code that was sent to a number came back. */
export async function provedPhone(realm: Realm, store: RealmStore, user: RealmUser, kind: string): Promise<RealmUser> {
  const now = realm.now()
  if (kind !== 'phone_change_token') {
    await audit(realm, store, user.phoneConfirmedAt === null ? 'user_signedup' : 'login', user, { provider: 'phone' })
    return confirmPhone(store, user, now)
  }
  const { phoneChange } = user
  if (phoneChange === null) throw fail('auth_otp_expired')
  const taken = await store.userByPhone(phoneChange)
  if (taken && taken.id !== user.id) throw fail('auth_phone_exists')
  await store.updateUser(user.id, { phoneChange: null }, now)
  await audit(realm, store, 'user_modified', user)
  return confirmPhone(store, { ...user, phone: phoneChange, phoneChange: null }, now)
}
