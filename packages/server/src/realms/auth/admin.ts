import { fail } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import { isKnownHash } from '../hashing.ts'
import type { AuditSearch, Factor, Json, Page, RealmIdentity, RealmStore, RealmUser, UserFilter, UserPatch } from '../store/types.ts'
import { ownFactor } from './factor-session.ts'
import { goDuration } from './go-duration.ts'
import { endSessionsOf } from './grants.ts'
import { demandStrong, hashedNew } from './passwords.ts'
import {
  confirmEmail,
  confirmPhone,
  emailIdentity,
  emailOf,
  insertPerson,
  mergedMetadata,
  type Person,
  personOf,
  phoneIdentity,
  phoneOf,
  userId,
} from './people.ts'
import { auditOf, type Realm } from './realm.ts'

/** What an administrator may say of a user; whatever else a body holds is not looked at. */
export type AdminBody = Readonly<Record<string, unknown>>

const given = (value: unknown): boolean => value !== undefined && value !== null && value !== ''
const invalid = (reason: string) => fail('auth_validation_failed', { reason })

/** When the ban ends, ms; null for `none` and for no time at all. */
function banEnd(text: unknown, now: number): number | null {
  if (text === 'none') return null
  const ms = goDuration(String(text))
  if (typeof ms === 'string') throw invalid(`invalid format for ban duration: ${ms}`)
  return ms === 0 ? null : now + ms
}

function objectOf(value: unknown, name: string): Json | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'object' || Array.isArray(value)) throw invalid(`${name} must be an object`)
  return value as Json
}

const ROLE = /^[a-z_][a-z0-9_]{0,62}$/

function roleOf(value: unknown): string | undefined {
  if (!given(value)) return undefined
  if (typeof value !== 'string' || !ROLE.test(value) || value === 'none') throw invalid('role is not the name of a role')
  return value
}

/** A password, or the hash that another system made of it. */
async function passwordOf(realm: Realm, body: AdminBody): Promise<string | undefined> {
  if (given(body.password_hash)) {
    if (given(body.password)) throw invalid('Only a password or a password hash should be provided')
    const hash = String(body.password_hash)
    if (hash.length > 255 || !isKnownHash(hash)) throw invalid('The password hash is of no known form')
    return hash
  }
  if (!given(body.password)) return undefined
  return hashedNew(realm, body.password)
}

const NIL = '00000000-0000-0000-0000-000000000000'

function newId(value: unknown): string | undefined {
  if (!given(value)) return undefined
  const id = typeof value === 'string' ? value.toLowerCase() : ''
  if (id === NIL) throw invalid('ID cannot be a nil uuid')
  if (!isUuid(id)) throw invalid('ID must conform to the uuid v4 format')
  return id
}

export async function createUser(realm: Realm, body: AdminBody): Promise<Person> {
  const email = given(body.email) ? emailOf(body.email) : null
  const phone = given(body.phone) ? phoneOf(body.phone) : null
  if (email === null && phone === null) throw invalid('Cannot create a user without either an email or phone')
  const id = newId(body.id)
  const passwordHash = (await passwordOf(realm, body)) ?? null
  const now = realm.now()
  const bannedUntil = given(body.ban_duration) ? banEnd(body.ban_duration, now) : null
  const role = roleOf(body.role)
  const appMetadata = objectOf(body.app_metadata, 'app_metadata')
  return realm.transact(async (store) => {
    if (email !== null && (await store.userByEmail(email))) throw fail('auth_email_exists')
    if (phone !== null && (await store.userByPhone(phone))) throw fail('auth_phone_taken')
    if (id !== undefined && (await store.userById(id))) throw fail('auth_id_taken')
    const user = await insertPerson(
      store,
      {
        ...(id === undefined ? {} : { id }),
        email,
        phone,
        passwordHash,
        metadata: mergedMetadata({}, body.user_metadata),
        ...(appMetadata ? { appMetadata } : {}),
        confirmedAt: email !== null && body.email_confirm === true ? now : null,
        phoneConfirmedAt: phone !== null && body.phone_confirm === true ? now : null,
        ...(role === undefined ? {} : { role }),
      },
      now,
    )
    if (bannedUntil !== null) await store.updateUser(user.id, { bannedUntil }, now)
    await auditOf(realm, store, 'user_signedup', user, { provider: 'admin' })
    return personOf(store, { ...user, bannedUntil })
  })
}

/** Throws `auth_user_not_found`. */
export async function needUser(store: RealmStore, id: string): Promise<RealmUser> {
  const user = await store.userById(userId(id))
  if (!user) throw fail('auth_user_not_found')
  return user
}

export const readUserById = (realm: Realm, id: string): Promise<Person> =>
  realm.transact(async (store) => personOf(store, await needUser(store, id)))

export interface Listed {
  readonly people: readonly Person[]
  readonly total: number
}

export const listUsers = (realm: Realm, page: Page, of: UserFilter = {}): Promise<Listed> =>
  realm.transact(async (store) => {
    const users = await store.users(page, of)
    const ids = users.map(({ id }) => id)
    const identities = Map.groupBy(await store.identitiesOfAll(ids), ({ userId: of }) => of)
    const factors = Map.groupBy(await store.factorsOfAll(ids), ({ userId: of }) => of)
    const people = users.map((user) => ({ user, identities: identities.get(user.id) ?? [], factors: factors.get(user.id) ?? [] }))
    return { people, total: await store.countUsers(of) }
  })

/** The changes of the columns that need nothing but writing. */
function patchOf(user: RealmUser, body: AdminBody, now: number): UserPatch {
  const role = roleOf(body.role)
  const app = objectOf(body.app_metadata, 'app_metadata')
  return {
    ...(role === undefined ? {} : { role }),
    ...(app ? { appMetadata: mergedMetadata(user.appMetadata, app) } : {}),
    ...(objectOf(body.user_metadata, 'user_metadata') ? { userMetadata: mergedMetadata(user.userMetadata, body.user_metadata) } : {}),
    ...(given(body.ban_duration) ? { bannedUntil: banEnd(body.ban_duration, now) } : {}),
  }
}

export async function changeUser(realm: Realm, id: string, body: AdminBody): Promise<Person> {
  userId(id)
  // Somebody new without a password has none; here an empty one would be theirs.
  if (body.password === '') demandStrong(realm.rules, '')
  const passwordHash = await passwordOf(realm, body)
  const email = given(body.email) ? emailOf(body.email) : undefined
  const phone = given(body.phone) ? phoneOf(body.phone) : undefined
  const now = realm.now()
  return realm.transact(async (store) => {
    const user = await needUser(store, id)
    if (email !== undefined && email !== user.email && (await store.userByEmail(email))) throw fail('auth_email_exists')
    const holder = phone === undefined ? null : await store.userByPhone(phone)
    if (holder && holder.id !== user.id) throw fail('auth_phone_exists')
    const patch = {
      ...patchOf(user, body, now),
      ...(passwordHash === undefined ? {} : { passwordHash }),
      ...(phone === undefined ? {} : { phone }),
      ...(email === undefined ? {} : { email }),
    }
    await store.updateUser(user.id, patch, now)
    await moveAddresses(store, user, { ...user, ...patch }, body, now)
    // Who may not enter, or whose password somebody else has set, is signed out.
    if ((patch.bannedUntil ?? 0) > now || passwordHash !== undefined) await endSessionsOf(realm, store, user.id)
    await auditOf(realm, store, 'user_modified', user)
    return personOf(store, await needUser(store, id))
  })
}

/** Addresses that an administrator has set, and counts as proved: on the user and on their identities. */
async function moveAddresses(store: RealmStore, before: RealmUser, user: RealmUser, body: AdminBody, now: number): Promise<void> {
  if (body.email_confirm === true && user.email !== null) await confirmEmail(store, user, now)
  else if (user.email !== before.email) await moveIdentity(store, 'email', emailIdentity(user, now), now)
  if (body.phone_confirm === true && user.phone !== null) await confirmPhone(store, user, now)
  else if (user.phone !== before.phone) await moveIdentity(store, 'phone', phoneIdentity(user, now), now)
}

async function moveIdentity(store: RealmStore, name: 'email' | 'phone', made: RealmIdentity, now: number): Promise<void> {
  const known = (await store.identitiesOf(made.userId)).find(({ provider }) => provider === name)
  if (!known) await store.insertIdentity(made)
  else await store.updateIdentity(known.id, { data: { ...known.data, [name]: made.data[name], [`${name}_verified`]: false } }, now)
}

const SEARCHED: Readonly<Record<string, readonly string[]>> = {
  action: ['action'],
  author: ['actor_username', 'actor_name'],
  type: ['log_type'],
}
const QUERY_CHARS = 200

/** `action:login`, `author:zoe@…`, `type:token`. Throws `auth_validation_failed`. */
function searchOf(query: string): AuditSearch | undefined {
  if (query === '') return undefined
  const [, scope = '', text = ''] = /^(\w+):(.*)$/s.exec(query) ?? []
  const fields = Object.hasOwn(SEARCHED, scope) ? SEARCHED[scope] : undefined
  if (!fields || query.length > QUERY_CHARS) throw invalid(`Invalid query scope: ${query.slice(0, QUERY_CHARS)}`)
  return text === '' ? undefined : { fields, text }
}

/** The realm's own log, newest first. */
export async function auditLog(realm: Realm, page: Page, query: string | null) {
  const search = searchOf(query ?? '')
  return realm.transact(async (store) => ({
    entries: await store.auditEntries(page, search),
    total: await store.countAuditEntries(search),
  }))
}

/** Softly: the row stays for what refers to it, without anything of the person; the address is free again. */
export async function deleteUser(realm: Realm, id: string, soft: boolean): Promise<void> {
  await realm.transact(async (store) => {
    const user = await needUser(store, id)
    await endSessionsOf(realm, store, user.id)
    await auditOf(realm, store, 'user_deleted', user)
    if (!soft) return store.deleteUser(user.id)
    const now = realm.now()
    for (const identity of await store.identitiesOf(user.id)) await store.deleteIdentity(identity.id)
    for (const factor of await store.factorsOf(user.id)) await store.deleteFactor(factor.id)
    const nothing = { email: null, phone: null, passwordHash: null, emailChange: null, userMetadata: {}, appMetadata: {} }
    await store.updateUser(user.id, { ...nothing, emailConfirmedAt: null, phoneConfirmedAt: null, deletedAt: now }, now)
  })
}

/** An administrator gives a factor another name, or number. */
export async function changeFactor(realm: Realm, id: string, factorId: string, body: AdminBody): Promise<Factor> {
  const name = given(body.friendly_name) ? String(body.friendly_name).trim().slice(0, 255) : undefined
  const phone = given(body.phone) ? phoneOf(body.phone) : undefined
  return realm.transact(async (store) => {
    const user = await needUser(store, id)
    const factor = await ownFactor(store, user, factorId)
    const moves = phone !== undefined && factor.type === 'phone'
    const patch = { ...(name === undefined ? {} : { name }), ...(moves ? { phone } : {}) }
    const others = (await store.factorsOf(user.id)).filter((other) => other.id !== factor.id)
    if (name !== undefined && others.some((other) => other.name === name)) throw fail('auth_mfa_factor_name_conflict', { name })
    await store.updateFactor(factor.id, patch, realm.now())
    await auditOf(realm, store, 'factor_updated', user, { factor_id: factor.id, factor_type: factor.type })
    return { ...factor, ...patch, updatedAt: realm.now() }
  })
}

/** An administrator removes a factor. */
export async function removeFactor(realm: Realm, id: string, factorId: string): Promise<string> {
  return realm.transact(async (store) => {
    const user = await needUser(store, id)
    const factor = await ownFactor(store, user, factorId)
    await store.deleteFactor(factor.id)
    await auditOf(realm, store, 'factor_deleted', user, { factor_id: factor.id })
    return factor.id
  })
}
