import type { Kysely } from 'kysely'
import type { AuthOneTimeTokens, AuthRefreshTokens, AuthSessions, AuthUsers, Tables } from '../metadata/tables.ts'
import type { OneTimeToken, RealmSession, RealmStore, RealmUser, RefreshToken, UserPatch } from './store.ts'

const json = (text: string | null): Readonly<Record<string, unknown>> =>
  text === null ? {} : (JSON.parse(text) as Record<string, unknown>)

const userOf = (row: AuthUsers): RealmUser => ({
  id: row.id,
  aud: row.aud,
  role: row.role,
  email: row.email,
  emailConfirmedAt: row.email_confirmed_at,
  passwordHash: row.encrypted_password,
  admin: row.is_super_admin === 1,
  appMetadata: json(row.raw_app_meta_data),
  userMetadata: json(row.raw_user_meta_data),
  bannedUntil: row.banned_until,
  lastSignInAt: row.last_sign_in_at,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  deletedAt: row.deleted_at,
})

const newUserRow = (user: RealmUser): AuthUsers => ({
  id: user.id,
  instance_id: null,
  aud: user.aud,
  role: user.role,
  email: user.email,
  encrypted_password: user.passwordHash,
  email_confirmed_at: user.emailConfirmedAt,
  invited_at: null,
  confirmation_token: null,
  confirmation_sent_at: null,
  recovery_token: null,
  recovery_sent_at: null,
  email_change_token_new: null,
  email_change: null,
  email_change_sent_at: null,
  last_sign_in_at: user.lastSignInAt,
  raw_app_meta_data: JSON.stringify(user.appMetadata),
  raw_user_meta_data: JSON.stringify(user.userMetadata),
  is_super_admin: user.admin ? 1 : 0,
  created_at: user.createdAt,
  updated_at: user.updatedAt,
  phone: null,
  phone_confirmed_at: null,
  phone_change: null,
  phone_change_token: null,
  phone_change_sent_at: null,
  email_change_token_current: null,
  email_change_confirm_status: 0,
  banned_until: user.bannedUntil,
  reauthentication_token: null,
  reauthentication_sent_at: null,
  is_sso_user: 0,
  deleted_at: user.deletedAt,
  is_anonymous: 0,
})

const patchRow = (patch: UserPatch): Partial<AuthUsers> => ({
  ...(patch.email !== undefined && { email: patch.email }),
  ...(patch.emailConfirmedAt !== undefined && { email_confirmed_at: patch.emailConfirmedAt }),
  ...(patch.passwordHash !== undefined && { encrypted_password: patch.passwordHash }),
  ...(patch.admin !== undefined && { is_super_admin: patch.admin ? (1 as const) : (0 as const) }),
  ...(patch.userMetadata !== undefined && { raw_user_meta_data: JSON.stringify(patch.userMetadata) }),
  ...(patch.bannedUntil !== undefined && { banned_until: patch.bannedUntil }),
  ...(patch.lastSignInAt !== undefined && { last_sign_in_at: patch.lastSignInAt }),
  ...(patch.deletedAt !== undefined && { deleted_at: patch.deletedAt }),
})

const sessionOf = (row: AuthSessions): RealmSession => ({
  id: row.id,
  userId: row.user_id,
  createdAt: row.created_at,
  refreshedAt: row.refreshed_at,
  notAfter: row.not_after,
  aal: row.aal ?? 'aal1',
  userAgent: row.user_agent,
  ip: row.ip,
})

const refreshTokenOf = (row: Omit<AuthRefreshTokens, 'id'>): RefreshToken => ({
  hash: row.token,
  userId: row.user_id,
  sessionId: row.session_id,
  revoked: row.revoked === 1,
  parent: row.parent,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
})

const oneTimeTokenOf = (row: AuthOneTimeTokens): OneTimeToken => ({
  id: row.id,
  userId: row.user_id,
  kind: row.token_type,
  hash: row.token_hash,
  relatesTo: row.relates_to,
  createdAt: row.created_at,
})

type UserMethods = Pick<RealmStore, 'insertUser' | 'userById' | 'userByEmail' | 'updateUser'>

const users = (db: Kysely<Tables>): UserMethods => ({
  async insertUser(user) {
    await db.insertInto('auth_users').values(newUserRow(user)).execute()
  },
  async userById(id) {
    const row = await db.selectFrom('auth_users').selectAll().where('id', '=', id).executeTakeFirst()
    return row ? userOf(row) : null
  },
  async userByEmail(email) {
    const row = await db.selectFrom('auth_users').selectAll().where('email', '=', email).where('deleted_at', 'is', null).executeTakeFirst()
    return row ? userOf(row) : null
  },
  async updateUser(id, patch, now) {
    await db
      .updateTable('auth_users')
      .set({ ...patchRow(patch), updated_at: now })
      .where('id', '=', id)
      .execute()
  },
})

type SessionMethods = Pick<RealmStore, 'insertSession' | 'sessionById' | 'sessionsOf' | 'refreshed' | 'deleteSession'>

const sessions = (db: Kysely<Tables>): SessionMethods => ({
  async insertSession(session) {
    await db
      .insertInto('auth_sessions')
      .values({
        id: session.id,
        user_id: session.userId,
        created_at: session.createdAt,
        updated_at: session.createdAt,
        factor_id: null,
        aal: session.aal,
        not_after: session.notAfter,
        refreshed_at: session.refreshedAt,
        user_agent: session.userAgent,
        ip: session.ip,
        tag: null,
      })
      .execute()
  },
  async sessionById(id) {
    const row = await db.selectFrom('auth_sessions').selectAll().where('id', '=', id).executeTakeFirst()
    return row ? sessionOf(row) : null
  },
  async sessionsOf(userId) {
    const rows = await db.selectFrom('auth_sessions').selectAll().where('user_id', '=', userId).orderBy('created_at', 'desc').execute()
    return rows.map(sessionOf)
  },
  async refreshed(sessionId, now) {
    await db.updateTable('auth_sessions').set({ refreshed_at: now, updated_at: now }).where('id', '=', sessionId).execute()
  },
  async deleteSession(id) {
    await db.deleteFrom('auth_refresh_tokens').where('session_id', '=', id).execute()
    const result = await db.deleteFrom('auth_sessions').where('id', '=', id).executeTakeFirst()
    return result.numDeletedRows > 0n
  },
})

type TokenMethods = Omit<RealmStore, keyof UserMethods | keyof SessionMethods>

const tokens = (db: Kysely<Tables>): TokenMethods => ({
  async insertRefreshToken(token) {
    await db
      .insertInto('auth_refresh_tokens')
      .values({
        instance_id: null,
        token: token.hash,
        user_id: token.userId,
        revoked: 0,
        parent: token.parent,
        session_id: token.sessionId,
        created_at: token.createdAt,
        updated_at: token.createdAt,
      })
      .execute()
  },
  async refreshToken(hash) {
    const row = await db.selectFrom('auth_refresh_tokens').selectAll().where('token', '=', hash).executeTakeFirst()
    return row ? refreshTokenOf(row) : null
  },
  async revokeRefreshToken(hash, now) {
    const query = db
      .updateTable('auth_refresh_tokens')
      .set({ revoked: 1, updated_at: now })
      .where('token', '=', hash)
      .where('revoked', '=', 0)
    return (await query.executeTakeFirst()).numUpdatedRows > 0n
  },
  async insertOneTimeToken(token) {
    await db
      .insertInto('auth_one_time_tokens')
      .values({
        id: token.id,
        user_id: token.userId,
        token_type: token.kind,
        token_hash: token.hash,
        relates_to: token.relatesTo,
        created_at: token.createdAt,
        updated_at: token.createdAt,
      })
      .execute()
  },
  async dropOneTimeTokens(userId, kind) {
    await db.deleteFrom('auth_one_time_tokens').where('user_id', '=', userId).where('token_type', '=', kind).execute()
  },
  async takeOneTimeToken(kind, hash) {
    const row = await db
      .selectFrom('auth_one_time_tokens')
      .selectAll()
      .where('token_hash', '=', hash)
      .where('token_type', '=', kind)
      .executeTakeFirst()
    if (!row) return null
    const removed = await db.deleteFrom('auth_one_time_tokens').where('id', '=', row.id).executeTakeFirst()
    return removed.numDeletedRows > 0n ? oneTimeTokenOf(row) : null
  },
})

/** The platform realm's people, over a handle or a transaction of the metadata database. */
export const platformStore = (db: Kysely<Tables>): RealmStore => ({ ...users(db), ...sessions(db), ...tokens(db) })
