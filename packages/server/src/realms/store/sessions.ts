import type { Kysely } from 'kysely'
import { insertIfAbsent } from '../../base/db/insert.ts'
import { uuid } from '../../base/ids.ts'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, type Fields, fromRow, rowOf } from './fields.ts'
import type { Proof, RealmSession, RefreshToken, SessionStore } from './types.ts'

export const SESSION: Fields<RealmSession> = {
  id: ['id', 'text'],
  userId: ['user_id', 'text'],
  createdAt: ['created_at', 'time'],
  refreshedAt: ['refreshed_at', 'time'],
  notAfter: ['not_after', 'time'],
  aal: ['aal', 'text'],
  userAgent: ['user_agent', 'text'],
  ip: ['ip', 'text'],
  factorId: ['factor_id', 'text'],
}

export const REFRESH: Fields<RefreshToken> = {
  hash: ['token', 'text'],
  userId: ['user_id', 'text'],
  sessionId: ['session_id', 'text'],
  revoked: ['revoked', 'bool'],
  parent: ['parent', 'text'],
  createdAt: ['created_at', 'time'],
  updatedAt: ['updated_at', 'time'],
}

export const PROOF: Fields<Proof> = { method: ['authentication_method', 'text'], at: ['updated_at', 'time'] }

export const tidySession = (session: RealmSession): RealmSession => (session.aal ? session : { ...session, aal: 'aal1' })

const sessionOf = (row: object): RealmSession => tidySession(fromRow(SESSION, row))

type Refreshing = Pick<SessionStore, 'insertRefreshToken' | 'refreshToken' | 'revokeRefreshToken'>

export const sessions = (db: Kysely<Tables>, codec: Codec): Omit<SessionStore, keyof Refreshing> => ({
  async insertSession(session) {
    const times = { updated_at: codec.at(session.createdAt), tag: null }
    await db
      .insertInto('auth_sessions')
      .values({ ...(rowOf(SESSION, session, codec) as object), ...times } as never)
      .execute()
  },
  async sessionById(id) {
    const row = await db.selectFrom('auth_sessions').selectAll().where('id', '=', id).executeTakeFirst()
    return row ? sessionOf(row) : null
  },
  async sessionsOf(userId) {
    const query = db.selectFrom('auth_sessions').selectAll().where('user_id', '=', userId).orderBy('created_at', 'desc')
    return (await query.execute()).map(sessionOf)
  },
  async refreshed(sessionId, now) {
    const at = codec.at(now)
    await db.updateTable('auth_sessions').set({ refreshed_at: at, updated_at: at }).where('id', '=', sessionId).execute()
  },
  async updateSession(id, patch, now) {
    const row = rowOf<RealmSession>(SESSION, patch, codec) as object
    await db
      .updateTable('auth_sessions')
      .set({ ...row, updated_at: codec.at(now) })
      .where('id', '=', id)
      .execute()
  },
  async deleteSession(id) {
    await db.deleteFrom('auth_refresh_tokens').where('session_id', '=', id).execute()
    const result = await db.deleteFrom('auth_sessions').where('id', '=', id).executeTakeFirst()
    return result.numDeletedRows > 0n
  },
  async addProof(sessionId, method, now) {
    const at = codec.at(now)
    const row = { id: uuid(), session_id: sessionId, authentication_method: method, created_at: at, updated_at: at }
    if (await insertIfAbsent(db, 'auth_mfa_amr_claims', row)) return
    const again = db.updateTable('auth_mfa_amr_claims').set({ updated_at: at })
    await again.where('session_id', '=', sessionId).where('authentication_method', '=', method).execute()
  },
  async proofsOf(sessionId) {
    const query = db.selectFrom('auth_mfa_amr_claims').selectAll().where('session_id', '=', sessionId).orderBy('updated_at', 'desc')
    return (await query.execute()).map((row) => fromRow(PROOF, row))
  },
})

export const refreshTokens = (db: Kysely<Tables>, codec: Codec): Refreshing => ({
  async insertRefreshToken(token) {
    const whole: RefreshToken = { ...token, revoked: false, updatedAt: token.createdAt }
    await db
      .insertInto('auth_refresh_tokens')
      .values(rowOf(REFRESH, whole, codec))
      .execute()
  },
  async refreshToken(hash) {
    const row = await db.selectFrom('auth_refresh_tokens').selectAll().where('token', '=', hash).executeTakeFirst()
    return row ? fromRow(REFRESH, row) : null
  },
  async revokeRefreshToken(hash, now) {
    const query = db.updateTable('auth_refresh_tokens').set({ revoked: 1, updated_at: codec.at(now) })
    return (await query.where('token', '=', hash).where('revoked', '=', 0).executeTakeFirst()).numUpdatedRows > 0n
  },
})
