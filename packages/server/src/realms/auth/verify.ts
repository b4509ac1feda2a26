import { fail } from '../../base/errors.ts'
import type { OneTimeToken, RealmStore, RealmUser } from '../store/types.ts'
import { mayEnter } from '../users.ts'
import { completeEmailChange, type HalfChanged } from './email-change.ts'
import { type Draft, type Grant, granted, signIn } from './grants.ts'
import { isPhone, PKCE, type TokenKind, takeOtp, takeToken } from './one-time.ts'
import { confirmEmail, emailOf, phoneOf } from './people.ts'
import { provedPhone } from './phones.ts'
import { issueCode } from './pkce.ts'
import { audit, limitAddress, type Realm } from './realm.ts'
import { redirectOf, withParams } from './redirects.ts'

/** Which stored tokens a type of the wire may use: a token is good for its purpose alone. */
const KINDS: Readonly<Record<string, readonly TokenKind[]>> = {
  signup: ['confirmation_token'],
  invite: ['confirmation_token'],
  recovery: ['recovery_token'],
  magiclink: ['recovery_token'],
  email: ['confirmation_token', 'recovery_token'],
  email_change: ['email_change_token_new', 'email_change_token_current'],
  sms: ['confirmation_token'],
  phone_change: ['phone_change_token'],
}
const DIGITS = /^\d{6,10}$/

export interface Attempt {
  readonly type: unknown
  readonly token?: unknown
  readonly tokenHash?: unknown
  readonly email?: unknown
  readonly phone?: unknown
}

export type Verified = { readonly grant: Grant } | { readonly half: HalfChanged }

const kindsOf = (type: unknown): readonly TokenKind[] => {
  if (typeof type !== 'string' || type === '') throw fail('auth_validation_failed', { reason: 'Verify requires a verification type' })
  const kinds = Object.hasOwn(KINDS, type) ? KINDS[type] : undefined
  if (kinds) return kinds
  throw fail('auth_validation_failed', { reason: 'Unsupported verification type' })
}

const ofPhone = ({ type }: Attempt): boolean => type === 'sms' || type === 'phone_change'

async function consumePhone(
  realm: Realm,
  store: RealmStore,
  kinds: readonly TokenKind[],
  { type, phone, token }: Attempt,
): Promise<[OneTimeToken, RealmUser] | null> {
  const digits = phoneOf(phone)
  const owner = type === 'sms' ? await store.userByPhone(digits) : await store.userByPhoneChange(digits)
  const taken = owner && (await takeOtp(realm, store, owner, kinds, digits, String(token)))
  return taken && owner ? [taken, owner] : null
}

/** The person whose address or purpose the token proves; null: it is not good. */
async function consume(
  realm: Realm,
  store: RealmStore,
  kinds: readonly TokenKind[],
  attempt: Attempt,
): Promise<[OneTimeToken, RealmUser] | null> {
  const { tokenHash, token } = attempt
  const text =
    typeof tokenHash === 'string' && tokenHash !== '' ? tokenHash : typeof token === 'string' && !DIGITS.test(token) ? token : null
  if (text !== null) {
    const taken = await takeToken(realm, store, kinds, text)
    const user = taken && (await store.userById(taken.userId))
    return taken && user ? [taken, user] : null
  }
  if (ofPhone(attempt)) return consumePhone(realm, store, kinds, attempt)
  const email = emailOf(attempt.email)
  const owner = await store.userByEmail(email)
  if (!owner) return null
  const taken = await takeOtp(realm, store, owner, kinds, email, String(token))
  return taken ? [taken, owner] : null
}

/** By the new address of a change: its owner is found by the address that they have. */
async function consumeChange(
  realm: Realm,
  store: RealmStore,
  kinds: readonly TokenKind[],
  attempt: Attempt,
): Promise<[OneTimeToken, RealmUser] | null> {
  const found = await consume(realm, store, kinds, attempt)
  if (found || ofPhone(attempt) || attempt.tokenHash || typeof attempt.email !== 'string') return found
  const email = emailOf(attempt.email)
  const user = await store.userByEmailChange(email)
  const taken = user && (await takeOtp(realm, store, user, kinds, email, String(attempt.token)))
  return taken && user ? [taken, user] : null
}

async function proved(
  realm: Realm,
  store: RealmStore,
  type: string,
  token: OneTimeToken,
  user: RealmUser,
): Promise<RealmUser | HalfChanged> {
  if (isPhone(token.relatesTo)) return provedPhone(realm, store, user, token.kind)
  if (type === 'email_change') return completeEmailChange(realm, store, user, token.kind as TokenKind)
  if (token.kind === 'confirmation_token') {
    await audit(realm, store, user.invitedAt === null ? 'user_signedup' : 'invite_accepted', user)
    return confirmEmail(store, user, realm.now())
  }
  await audit(realm, store, 'login', user)
  // Who reads mail at the address owns it.
  return user.emailConfirmedAt === null ? confirmEmail(store, user, realm.now()) : user
}

const isHalf = (value: object): value is HalfChanged => 'message' in value

/** POST /verify. Throws `auth_otp_expired` for everything that is not good: unknown, used, too late, for something else. */
export async function verifyToken(realm: Realm, attempt: Attempt): Promise<Verified> {
  const kinds = kindsOf(attempt.type)
  if ((attempt.token ?? '') === '' && (attempt.tokenHash ?? '') === '')
    throw fail('auth_validation_failed', { reason: 'Verify requires a token or a token hash' })
  if (attempt.tokenHash !== undefined && attempt.tokenHash !== '' && ((attempt.email ?? '') !== '' || (attempt.phone ?? '') !== ''))
    throw fail('auth_validation_failed', { reason: 'Only the token_hash and type should be provided' })
  await limitAddress(realm, 'verifications')
  // Answers instead of throwing inside, so that a wrong try counts.
  const result = await realm.transact(async (store): Promise<Draft | HalfChanged | 'banned' | null> => {
    const found = await consumeChange(realm, store, kinds, attempt)
    if (!found) return null
    const [token, user] = found
    if (!mayEnter(user, realm.now())) return 'banned'
    const settled = await proved(realm, store, String(attempt.type), token, user)
    if (isHalf(settled)) return settled
    if (token.flowId !== null) await store.deleteFlow(token.flowId)
    return signIn(realm, store, settled, 'otp')
  })
  if (result === 'banned') throw fail('auth_user_banned')
  if (!result) throw fail('auth_otp_expired')
  return isHalf(result) ? { half: result } : { grant: await granted(realm, result) }
}

/** GET /verify, the link of a mail: always answers a URL to go to, with tokens, a code, or what went wrong. */
export async function followLink(realm: Realm, given: { token: string; type: string; redirectTo: string | null }): Promise<string> {
  const target = redirectOf(realm.rules, realm.url, given.redirectTo)
  await limitAddress(realm, 'verifications')
  const result = await realm.transact((store) => settleLink(realm, store, given))
  if (result === null) return linkError(target, given.token.startsWith(PKCE))
  if ('code' in result) return withParams(target, 'query', { code: result.code })
  if (isHalf(result)) return withParams(target, 'fragment', { message: result.message, sb: '' })
  return withParams(target, 'fragment', linkTokens(await granted(realm, result), given.type))
}

async function settleLink(
  realm: Realm,
  store: RealmStore,
  given: { token: string; type: string },
): Promise<Draft | HalfChanged | { readonly code: string } | null> {
  const kinds = Object.hasOwn(KINDS, given.type) ? KINDS[given.type]! : []
  const taken = await takeToken(realm, store, kinds, given.token)
  const user = taken && (await store.userById(taken.userId))
  if (!taken || !user || !mayEnter(user, realm.now())) return null
  const settled = await proved(realm, store, given.type, taken, user)
  if (isHalf(settled)) return settled
  if (taken.flowId === null) return signIn(realm, store, settled, 'otp')
  const code = await issueCode(realm, store, taken.flowId, settled.id)
  return code === null ? null : { code }
}

/** A session as it is written into the fragment of a URL. */
const linkTokens = (grant: Grant, type: string): Record<string, string> => ({
  access_token: grant.accessToken,
  expires_at: String(grant.expiresAt),
  expires_in: String(grant.expiresIn),
  refresh_token: grant.refreshToken,
  token_type: 'bearer',
  type,
})

/** What a page reads of a link that is not good. */
function linkError(target: string, pkce: boolean): string {
  const params = { error: 'access_denied', error_code: 'otp_expired', error_description: 'Email link is invalid or has expired' }
  const inQuery = pkce ? withParams(target, 'query', params) : target
  return withParams(inQuery, 'fragment', { ...params, sb: '' })
}
