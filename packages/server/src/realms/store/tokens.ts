import type { Kysely } from 'kysely'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, type Fields, fromRow, rowOf } from './fields.ts'
import type { Flow, OneTimeToken, TokenStore } from './types.ts'

const TOKEN: Fields<OneTimeToken> = {
  id: ['id', 'text'],
  userId: ['user_id', 'text'],
  kind: ['token_type', 'text'],
  hash: ['token_hash', 'text'],
  relatesTo: ['relates_to', 'text'],
  createdAt: ['created_at', 'time'],
  otpHash: ['otp_hash', 'text'],
  flowId: ['flow_state_id', 'text'],
}

const FLOW: Fields<Flow> = {
  id: ['id', 'text'],
  userId: ['user_id', 'text'],
  codeHash: ['auth_code', 'text'],
  challenge: ['code_challenge', 'text'],
  challengeMethod: ['code_challenge_method', 'text'],
  provider: ['provider_type', 'text'],
  method: ['authentication_method', 'text'],
  createdAt: ['created_at', 'time'],
  issuedAt: ['auth_code_issued_at', 'time'],
  sealed: ['provider_access_token', 'text'],
}

type Flows = Pick<TokenStore, 'insertFlow' | 'flowById' | 'flowByCode' | 'issueCode' | 'deleteFlow'>

export const oneTimeTokens = (db: Kysely<Tables>, codec: Codec): Omit<TokenStore, keyof Flows> => ({
  async insertOneTimeToken(token) {
    const row = { ...(rowOf(TOKEN, token, codec) as object), updated_at: codec.at(token.createdAt) }
    await db
      .insertInto('auth_one_time_tokens')
      .values(row as never)
      .execute()
  },
  async dropOneTimeTokens(userId, kind) {
    await db.deleteFrom('auth_one_time_tokens').where('user_id', '=', userId).where('token_type', '=', kind).execute()
  },
  async oneTimeToken(userId, kind) {
    const query = db.selectFrom('auth_one_time_tokens').selectAll().where('user_id', '=', userId).where('token_type', '=', kind)
    const row = await query.executeTakeFirst()
    return row ? fromRow(TOKEN, row) : null
  },
  async oneTimeTokenByHash(hash) {
    const row = await db.selectFrom('auth_one_time_tokens').selectAll().where('token_hash', '=', hash).executeTakeFirst()
    return row ? fromRow(TOKEN, row) : null
  },
  async takeOneTimeToken(kind, hash) {
    const query = db.selectFrom('auth_one_time_tokens').selectAll().where('token_hash', '=', hash).where('token_type', '=', kind)
    const row = await query.executeTakeFirst()
    if (!row) return null
    const removed = await db.deleteFrom('auth_one_time_tokens').where('id', '=', row.id).executeTakeFirst()
    return removed.numDeletedRows > 0n ? fromRow(TOKEN, row) : null
  },
})

export const flows = (db: Kysely<Tables>, codec: Codec): Flows => {
  const one = async (column: 'id' | 'auth_code', value: string) => {
    const row = await db.selectFrom('auth_flow_state').selectAll().where(column, '=', value).executeTakeFirst()
    return row ? fromRow(FLOW, row) : null
  }
  return {
    async insertFlow(flow) {
      const row = { ...(rowOf(FLOW, flow, codec) as object), updated_at: codec.at(flow.createdAt) }
      await db
        .insertInto('auth_flow_state')
        .values(row as never)
        .execute()
    },
    flowById: (id) => one('id', id),
    flowByCode: (hash) => one('auth_code', hash),
    async issueCode(id, codeHash, userId, now) {
      const at = codec.at(now)
      const set = { auth_code: codeHash, user_id: userId, auth_code_issued_at: at, updated_at: at }
      await db.updateTable('auth_flow_state').set(set).where('id', '=', id).execute()
    },
    async deleteFlow(id) {
      return (await db.deleteFrom('auth_flow_state').where('id', '=', id).executeTakeFirst()).numDeletedRows > 0n
    },
  }
}
