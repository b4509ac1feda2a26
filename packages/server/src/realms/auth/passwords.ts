import { fail, isSovraError } from '../../base/errors.ts'
import { isLeaked } from './leaked.ts'
import type { Realm } from './realm.ts'
import type { AuthRules } from './rules.ts'

const LOWER = 'abcdefghijklmnopqrstuvwxyz'
const DIGITS = '0123456789'
const SYMBOLS = '!@#$%^&*()_+-=[]{};\'\\:"|<>?,./`~'
const UPPER = LOWER.toUpperCase()

/** Sets of characters of which a password must have one each. */
const REQUIRED: Readonly<Record<AuthRules['password_required'], readonly string[]>> = {
  none: [],
  letters_digits: [LOWER + UPPER, DIGITS],
  lower_upper_digits: [LOWER, UPPER, DIGITS],
  lower_upper_digits_symbols: [LOWER, UPPER, DIGITS, SYMBOLS],
}
/** bcrypt reads no more, and other systems share passwords with ours. */
const CHARS_MAX = 72

export interface Weakness {
  readonly message: string
  readonly reasons: readonly ('length' | 'characters' | 'pwned')[]
}

/** null: strong enough. */
export function weaknessOf(rules: AuthRules, password: string): Weakness | null {
  const messages: string[] = []
  const reasons: Weakness['reasons'][number][] = []
  if ([...password].length < rules.password_min_length) {
    messages.push(`Password should be at least ${rules.password_min_length} characters.`)
    reasons.push('length')
  }
  const required = REQUIRED[rules.password_required]
  if (!required.every((set) => [...password].some((char) => set.includes(char)))) {
    messages.push(`Password should contain at least one character of each: ${required.join(', ')}.`)
    reasons.push('characters')
  }
  return reasons.length === 0 ? null : { message: messages.join(' '), reasons }
}

const NONE = () => fail('auth_validation_failed', { reason: 'Signup requires a valid password' })

/** Of whoever comes: there must be one at all. */
export function demandPassword(rules: AuthRules, password: unknown): asserts password is string {
  if (password === '') throw NONE()
  demandStrong(rules, password)
}

/** Throws `auth_weak_password`, `auth_validation_failed`. */
export function demandStrong(rules: AuthRules, password: unknown): asserts password is string {
  if (typeof password !== 'string') throw NONE()
  const weak = weaknessOf(rules, password)
  if (weak) throw fail('auth_weak_password', { reason: weak.message }, { details: { reasons: weak.reasons } })
  if (Buffer.byteLength(password) > CHARS_MAX)
    throw fail('auth_validation_failed', { reason: `Password cannot be longer than ${CHARS_MAX} characters` })
}

const LEAKED: Weakness = {
  message: 'Password is known to be weak and easy to guess, please choose a different one.',
  reasons: ['pwned'],
}

/** By the rules, and by the list of leaked ones where the realm asks it. */
export const weakness = async (realm: Realm, password: string): Promise<Weakness | null> =>
  weaknessOf(realm.rules, password) ?? ((await isLeaked(realm, password)) ? LEAKED : null)

/** The hash of a new password. Throws as `demandStrong()`. */
export async function hashedNew(realm: Realm, password: unknown): Promise<string> {
  demandStrong(realm.rules, password)
  if (await isLeaked(realm, password))
    throw fail('auth_weak_password', { reason: LEAKED.message }, { details: { reasons: LEAKED.reasons } })
  return hashed(realm, password)
}

/** Not inside a transaction: it takes its time. Throws `auth_over_request_rate_limit` when too many wait. */
export async function hashed(realm: Realm, password: string): Promise<string> {
  return busy(realm.hasher.hash(password))
}

export async function busy<R>(hashing: Promise<R>): Promise<R> {
  try {
    return await hashing
  } catch (error) {
    if (isSovraError(error, 'too_many_sign_ins'))
      throw fail('auth_over_request_rate_limit', {}, { headers: { 'retry-after': '2' }, cause: error })
    throw error
  }
}
