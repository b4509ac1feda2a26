import type { Kysely } from 'kysely'
import type { Tables } from '../../metadata/tables.ts'
import { FACTOR } from './factors.ts'
import { fromRow } from './fields.ts'
import { PROOF, REFRESH, sessionOf } from './sessions.ts'
import type { SessionStore } from './types.ts'
import { IDENTITY, userOf } from './users.ts'

/** Six small reads that need not wait for one another: each finds its rows by the token alone. */
export const refreshing =
  (db: Kysely<Tables>): SessionStore['refreshing'] =>
  async (hash) => {
    const tokens = db.selectFrom('auth_refresh_tokens').where('token', '=', hash)
    const sessionId = tokens.select('session_id')
    const userId = db.selectFrom('auth_sessions').select('user_id').where('id', '=', sessionId)
    const [token, session, proofs, user, identities, factors] = await Promise.all([
      tokens.selectAll().executeTakeFirst(),
      db.selectFrom('auth_sessions').selectAll().where('id', '=', sessionId).executeTakeFirst(),
      db.selectFrom('auth_mfa_amr_claims').selectAll().where('session_id', '=', sessionId).orderBy('updated_at', 'desc').execute(),
      db.selectFrom('auth_users').selectAll().where('id', '=', userId).executeTakeFirst(),
      db.selectFrom('auth_identities').selectAll().where('user_id', '=', userId).orderBy('created_at').orderBy('id').execute(),
      db.selectFrom('auth_mfa_factors').selectAll().where('user_id', '=', userId).orderBy('created_at').orderBy('id').execute(),
    ])
    if (!token || !session || !user) return null
    return {
      token: fromRow(REFRESH, token),
      session: sessionOf(session),
      proofs: proofs.map((row) => fromRow(PROOF, row)),
      user: userOf(user),
      identities: identities.map((row) => fromRow(IDENTITY, row)),
      factors: factors.map((row) => fromRow(FACTOR, row)),
    }
  }
