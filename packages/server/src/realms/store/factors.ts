import type { Kysely } from 'kysely'
import { insertIfAbsent } from '../../base/db/insert.ts'
import { uuid } from '../../base/ids.ts'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, type Fields, fromRow, rowOf } from './fields.ts'
import type { Challenge, Factor, FactorStore } from './types.ts'

export const FACTOR: Fields<Factor> = {
  id: ['id', 'text'],
  userId: ['user_id', 'text'],
  name: ['friendly_name', 'text'],
  type: ['factor_type', 'text'],
  status: ['status', 'text'],
  secret: ['secret', 'text'],
  phone: ['phone', 'text'],
  credential: ['web_authn_credential', 'json'],
  createdAt: ['created_at', 'time'],
  updatedAt: ['updated_at', 'time'],
  lastChallengedAt: ['last_challenged_at', 'time'],
}

const CHALLENGE: Fields<Challenge> = {
  id: ['id', 'text'],
  factorId: ['factor_id', 'text'],
  createdAt: ['created_at', 'time'],
  verifiedAt: ['verified_at', 'time'],
  ip: ['ip_address', 'text'],
  otpHash: ['otp_code', 'text'],
  session: ['web_authn_session_data', 'json'],
}

type Codes = Pick<FactorStore, 'replaceRecoveryCodes' | 'useRecoveryCode' | 'countRecoveryCodes'>

export const factors = (db: Kysely<Tables>, codec: Codec): Omit<FactorStore, keyof Codes> => {
  const ofAll = async (ids: readonly string[]) => {
    if (ids.length === 0) return []
    const query = db
      .selectFrom('auth_mfa_factors')
      .selectAll()
      .where('user_id', 'in', [...ids])
    return (await query.orderBy('created_at').orderBy('id').execute()).map((row) => fromRow(FACTOR, row))
  }
  return {
    insertFactor: (factor) => insertIfAbsent(db, 'auth_mfa_factors', rowOf(FACTOR, factor, codec)),
    async factorById(id) {
      const row = await db.selectFrom('auth_mfa_factors').selectAll().where('id', '=', id).executeTakeFirst()
      return row ? fromRow(FACTOR, row) : null
    },
    factorsOf: (userId) => ofAll([userId]),
    factorsOfAll: ofAll,
    async updateFactor(id, patch, now) {
      const row = rowOf<Factor>(FACTOR, { ...patch, updatedAt: now }, codec)
      await db.updateTable('auth_mfa_factors').set(row).where('id', '=', id).execute()
    },
    async deleteFactor(id) {
      await db.deleteFrom('auth_mfa_factors').where('id', '=', id).execute()
    },
    async insertChallenge(challenge) {
      await db
        .insertInto('auth_mfa_challenges')
        .values(rowOf(CHALLENGE, challenge, codec))
        .execute()
    },
    async challengeById(id) {
      const row = await db.selectFrom('auth_mfa_challenges').selectAll().where('id', '=', id).executeTakeFirst()
      return row ? fromRow(CHALLENGE, row) : null
    },
    async useChallenge(id, now) {
      const query = db.updateTable('auth_mfa_challenges').set({ verified_at: codec.at(now) })
      return (await query.where('id', '=', id).where('verified_at', 'is', null).executeTakeFirst()).numUpdatedRows > 0n
    },
  }
}

export const recoveryCodes = (db: Kysely<Tables>, codec: Codec): Codes => ({
  async replaceRecoveryCodes(userId, hashes, now) {
    await db.deleteFrom('auth_recovery_codes').where('user_id', '=', userId).execute()
    const rows = hashes.map((code_hash) => ({ id: uuid(), user_id: userId, code_hash, created_at: codec.at(now) }))
    if (rows.length > 0) await db.insertInto('auth_recovery_codes').values(rows).execute()
  },
  async useRecoveryCode(userId, hash) {
    const query = db.deleteFrom('auth_recovery_codes').where('user_id', '=', userId).where('code_hash', '=', hash)
    return (await query.executeTakeFirst()).numDeletedRows > 0n
  },
  async countRecoveryCodes(userId) {
    const query = db.selectFrom('auth_recovery_codes').select((eb) => eb.fn.countAll<number>().as('n'))
    return Number((await query.where('user_id', '=', userId).executeTakeFirstOrThrow()).n)
  },
})
