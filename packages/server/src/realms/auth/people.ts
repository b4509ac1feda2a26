import { fail } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import type { Factor, Json, RealmIdentity, RealmStore, RealmUser } from '../store/types.ts'
import { blankUser, normalEmail } from '../users.ts'

/** A user with all that is answered of them. */
export interface Person {
  readonly user: RealmUser
  readonly identities: readonly RealmIdentity[]
  readonly factors: readonly Factor[]
}

export async function personOf(store: RealmStore, user: RealmUser): Promise<Person> {
  const [identities, factors] = await Promise.all([store.identitiesOf(user.id), store.factorsOf(user.id)])
  return { user, identities, factors }
}

/** Throws `auth_validation_failed` in the words that applications match on. */
export function emailOf(text: unknown): string {
  if (typeof text !== 'string' || text === '') throw fail('auth_validation_failed', { reason: 'An email address is required' })
  if (text.length > 255) throw fail('auth_validation_failed', { reason: 'An email address is too long' })
  try {
    return normalEmail(text)
  } catch {
    throw fail('auth_validation_failed', { reason: 'Unable to validate email address: invalid format' })
  }
}

/** Digits of E.164 without the plus; null: it is no number. */
export function digitsOf(value: unknown): string | null {
  const digits = typeof value === 'string' ? value.trim().replace(/^\+/, '').replaceAll(' ', '') : ''
  return /^[1-9]\d{6,14}$/.test(digits) ? digits : null
}

/** The same. Throws `auth_validation_failed`. */
export function phoneOf(value: unknown): string {
  const digits = digitsOf(value)
  if (digits === null) throw fail('auth_validation_failed', { reason: 'Invalid phone number format (E.164 required)' })
  return digits
}

export function userId(text: string): string {
  if (!isUuid(text.toLowerCase())) throw fail('auth_id_malformed', { what: 'user_id' })
  return text.toLowerCase()
}

const METADATA_BYTES = 65_536

/** What a user says of themselves. Keys with null are removed, as GoTrue does. */
export function mergedMetadata(before: Json, given: unknown): Json {
  if (given === undefined || given === null) return before
  if (typeof given !== 'object' || Array.isArray(given)) throw fail('auth_validation_failed', { reason: 'data must be an object' })
  const merged = Object.fromEntries(Object.entries({ ...before, ...given }).filter(([, value]) => value !== null))
  if (Buffer.byteLength(JSON.stringify(merged)) > METADATA_BYTES)
    throw fail('auth_validation_failed', { reason: `data is larger than ${METADATA_BYTES} bytes` })
  return merged
}

export const isConfirmed = (user: RealmUser): boolean => user.emailConfirmedAt !== null || user.phoneConfirmedAt !== null

export interface NewPerson {
  readonly id?: string
  readonly email: string | null
  readonly phone?: string | null
  readonly passwordHash: string | null
  readonly metadata: Json
  readonly appMetadata?: Json
  readonly confirmedAt: number | null
  readonly phoneConfirmedAt?: number | null
  readonly role?: string
}

export function emailIdentity(user: RealmUser, now: number): RealmIdentity {
  const confirmed = user.emailConfirmedAt !== null
  return {
    id: uuid(),
    providerId: user.id,
    userId: user.id,
    provider: 'email',
    data: { ...user.userMetadata, sub: user.id, email: user.email, email_verified: confirmed, phone_verified: false },
    lastSignInAt: now,
    createdAt: now,
    updatedAt: now,
  }
}

export function phoneIdentity(user: RealmUser, now: number): RealmIdentity {
  const data = {
    ...user.userMetadata,
    sub: user.id,
    phone: user.phone,
    email_verified: false,
    phone_verified: user.phoneConfirmedAt !== null,
  }
  return { ...emailIdentity(user, now), provider: 'phone', data }
}

/** The number is proved: on the user and on its identity. */
export async function confirmPhone(store: RealmStore, user: RealmUser, now: number): Promise<RealmUser> {
  const patch = { phone: user.phone, phoneConfirmedAt: now, ...withProvider(user, 'phone') }
  await store.updateUser(user.id, patch, now)
  const confirmed = { ...user, ...patch }
  const known = (await store.identitiesOf(user.id)).find(({ provider }) => provider === 'phone')
  if (known) await store.updateIdentity(known.id, { data: { ...known.data, phone: user.phone, phone_verified: true } }, now)
  else await store.insertIdentity(phoneIdentity(confirmed, now))
  return confirmed
}

/** A user and the identity of their address. Throws `auth_email_exists`. */
export async function insertPerson(store: RealmStore, given: NewPerson, now: number): Promise<RealmUser> {
  const providers = [...(given.email === null ? [] : ['email']), ...(given.phone ? ['phone'] : [])]
  const user: RealmUser = {
    ...blankUser(given.id ?? uuid(), now),
    email: given.email,
    phone: given.phone ?? null,
    passwordHash: given.passwordHash,
    emailConfirmedAt: given.confirmedAt,
    phoneConfirmedAt: given.phoneConfirmedAt ?? null,
    userMetadata: given.metadata,
    appMetadata: { ...(providers.length > 0 ? { provider: providers[0], providers } : {}), ...given.appMetadata },
    ...(given.role === undefined ? {} : { role: given.role }),
  }
  if (!(await store.insertUser(user))) throw fail(given.email === null ? 'auth_phone_exists' : 'auth_email_exists')
  if (user.email !== null) await store.insertIdentity(emailIdentity(user, now))
  if (user.phone !== null) await store.insertIdentity(phoneIdentity(user, now))
  return user
}

/** The address is proved: on the user and on its identity. */
export async function confirmEmail(store: RealmStore, user: RealmUser, now: number): Promise<RealmUser> {
  const patch = { emailConfirmedAt: user.emailConfirmedAt ?? now, ...(user.email === null ? {} : withProvider(user, 'email')) }
  await store.updateUser(user.id, patch, now)
  const known = (await store.identitiesOf(user.id)).find(({ provider }) => provider === 'email')
  const confirmed = { ...user, ...patch }
  if (known) await store.updateIdentity(known.id, { data: { ...known.data, email: user.email, email_verified: true } }, now)
  else if (user.email !== null) await store.insertIdentity(emailIdentity(confirmed, now))
  return confirmed
}

/** A provider among those of the user; one that was anonymous is so no more. */
export function withProvider(user: RealmUser, name: string): Pick<RealmUser, 'appMetadata' | 'anonymous'> {
  const before = Array.isArray(user.appMetadata.providers) ? (user.appMetadata.providers as string[]) : []
  const providers = before.includes(name) ? before : [...before, name]
  return { appMetadata: { ...user.appMetadata, provider: user.appMetadata.provider ?? name, providers }, anonymous: false }
}
