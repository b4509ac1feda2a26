import { createHmac, randomInt } from 'node:crypto'
import { safeEqual, sha256 } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { randomToken, uuid } from '../../base/ids.ts'
import type { OneTimeToken, RealmStore, RealmUser } from '../store/types.ts'
import { hidden, type Realm } from './realm.ts'

/** Names of `auth.one_time_tokens.token_type`. */
export type TokenKind =
  | 'confirmation_token'
  | 'recovery_token'
  | 'email_change_token_current'
  | 'email_change_token_new'
  | 'reauthentication_token'
  | 'phone_change_token'

/** A secret that is sent once: a long one for the link, a short one to type. */
export interface Sent {
  readonly token: string
  readonly otp: string
}

/** Of links that end in a code to be exchanged with a verifier. */
export const PKCE = 'pkce_'
/** Wrong codes until the code is void. */
const TRIES = { amount: 5, window: 24 * 3_600_000 }

const otpHash = (realm: Realm, kind: string, userId: string, address: string, otp: string): string =>
  createHmac('sha256', realm.pepper).update(`otp:${kind}:${userId}:${address}:${otp}`).digest('hex')

function digits(length: number): string {
  let text = ''
  for (let i = 0; i < length; i++) text += randomInt(10)
  return text
}

/** Addresses of one-time tokens are those of mails, or numbers. */
export const isPhone = (address: string): boolean => /^\d+$/.test(address)

/** The code for a number: a test number's own is always the same. */
export const smsCode = ({ rules }: Realm, phone: string): string => rules.sms_test_codes[phone] ?? digits(rules.sms_otp_length)

/** The former one of its kind is void. */
export async function sendToken(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  kind: TokenKind,
  address: string,
  flowId: string | null = null,
): Promise<Sent> {
  const token = (flowId === null ? '' : PKCE) + randomToken(32)
  const otp = isPhone(address) ? smsCode(realm, address) : digits(realm.rules.otp_length)
  await store.dropOneTimeTokens(user.id, kind)
  await store.insertOneTimeToken({
    id: uuid(),
    userId: user.id,
    kind,
    hash: sha256(token),
    relatesTo: address,
    createdAt: realm.now(),
    otpHash: otpHash(realm, kind, user.id, address, otp),
    flowId,
  })
  return { token, otp }
}

const lifeOf = ({ rules }: Realm, address: string): number => (isPhone(address) ? rules.sms_otp_expiry : rules.otp_expiry) * 1000

const isOver = (realm: Realm, token: OneTimeToken): boolean => token.createdAt + lifeOf(realm, token.relatesTo) <= realm.now()

/** By the link's long secret: the one caller that comes in time gets it. null: unknown, used, expired, or for something else. */
export async function takeToken(realm: Realm, store: RealmStore, kinds: readonly TokenKind[], token: string): Promise<OneTimeToken | null> {
  const hash = sha256(token)
  for (const kind of kinds) {
    const taken = await store.takeOneTimeToken(kind, hash)
    if (taken) return isOver(realm, taken) ? null : taken
  }
  return null
}

/** By the short code: few tries, then it is void. */
export async function takeOtp(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  kinds: readonly TokenKind[],
  address: string,
  otp: string,
): Promise<OneTimeToken | null> {
  for (const kind of kinds) {
    const known = await store.oneTimeToken(user.id, kind)
    if (!known || known.otpHash === null || known.relatesTo !== address || isOver(realm, known)) continue
    if (safeEqual(known.otpHash, otpHash(realm, kind, user.id, address, otp))) return store.takeOneTimeToken(kind, known.hash)
    const left = await store.take(`otp:${known.id}`, TRIES, realm.now())
    if (left > 0) await store.dropOneTimeTokens(user.id, kind)
  }
  return null
}

interface SendLimit {
  /** Of the counters: `mail:recovery:…` for one receiver, `mails` for all. */
  readonly one: string
  readonly interval: number
  readonly all: string
  readonly amount: number
  readonly code: 'auth_over_email_send_rate_limit' | 'auth_over_sms_send_rate_limit'
  readonly says: string
}

async function limitSending(realm: Realm, limit: SendLimit): Promise<void> {
  const now = realm.now()
  // Answers instead of throwing inside, so that what was taken is committed.
  const [interval, hour] = await realm.transact(async (store) => {
    const wait = limit.interval === 0 ? 0 : await store.take(limit.one, { amount: 1, window: limit.interval * 1000 }, now)
    return [wait, wait > 0 ? 0 : await store.take(limit.all, { amount: limit.amount, window: 3_600_000 }, now)] as const
  })
  const wait = Math.max(interval, hour)
  if (wait === 0) return
  const seconds = Math.max(1, Math.ceil(wait / 1000))
  const reason = interval > 0 ? `For security purposes, you can only request this after ${seconds} seconds.` : limit.says
  throw fail(limit.code, { reason }, { headers: { 'retry-after': String(seconds) } })
}

/** One mail of a kind to an address in an interval, and so many of the project in an hour; the same whether the address is known or not. */
export const limitMails = (realm: Realm, kind: string, address: string): Promise<void> =>
  limitSending(realm, {
    one: `mail:${kind}:${hidden(address)}`,
    interval: realm.rules.mail_interval,
    all: 'mails',
    amount: realm.rules.rates.mails,
    code: 'auth_over_email_send_rate_limit',
    says: 'email rate limit exceeded',
  })

/** One text message to a number in an interval, and so many of the project in an hour. */
export const limitSms = (realm: Realm, phone: string): Promise<void> =>
  limitSending(realm, {
    one: `sms:${hidden(phone)}`,
    interval: realm.rules.sms_interval,
    all: 'sms',
    amount: realm.rules.rates.sms,
    code: 'auth_over_sms_send_rate_limit',
    says: 'SMS rate limit exceeded',
  })
