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

export interface Attempt {
  readonly type: unknown
  readonly token?: unknown
  readonly tokenHash?: unknown
  readonly email?: unknown
  readonly phone?: unknown
  /** Of the body; null: none. */
  readonly redirectTo?: unknown
}

export type Verified = { readonly grant: Grant } | { readonly half: HalfChanged }

const provided = (value: unknown): boolean => value !== undefined && value !== null && value !== ''
const invalid = (reason: string) => fail('auth_validation_failed', { reason })

/** A code of somebody, or the secret of a link. Throws `auth_validation_failed`. */
function demandAttempt({ type, token, tokenHash, email, phone, redirectTo }: Attempt): void {
  if (!provided(type)) throw invalid('Verify requires a verification type')
  if (provided(token) === provided(tokenHash)) throw invalid('Verify requires either a token or a token hash')
  if (provided(tokenHash)) {
    if ([email, phone, redirectTo].some(provided)) throw invalid('Only the token_hash and type should be provided')
  } else if (provided(email) === provided(phone)) throw invalid('Only an email address or phone number should be provided on verify')
  else if (provided(phone)) phoneOf(phone)
  else addressOf(email)
}

/** Throws `auth_unprocessable`, as clients of this door know it. */
function addressOf(email: unknown): string {
  try {
    return emailOf(email)
  } catch (cause) {
    throw fail('auth_unprocessable', { reason: 'Invalid email format' }, { cause })
  }
}

/** Types that links have: numbers get codes. */
const { sms: _sms, phone_change: _change, ...LINKS } = KINDS

/** Of a type that nobody knows no code is good, and no link. Throws `auth_validation_failed`. */
function kindsOf({ type, tokenHash }: Attempt): readonly TokenKind[] {
  const known = provided(tokenHash) ? LINKS : KINDS
  const kinds = Object.hasOwn(known, String(type)) ? known[String(type)] : undefined
  if (!kinds && provided(tokenHash)) throw invalid('Invalid email verification type')
  return kinds ?? []
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
  const { tokenHash, token, phone } = attempt
  if (provided(tokenHash)) {
    const taken = await takeToken(realm, store, kinds, String(tokenHash))
    const user = taken && (await store.userById(taken.userId))
    return taken && user ? [taken, user] : null
  }
  if (provided(phone)) return ofPhone(attempt) ? consumePhone(realm, store, kinds, attempt) : null
  const email = addressOf(attempt.email)
  const owner = await store.userByEmail(email)
  const taken = owner && (await takeOtp(realm, store, owner, kinds, email, String(token)))
  return taken && owner ? [taken, owner] : null
}

/** By the new address of a change: its owner is found by the address that they have. */
async function consumeChange(
  realm: Realm,
  store: RealmStore,
  kinds: readonly TokenKind[],
  attempt: Attempt,
): Promise<[OneTimeToken, RealmUser] | null> {
  const found = await consume(realm, store, kinds, attempt)
  if (found || attempt.type !== 'email_change' || !provided(attempt.email)) return found
  const email = addressOf(attempt.email)
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
  demandAttempt(attempt)
  const kinds = kindsOf(attempt)
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
  if (!result) throw fail(provided(attempt.tokenHash) ? 'auth_link_expired' : 'auth_otp_expired')
  return isHalf(result) ? { half: result } : { grant: await granted(realm, result) }
}

/** GET /verify, the link of a mail: always answers a URL to go to, with tokens, a code, or what went wrong. */
export async function followLink(realm: Realm, given: { token: string; type: string; redirectTo: string | null }): Promise<string> {
  const target = redirectOf(realm.rules, realm.url, given.redirectTo)
  await limitAddress(realm, 'verifications')
  const pkce = given.token.startsWith(PKCE)
  if (!Object.hasOwn(LINKS, given.type)) return linkError(target, pkce, 'unknown')
  const result = await realm.transact((store) => settleLink(realm, store, given))
  if (typeof result === 'string') return linkError(target, pkce, result)
  if ('code' in result) return withParams(target, 'query', { code: result.code })
  if (isHalf(result)) {
    const message = { message: result.message }
    return withParams(pkce ? withParams(target, 'query', message) : target, 'fragment', { ...message, sb: '' })
  }
  return withParams(target, 'fragment', linkTokens(await granted(realm, result), given.type))
}

async function settleLink(
  realm: Realm,
  store: RealmStore,
  given: { token: string; type: string },
): Promise<Draft | HalfChanged | { readonly code: string } | 'expired' | 'banned'> {
  const taken = await takeToken(realm, store, KINDS[given.type] ?? [], given.token)
  const user = taken && (await store.userById(taken.userId))
  if (!taken || !user) return 'expired'
  if (!mayEnter(user, realm.now())) return 'banned'
  const settled = await proved(realm, store, given.type, taken, user)
  if (isHalf(settled)) return settled
  if (taken.flowId === null) return signIn(realm, store, settled, 'otp')
  const code = await issueCode(realm, store, taken.flowId, settled.id)
  return code === null ? 'expired' : { code }
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

/** As OAuth 2.0 names it, the dialect's code, and its words. */
const REFUSED = {
  expired: ['access_denied', 'otp_expired', 'Email link is invalid or has expired'],
  banned: ['access_denied', 'user_banned', 'User is banned'],
  unknown: ['invalid_request', 'validation_failed', 'Invalid email verification type'],
} as const

/** What a page reads of a link that is not good. */
function linkError(target: string, pkce: boolean, why: keyof typeof REFUSED): string {
  const [error, error_code, error_description] = REFUSED[why]
  const params = { error, error_code, error_description }
  const inQuery = pkce ? withParams(target, 'query', params) : target
  return withParams(inQuery, 'fragment', { ...params, sb: '' })
}
