import { type Kysely, sql } from 'kysely'
import { insertIfAbsent } from '../../base/db/insert.ts'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, type Fields, fromRow, rowOf } from './fields.ts'
import type { RealmIdentity, RealmUser, UserFilter, UserStore } from './types.ts'

export const USER: Fields<RealmUser> = {
  id: ['id', 'text'],
  aud: ['aud', 'text'],
  role: ['role', 'text'],
  email: ['email', 'text'],
  emailConfirmedAt: ['email_confirmed_at', 'time'],
  passwordHash: ['encrypted_password', 'text'],
  admin: ['is_super_admin', 'bool'],
  appMetadata: ['raw_app_meta_data', 'json'],
  userMetadata: ['raw_user_meta_data', 'json'],
  bannedUntil: ['banned_until', 'time'],
  lastSignInAt: ['last_sign_in_at', 'time'],
  createdAt: ['created_at', 'time'],
  updatedAt: ['updated_at', 'time'],
  deletedAt: ['deleted_at', 'time'],
  invitedAt: ['invited_at', 'time'],
  confirmationSentAt: ['confirmation_sent_at', 'time'],
  recoverySentAt: ['recovery_sent_at', 'time'],
  emailChange: ['email_change', 'text'],
  emailChangeSentAt: ['email_change_sent_at', 'time'],
  emailChangeStatus: ['email_change_confirm_status', 'number'],
  phone: ['phone', 'text'],
  phoneConfirmedAt: ['phone_confirmed_at', 'time'],
  phoneChange: ['phone_change', 'text'],
  phoneChangeSentAt: ['phone_change_sent_at', 'time'],
  reauthenticationSentAt: ['reauthentication_sent_at', 'time'],
  sso: ['is_sso_user', 'bool'],
  anonymous: ['is_anonymous', 'bool'],
}

export const IDENTITY: Fields<RealmIdentity> = {
  id: ['id', 'text'],
  providerId: ['provider_id', 'text'],
  userId: ['user_id', 'text'],
  data: ['identity_data', 'json'],
  provider: ['provider', 'text'],
  lastSignInAt: ['last_sign_in_at', 'time'],
  createdAt: ['created_at', 'time'],
  updatedAt: ['updated_at', 'time'],
}

/** Rows of other systems say '' where ours say null, and may lack an audience or a role. */
export const userOf = (row: object): RealmUser => tidyUser(fromRow(USER, row))

export function tidyUser(user: RealmUser): RealmUser {
  return {
    ...user,
    email: user.email || null,
    phone: user.phone || null,
    passwordHash: user.passwordHash || null,
    emailChange: user.emailChange || null,
    phoneChange: user.phoneChange || null,
    aud: user.aud || 'authenticated',
    role: user.role || 'authenticated',
  }
}

export const emailOf = (data: RealmIdentity['data']): string | null => (typeof data.email === 'string' ? data.email.toLowerCase() : null)

type Bulk = 'takenOf' | 'insertUsers' | 'insertIdentities'
type Users = Pick<
  UserStore,
  | 'insertUser'
  | 'userById'
  | 'userByEmail'
  | 'userByPhone'
  | 'userByEmailChange'
  | 'userByPhoneChange'
  | 'updateUser'
  | 'deleteUser'
  | 'users'
  | 'countUsers'
  | 'usersAfter'
>

/** Of the metadata only the full name is looked at, where the database can: in a cluster. */
function matching({ text = '' }: UserFilter, codec: Codec) {
  if (text === '') return sql<boolean>`1 = 1`
  const like = `%${text.toLowerCase().replace(/[!%_]/g, '!$&')}%`
  const name = codec.callsFunctions ? sql` or lower(raw_user_meta_data->>'full_name') like ${like} escape '!'` : sql``
  return sql<boolean>`(lower(email) like ${like} escape '!'${name})`
}

export const users = (db: Kysely<Tables>, codec: Codec): Users => {
  const one = async (column: 'id' | 'email' | 'phone' | 'email_change' | 'phone_change', value: string) => {
    const query = db.selectFrom('auth_users').selectAll().where(column, '=', value)
    const row = await (column === 'id' ? query : query.where('deleted_at', 'is', null).where(codec.ofNoProvider)).executeTakeFirst()
    return row ? userOf(row) : null
  }
  return {
    insertUser: (user) => insertIfAbsent(db, 'auth_users', rowOf(USER, user, codec)),
    userById: (id) => one('id', id),
    userByEmail: (email) => one('email', email),
    userByPhone: (phone) => one('phone', phone),
    userByEmailChange: (email) => one('email_change', email),
    userByPhoneChange: (phone) => one('phone_change', phone),
    async updateUser(id, patch, now) {
      const row = rowOf<RealmUser>(USER, { ...patch, updatedAt: now }, codec)
      await db.updateTable('auth_users').set(row).where('id', '=', id).execute()
    },
    async deleteUser(id) {
      await db.deleteFrom('auth_recovery_codes').where('user_id', '=', id).execute()
      await db.deleteFrom('auth_users').where('id', '=', id).execute()
    },
    async users({ limit, offset }, of = {}) {
      const all = db.selectFrom('auth_users').selectAll().where(matching(of, codec))
      const query = all.orderBy('created_at', of.oldestFirst ? 'asc' : 'desc').orderBy('id')
      return (await query.limit(limit).offset(offset).execute()).map(userOf)
    },
    async usersAfter(id, limit) {
      const query = db.selectFrom('auth_users').selectAll().orderBy('id').limit(limit)
      return (await (id === null ? query : query.where('id', '>', id)).execute()).map(userOf)
    },
    async countUsers(of = {}) {
      const row = await db
        .selectFrom('auth_users')
        .where(matching(of, codec))
        .select((eb) => eb.fn.countAll<number>().as('n'))
        .executeTakeFirstOrThrow()
      return Number(row.n)
    },
  }
}

export const identities = (db: Kysely<Tables>, codec: Codec): Omit<UserStore, keyof Users | Bulk> => {
  const email = (data: RealmIdentity['data']) => (codec.writesIdentityEmail ? { email: emailOf(data) } : {})
  const ofAll = async (ids: readonly string[]) => {
    if (ids.length === 0) return []
    const query = db
      .selectFrom('auth_identities')
      .selectAll()
      .where('user_id', 'in', [...ids])
    return (await query.orderBy('created_at').orderBy('id').execute()).map((row) => fromRow(IDENTITY, row))
  }
  return {
    insertIdentity: (identity) =>
      insertIfAbsent(db, 'auth_identities', { ...(rowOf(IDENTITY, identity, codec) as object), ...email(identity.data) } as never),
    async identityOf(provider, providerId) {
      const query = db.selectFrom('auth_identities').selectAll().where('provider_id', '=', providerId).where('provider', '=', provider)
      const row = await query.executeTakeFirst()
      return row ? fromRow(IDENTITY, row) : null
    },
    identitiesOf: (userId) => ofAll([userId]),
    identitiesOfAll: ofAll,
    async updateIdentity(id, patch, now) {
      const row = rowOf<RealmIdentity>(IDENTITY, { ...patch, updatedAt: now }, codec) as object
      const more = patch.data === undefined ? {} : email(patch.data)
      await db
        .updateTable('auth_identities')
        .set({ ...row, ...more })
        .where('id', '=', id)
        .execute()
    },
    async touchIdentity(userId, provider, now) {
      const row = rowOf<RealmIdentity>(IDENTITY, { lastSignInAt: now, updatedAt: now }, codec)
      await db.updateTable('auth_identities').set(row).where('user_id', '=', userId).where('provider', '=', provider).execute()
    },
    async deleteIdentity(id) {
      await db.deleteFrom('auth_identities').where('id', '=', id).execute()
    },
  }
}
