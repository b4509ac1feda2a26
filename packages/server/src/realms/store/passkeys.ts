import type { Kysely } from 'kysely'
import { insertIfAbsent } from '../../base/db/insert.ts'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, type Fields, fromRow, rowOf } from './fields.ts'
import type { Ceremony, Passkey, PasskeyStore } from './types.ts'

const PASSKEY: Fields<Passkey> = {
  id: ['id', 'text'],
  userId: ['user_id', 'text'],
  credentialId: ['credential_id', 'text'],
  publicKey: ['public_key', 'text'],
  attestation: ['attestation_type', 'text'],
  aaguid: ['aaguid', 'text'],
  signCount: ['sign_count', 'number'],
  transports: ['transports', 'json'],
  backupEligible: ['backup_eligible', 'bool'],
  backedUp: ['backed_up', 'bool'],
  name: ['friendly_name', 'text'],
  createdAt: ['created_at', 'time'],
  updatedAt: ['updated_at', 'time'],
  lastUsedAt: ['last_used_at', 'time'],
}

const CEREMONY: Fields<Ceremony> = {
  id: ['id', 'text'],
  userId: ['user_id', 'text'],
  kind: ['challenge_type', 'text'],
  data: ['session_data', 'json'],
  createdAt: ['created_at', 'time'],
  expiresAt: ['expires_at', 'time'],
}

export const passkeys = (db: Kysely<Tables>, codec: Codec): PasskeyStore => ({
  async insertPasskey(passkey) {
    const taken = db.selectFrom('auth_webauthn_credentials').select('id').where('credential_id', '=', passkey.credentialId)
    if (await taken.executeTakeFirst()) return false
    return insertIfAbsent(db, 'auth_webauthn_credentials', rowOf(PASSKEY, passkey, codec))
  },
  async passkeysOf(userId) {
    const query = db.selectFrom('auth_webauthn_credentials').selectAll().where('user_id', '=', userId)
    return (await query.orderBy('created_at').orderBy('id').execute()).map((row) => fromRow(PASSKEY, row))
  },
  async passkeyByCredential(credentialId) {
    const row = await db.selectFrom('auth_webauthn_credentials').selectAll().where('credential_id', '=', credentialId).executeTakeFirst()
    return row ? fromRow(PASSKEY, row) : null
  },
  async updatePasskey(id, patch, now) {
    const row = rowOf<Passkey>(PASSKEY, { ...patch, updatedAt: now }, codec)
    await db.updateTable('auth_webauthn_credentials').set(row).where('id', '=', id).execute()
  },
  async deletePasskey(id) {
    await db.deleteFrom('auth_webauthn_credentials').where('id', '=', id).execute()
  },
  async insertCeremony(ceremony) {
    await db
      .insertInto('auth_webauthn_challenges')
      .values(rowOf(CEREMONY, ceremony, codec))
      .execute()
  },
  async takeCeremony(id, kind) {
    const row = await db
      .selectFrom('auth_webauthn_challenges')
      .selectAll()
      .where('id', '=', id)
      .where('challenge_type', '=', kind)
      .executeTakeFirst()
    if (!row) return null
    const removed = await db.deleteFrom('auth_webauthn_challenges').where('id', '=', id).executeTakeFirst()
    return removed.numDeletedRows > 0n ? fromRow(CEREMONY, row) : null
  },
})
