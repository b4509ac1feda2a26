import type { Kysely } from 'kysely'
import { sha256 } from '../../base/crypto.ts'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, type Fields, fromRow, rowOf } from './fields.ts'
import type { SamlSession, SamlSessionStore } from './types.ts'

const SAML_SESSION: Fields<SamlSession> = {
  sessionId: ['session_id', 'text'],
  providerId: ['provider_id', 'text'],
  nameId: ['name_id', 'text'],
  nameIdFormat: ['name_id_format', 'text'],
  nameQualifier: ['name_qualifier', 'text'],
  spNameQualifier: ['sp_name_qualifier', 'text'],
  sessionIndex: ['session_index', 'text'],
}

export const samlSessions = (db: Kysely<Tables>, codec: Codec): SamlSessionStore => ({
  async insertSamlSession(session, now) {
    const more = { name_hash: sha256(session.nameId), created_at: codec.at(now) }
    await db
      .insertInto('auth_saml_sessions')
      .values({ ...(rowOf(SAML_SESSION, session, codec) as object), ...more } as never)
      .execute()
  },
  async samlSession(sessionId) {
    const row = await db.selectFrom('auth_saml_sessions').selectAll().where('session_id', '=', sessionId).executeTakeFirst()
    return row ? fromRow(SAML_SESSION, row) : null
  },
  async samlSessionsOf(providerId, nameId) {
    const query = db.selectFrom('auth_saml_sessions').selectAll().where('provider_id', '=', providerId)
    const rows = await query.where('name_hash', '=', sha256(nameId)).execute()
    return rows.map((row) => fromRow(SAML_SESSION, row))
  },
})
