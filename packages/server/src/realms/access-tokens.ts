import type { Kysely } from 'kysely'
import { sha256 } from '../base/crypto.ts'
import { fail } from '../base/errors.ts'
import { randomToken, uuid } from '../base/ids.ts'
import type { Change } from '../metadata/change.ts'
import type { AccessTokens, Tables } from '../metadata/tables.ts'

/** Members' personal access tokens: opaque, stored as SHA-256 (256 random bits need no slow hash). */
export const ACCESS_TOKEN_PREFIX = 'sovra_pat_'
const BYTES = 32
const SHOWN_CHARS = 6
/** `last_used_at` is written at most this often (ms). */
const USE_NOTED_EVERY = 600_000

interface AccessToken {
  readonly id: string
  readonly userId: string
  readonly name: string
  readonly prefix: string
  readonly createdAt: number
  readonly expiresAt: number | null
  readonly lastUsedAt: number | null
  readonly revokedAt: number | null
}

const view = (row: AccessTokens): AccessToken => ({
  id: row.id,
  userId: row.user_id,
  name: row.name,
  prefix: row.prefix,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  lastUsedAt: row.last_used_at,
  revokedAt: row.revoked_at,
})

/** `text` is told once and never again. */
export async function createAccessToken(
  change: Change,
  token: { userId: string; name: string; expiresAt: number | null; now: number },
): Promise<AccessToken & { readonly text: string }> {
  const text = ACCESS_TOKEN_PREFIX + randomToken(BYTES)
  const row: AccessTokens = {
    id: uuid(),
    user_id: token.userId,
    name: token.name,
    hash: sha256(text),
    prefix: text.slice(0, ACCESS_TOKEN_PREFIX.length + SHOWN_CHARS),
    created_at: token.now,
    expires_at: token.expiresAt,
    last_used_at: null,
    revoked_at: null,
  }
  await change.trx.insertInto('access_tokens').values(row).execute()
  await change.event({ name: 'token.created', subject: row.id, after: { name: token.name, expires_at: token.expiresAt } })
  return { ...view(row), text }
}

/** The living ones of a member, newest first. */
export async function listAccessTokens(
  db: Kysely<Tables>,
  userId: string,
  page: { limit: number; before?: string },
): Promise<AccessToken[]> {
  let query = db
    .selectFrom('access_tokens')
    .selectAll()
    .where('user_id', '=', userId)
    .where('revoked_at', 'is', null)
    .orderBy('id', 'desc')
    .limit(page.limit)
  if (page.before !== undefined) query = query.where('id', '<', page.before)
  return (await query.execute()).map(view)
}

/** `not_found` when the member has no such living token. */
export async function revokeAccessToken(change: Change, userId: string, id: string, now: number): Promise<void> {
  const changed = await change.trx
    .updateTable('access_tokens')
    .set({ revoked_at: now })
    .where('id', '=', id)
    .where('user_id', '=', userId)
    .where('revoked_at', 'is', null)
    .executeTakeFirst()
  if (changed.numUpdatedRows === 0n) throw fail('not_found')
  await change.event({ name: 'token.revoked', subject: id })
}

/** The living token of this text; null: none. */
export async function findAccessToken(db: Kysely<Tables>, text: string, now: number): Promise<AccessToken | null> {
  const row = await db
    .selectFrom('access_tokens')
    .selectAll()
    .where('hash', '=', sha256(text))
    .where('revoked_at', 'is', null)
    .executeTakeFirst()
  return row && (row.expires_at === null || row.expires_at > now) ? view(row) : null
}

/** Notes a use, rarely. */
export async function noteUse(db: Kysely<Tables>, token: AccessToken, now: number): Promise<void> {
  if (token.lastUsedAt !== null && now - token.lastUsedAt < USE_NOTED_EVERY) return
  await db.updateTable('access_tokens').set({ last_used_at: now }).where('id', '=', token.id).execute()
}
