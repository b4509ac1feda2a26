import { fail } from '../base/errors.ts'
import { uuid } from '../base/ids.ts'
import type { Hasher } from './hashing.ts'
import type { RealmStore, RealmUser } from './store/types.ts'

const EMAIL = /^[^\s@<>()[\]\\,;:"]{1,64}@[^\s@<>()[\]\\,;:"]{1,190}$/
export const PASSWORD_CHARS_MIN = 8

/** Lower case, trimmed; throws `email_malformed`. */
export function normalEmail(text: string): string {
  const email = text.trim().toLowerCase()
  if (!EMAIL.test(email) || email.length > 255) throw fail('email_malformed')
  return email
}

/** Hashes a new password; throws `password_too_weak`. Not inside a transaction: it takes its time. */
export async function hashPassword(hasher: Hasher, password: string): Promise<string> {
  if ([...password].length < PASSWORD_CHARS_MIN) throw fail('password_too_weak', { reason: `at least ${PASSWORD_CHARS_MIN} characters` })
  return hasher.hash(password)
}

/** A user as it begins, before anything is known of it. */
export const blankUser = (id: string, now: number): RealmUser => ({
  id,
  aud: 'authenticated',
  role: 'authenticated',
  email: null,
  emailConfirmedAt: null,
  passwordHash: null,
  admin: false,
  appMetadata: {},
  userMetadata: {},
  bannedUntil: null,
  lastSignInAt: null,
  createdAt: now,
  updatedAt: now,
  deletedAt: null,
  invitedAt: null,
  confirmationSentAt: null,
  recoverySentAt: null,
  emailChange: null,
  emailChangeSentAt: null,
  emailChangeStatus: 0,
  phone: null,
  phoneConfirmedAt: null,
  phoneChange: null,
  phoneChangeSentAt: null,
  reauthenticationSentAt: null,
  sso: false,
  anonymous: false,
})

export interface NewUser {
  readonly email: string
  /** From `hashPassword`; null: signs in by link only. */
  readonly passwordHash: string | null
  readonly admin?: boolean
  readonly userMetadata?: Record<string, unknown>
}

/** Throws `email_taken`. The address counts as confirmed: on the platform an invitation or a link has proved it. */
export async function insertUser(store: RealmStore, user: NewUser, now: number): Promise<RealmUser> {
  const email = normalEmail(user.email)
  if (await store.userByEmail(email)) throw fail('email_taken')
  const made: RealmUser = {
    ...blankUser(uuid(), now),
    email,
    emailConfirmedAt: now,
    passwordHash: user.passwordHash,
    admin: user.admin ?? false,
    appMetadata: { provider: 'email', providers: ['email'] },
    userMetadata: user.userMetadata ?? {},
  }
  if (!(await store.insertUser(made))) throw fail('email_taken')
  return made
}

export const mayEnter = (user: RealmUser, now: number): boolean =>
  user.deletedAt === null && (user.bannedUntil === null || user.bannedUntil <= now)

/**
 * The user of this e-mail and password, and a better hash where the stored one is old. Unknown address, wrong password and no password
 * take the same time and throw the same `invalid_credentials`; a banned user with the right password gets `sign_in_refused`.
 */
export async function checkPassword(
  store: RealmStore,
  hasher: Hasher,
  email: string,
  password: string,
  now: number,
): Promise<{ user: RealmUser; newHash: string | null }> {
  const user = await store.userByEmail(email.trim().toLowerCase())
  const verdict = await hasher.verify(password, user?.passwordHash ?? null)
  if (!user || !verdict.ok) throw fail('invalid_credentials')
  if (!mayEnter(user, now)) throw fail('sign_in_refused')
  return { user, newHash: verdict.outdated ? await hasher.hash(password) : null }
}
