import { fail, isSovraError } from '../../base/errors.ts'
import { budgetKey } from '../../base/proxies.ts'
import { isGone } from '../store/raced.ts'
import type { Knock, RealmUser } from '../store/types.ts'
import { mayEnter } from '../users.ts'
import { endSessionsOf, type Grant, granted, signIn } from './grants.ts'
import { passwordAttempt } from './hooks.ts'
import { busy, hashed, type Weakness, weakness } from './passwords.ts'
import { digitsOf, isConfirmed } from './people.ts'
import { entryOf, hidden, MINUTE, type Realm, takingOf, tooMany } from './realm.ts'

const FAILURE_WINDOW = 15 * MINUTE

/** Wrong passwords of one account from wherever they come: more than a few make the next answers slow, and nobody is locked out by another. */
const ATTEMPTS = { amount: 20, window: FAILURE_WINDOW }
const QUICK = 5
const DELAY = 250
const DELAY_MAX = 4_000

interface Door {
  readonly user: RealmUser | null
  readonly failures: string
  readonly attempts: string
}

const delayOf = (used: number): number => (used <= QUICK ? 0 : Math.min(DELAY_MAX, DELAY * 2 ** (used - QUICK - 1)))

/** Counts the try before the look, so that many at once are no way around the limit; a right password gives all back. */
async function knock(realm: Realm, account: string, who: Pick<Knock, 'by' | 'value'>): Promise<Door> {
  const failures = `failures:${hidden(`${budgetKey(realm.caller.ip ?? '')} ${account}`)}`
  const attempts = `attempts:${hidden(account)}`
  const rule = { amount: realm.rules.rates.failures, window: FAILURE_WINDOW }
  const taken = { failures: { key: failures, rule }, attempts: { key: attempts, rule: ATTEMPTS } }
  const address = takingOf(realm, 'sign_ins')
  const seen = await realm.transact((store) => store.knock({ address, ...taken, ...who }, realm.now()))
  if (seen.wait > 0) throw tooMany(seen.wait)
  const delay = delayOf(seen.used)
  if (delay > 0) await realm.pause(delay)
  return { user: seen.user, failures, attempts }
}

export interface PasswordSignIn {
  readonly email?: unknown
  readonly phone?: unknown
  readonly password: unknown
}

const provided = (value: unknown): boolean => value !== undefined && value !== null && value !== ''

/** By which address, and who has it. Throws when that way in is closed. */
function addressOf({ rules }: Realm, { email, phone }: PasswordSignIn) {
  if (provided(email) && provided(phone))
    throw fail('auth_validation_failed', { reason: 'Only an email address or phone number should be provided on login.' })
  if (provided(phone)) {
    if (!rules.phone_enabled) throw fail('auth_logins_disabled_phone')
    const digits = digitsOf(phone)
    if (digits === null) return { account: String(phone).slice(0, 64), by: 'phone' as const, value: null }
    return { account: digits, by: 'phone' as const, value: digits }
  }
  if (!provided(email)) throw fail('auth_validation_failed', { reason: 'missing email or phone' })
  if (!rules.email_enabled) throw fail('auth_logins_disabled_email')
  if (typeof email !== 'string' || email.length > 320) throw fail('auth_invalid_credentials')
  const address = email.trim().toLowerCase()
  return { account: address, by: 'email' as const, value: address }
}

/** Sign-in by address and password. Unknown address, wrong password and no password take the same time and answer the same. */
export async function signInByPassword(realm: Realm, given: PasswordSignIn): Promise<{ grant: Grant; weakness: Weakness | null }> {
  const { account, by: provider, value } = addressOf(realm, given)
  const { password } = given
  if (typeof password !== 'string') throw fail('auth_invalid_credentials')
  const { user, failures, attempts } = await knock(realm, account, { by: provider, value })
  const verdict = await busy(realm.hasher.verify(password, user?.passwordHash ?? null))
  if (user) await askHook(realm, user, verdict.ok)
  if (!user || !verdict.ok) throw fail('auth_invalid_credentials')
  if (!mayEnter(user, realm.now())) throw fail('auth_sign_in_banned')
  if (provider === 'email' ? !isConfirmed(user) : user.phoneConfirmedAt === null)
    throw fail(provider === 'email' ? 'auth_email_not_confirmed' : 'auth_phone_not_confirmed')
  const passwordHash = verdict.outdated ? await hashed(realm, password) : null
  const entry = entryOf(realm, 'login', user, { provider })
  const besides = { full: [failures, attempts], proved: user.passwordHash ?? '', passwordHash, entry, last: true }
  const draft = await realm
    .transact((store) => signIn(realm, store, user, 'password', besides))
    // Removed, shut out or given another password while this one was looked at.
    .catch((error: unknown) =>
      Promise.reject(isGone(error) || isSovraError(error, 'auth_user_not_found') ? fail('auth_invalid_credentials') : error),
    )
  return { grant: await granted(realm, draft), weakness: await weakness(realm, password) }
}

async function askHook(realm: Realm, user: RealmUser, valid: boolean): Promise<void> {
  const { reject, message, signOut } = await passwordAttempt(realm, user.id, valid)
  if (!reject) return
  if (signOut) await realm.transact((store) => endSessionsOf(realm, store, user.id))
  throw fail('auth_password_attempt_refused', { reason: message })
}
