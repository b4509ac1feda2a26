import { isSovraError } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import { isKnownHash } from '../hashing.ts'
import type { Json, RealmIdentity, RealmStore, RealmUser } from '../store/types.ts'
import { blankUser, normalEmail } from '../users.ts'
import { emailIdentity, phoneIdentity, phoneOf } from './people.ts'

/** Users that come in from elsewhere, and go out again. */

type Given = Readonly<Record<string, unknown>>
export interface Imported {
  readonly created: number
  readonly skipped: number
  readonly refused: readonly { readonly index: number; readonly reason: string }[]
}

/** Why one of a batch is not taken; the others are. */
class Refusal {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}
const refuse = (reason: string): Refusal => new Refusal(reason)

const HASH_CHARS = 255
const ROLE = /^[a-z_][a-z0-9_]{0,62}$/
const empty = (value: unknown): boolean => value === undefined || value === null || value === ''

function textOf(given: Given, name: string): string | null {
  const value = given[name]
  if (empty(value)) return null
  if (typeof value !== 'string') throw refuse(`${name} is not a text`)
  return value
}

function timeOf(given: Given, name: string): number | null {
  const value = given[name]
  if (empty(value)) return null
  const ms = typeof value === 'number' ? value : typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) throw refuse(`${name} is not a time`)
  return Math.trunc(ms)
}

function objectOf(given: Given, name: string): Json {
  const value = given[name]
  if (empty(value)) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw refuse(`${name} is not an object`)
  return value as Json
}

const worded = (make: () => string, reason: string): string => {
  try {
    return make()
  } catch (error) {
    if (isSovraError(error)) throw refuse(reason)
    throw error
  }
}

function idOf(given: Given, name: string): string | null {
  const id = textOf(given, name)?.toLowerCase() ?? null
  if (id !== null && !isUuid(id)) throw refuse(`${name} is not a UUID`)
  return id
}

function hashOf(given: Given): string | null {
  const hash = textOf(given, 'password_hash') ?? textOf(given, 'encrypted_password')
  if (hash !== null && (hash.length > HASH_CHARS || !isKnownHash(hash))) throw refuse('password_hash is of no known form')
  return hash
}

function roleOf(given: Given): string {
  const role = textOf(given, 'role') ?? 'authenticated'
  if (!ROLE.test(role) || role === 'none') throw refuse('role is not the name of a role')
  return role
}

function userOf(given: Given, now: number): RealmUser {
  const address = textOf(given, 'email')
  const number = textOf(given, 'phone')
  const anonymous = given.is_anonymous === true
  if (address === null && number === null && !anonymous) throw refuse('it has neither email nor phone')
  const email = address === null ? null : worded(() => normalEmail(address), 'email is not an address')
  const phone = number === null ? null : worded(() => phoneOf(number), 'phone is not a number of E.164')
  const providers = [...(email === null ? [] : ['email']), ...(phone === null ? [] : ['phone'])]
  const createdAt = timeOf(given, 'created_at') ?? now
  return {
    ...blankUser(idOf(given, 'id') ?? uuid(), createdAt),
    updatedAt: now,
    email,
    phone,
    role: roleOf(given),
    passwordHash: hashOf(given),
    emailConfirmedAt: email === null ? null : timeOf(given, 'email_confirmed_at'),
    phoneConfirmedAt: phone === null ? null : timeOf(given, 'phone_confirmed_at'),
    invitedAt: timeOf(given, 'invited_at'),
    lastSignInAt: timeOf(given, 'last_sign_in_at'),
    bannedUntil: timeOf(given, 'banned_until'),
    userMetadata: objectOf(given, 'user_metadata'),
    appMetadata: { ...(providers.length > 0 ? { provider: providers[0], providers } : {}), ...objectOf(given, 'app_metadata') },
    sso: given.is_sso_user === true,
    anonymous,
  }
}

function identityOf(given: Given, userId: string, now: number): RealmIdentity {
  const provider = textOf(given, 'provider')
  const providerId = textOf(given, 'provider_id')
  if (provider === null || providerId === null || provider.length > 64 || providerId.length > 255)
    throw refuse('an identity needs provider and provider_id')
  const createdAt = timeOf(given, 'created_at') ?? now
  const data = { sub: providerId, ...objectOf(given, 'identity_data') }
  return { id: uuid(), providerId, userId, provider, data, lastSignInAt: timeOf(given, 'last_sign_in_at'), createdAt, updatedAt: now }
}

function identitiesOf(given: Given, user: RealmUser, now: number): RealmIdentity[] {
  const listed = given.identities
  if (Array.isArray(listed)) return listed.map((each) => identityOf(Object(each) as Given, user.id, now))
  if (user.sso || listed !== undefined) return []
  return [...(user.email === null ? [] : [emailIdentity(user, now)]), ...(user.phone === null ? [] : [phoneIdentity(user, now)])]
}

type One = (store: RealmStore, given: Given) => Promise<boolean>

async function batch(store: RealmStore, rows: readonly Given[], one: One): Promise<Imported> {
  let created = 0
  const refused: { index: number; reason: string }[] = []
  for (const [index, given] of rows.entries()) {
    try {
      if (await one(store, given)) created++
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      refused.push({ index, reason: error.reason })
    }
  }
  return { created, skipped: rows.length - created - refused.length, refused }
}

export interface ImportOptions {
  readonly dryRun: boolean
  readonly now: number
}

interface Coming {
  readonly user: RealmUser
  readonly identities: readonly RealmIdentity[]
}

/** What nobody else may have; people of an SSO provider stand beside others of their address. */
const namesOf = ({ id, email, phone, sso }: RealmUser): string[] => [id, sso ? null : email, phone].filter((name) => name !== null)

/** Users with their identities, in few statements. Who is known by id, address or number is left as they are, so that a batch may come twice. */
export async function importUsers(store: RealmStore, rows: readonly Given[], { dryRun, now }: ImportOptions): Promise<Imported> {
  const coming: Coming[] = []
  const { refused } = await batch(store, rows, async (_store, given) => {
    const user = userOf(given, now)
    coming.push({ user, identities: identitiesOf(given, user, now) })
    return true
  })
  const seen = await store.takenOf({
    ids: coming.map(({ user }) => user.id),
    emails: coming.flatMap(({ user }) => (user.email === null || user.sso ? [] : [user.email])),
    phones: coming.flatMap(({ user }) => (user.phone === null ? [] : [user.phone])),
  })
  const fresh = coming.filter(({ user }) => {
    const names = namesOf(user)
    if (names.some((name) => seen.has(name))) return false
    for (const name of names) seen.add(name)
    return true
  })
  const created = dryRun ? fresh.length : await insertAll(store, fresh)
  return { created, skipped: rows.length - created - refused.length, refused }
}

async function insertAll(store: RealmStore, fresh: readonly Coming[]): Promise<number> {
  // Somebody may have signed up this very moment.
  const there = await store.insertUsers(fresh.map(({ user }) => user))
  const made = fresh.filter(({ user }) => there.has(user.id))
  await store.insertIdentities(made.flatMap(({ identities }) => identities))
  return made.length
}

/** Identities of users that are there: dumps have them apart. */
export function importIdentities(store: RealmStore, rows: readonly Given[], { dryRun, now }: ImportOptions): Promise<Imported> {
  return batch(store, rows, async (_store, given) => {
    const userId = idOf(given, 'user_id')
    if (userId === null) throw refuse('it has no user_id')
    const identity = identityOf(given, userId, now)
    const known = await store.identitiesOf(userId)
    if (known.some(({ provider, providerId }) => provider === identity.provider && providerId === identity.providerId)) return false
    if (dryRun) return true
    if (!(await store.userById(userId))) throw refuse('its user is not there')
    return store.insertIdentity(identity)
  })
}

const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())

/** The next users after an id, as an import takes them: with the hashes of their passwords, without their factors. */
export async function exportUsers(store: RealmStore, after: string | null, limit: number): Promise<{ users: Json[]; next: string | null }> {
  const users = await store.usersAfter(after, limit)
  const identities = Map.groupBy(await store.identitiesOfAll(users.map(({ id }) => id)), ({ userId }) => userId)
  const living = users.filter(({ deletedAt }) => deletedAt === null)
  return {
    users: living.map((user) => rowOf(user, identities.get(user.id) ?? [])),
    next: users.length < limit ? null : (users.at(-1)?.id ?? null),
  }
}

const rowOf = (user: RealmUser, identities: readonly RealmIdentity[]): Json => ({
  id: user.id,
  email: user.email,
  phone: user.phone,
  password_hash: user.passwordHash,
  role: user.role,
  email_confirmed_at: time(user.emailConfirmedAt),
  phone_confirmed_at: time(user.phoneConfirmedAt),
  invited_at: time(user.invitedAt),
  last_sign_in_at: time(user.lastSignInAt),
  banned_until: time(user.bannedUntil),
  created_at: time(user.createdAt),
  user_metadata: user.userMetadata,
  app_metadata: user.appMetadata,
  is_sso_user: user.sso,
  is_anonymous: user.anonymous,
  identities: identities.map(({ provider, providerId, data, lastSignInAt, createdAt }) => ({
    provider,
    provider_id: providerId,
    identity_data: data,
    last_sign_in_at: time(lastSignInAt),
    created_at: time(createdAt),
  })),
})
