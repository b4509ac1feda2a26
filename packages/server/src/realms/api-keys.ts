import type { Kysely } from 'kysely'
import { sha256, type Vault } from '../base/crypto.ts'
import { fail } from '../base/errors.ts'
import { randomToken, uuid } from '../base/ids.ts'
import type { Change } from '../metadata/change.ts'
import type { ApiKeys, Tables } from '../metadata/tables.ts'
import { createRealmKeys, currentKey, KEY_OVERLAP, keysChanged, type RealmKey, rotateKey } from './keys.ts'
import { signToken } from './tokens.ts'

/** anon, service_role: JWTs of the shared secret, what supabase-js expects. publishable, secret: opaque, the same two roles. */
export type ApiKeyKind = 'anon' | 'service_role' | 'publishable' | 'secret'
type ApiKeyRole = 'anon' | 'service_role'

const ROLE: Record<ApiKeyKind, ApiKeyRole> = { anon: 'anon', service_role: 'service_role', publishable: 'anon', secret: 'service_role' }
const OPAQUE = { publishable: 'sb_publishable_', secret: 'sb_secret_' } as const
const OPAQUE_BYTES = 24
const TEN_YEARS = 10 * 365 * 24 * 3600
const SHOWN_CHARS = 6

/** An opaque key by its spelling; says nothing of validity. */
export const looksOpaque = (text: string): boolean => text.startsWith(OPAQUE.publishable) || text.startsWith(OPAQUE.secret)

export interface ApiKey {
  readonly id: string
  readonly name: string
  readonly kind: ApiKeyKind
  readonly role: ApiKeyRole
  /** How it begins (opaque) or ends (JWT): enough to tell keys apart, never enough to use one. */
  readonly prefix: string
  readonly createdAt: number
  readonly createdBy: string | null
  readonly revokedAt: number | null
  readonly expiresAt: number | null
}

export interface ApiKeyWithText extends ApiKey {
  readonly text: string
}

const context = (id: string): string => `api_keys/${id}`

const view = (row: ApiKeys): ApiKey => ({
  id: row.id,
  name: row.name,
  kind: row.kind as ApiKeyKind,
  role: ROLE[row.kind as ApiKeyKind],
  prefix: row.prefix,
  createdAt: row.created_at,
  createdBy: row.created_by,
  revokedAt: row.revoked_at,
  expiresAt: row.expires_at,
})

/** As Supabase's: claims iss 'supabase', ref, role, iat, exp in ten years; HS256 by the shared secret, no kid. `now` in ms. */
function apiKeyToken(ref: string, role: ApiKeyRole, key: RealmKey, now: number): string {
  const iat = Math.floor(now / 1000)
  return signToken({ iss: 'supabase', ref, role, iat, exp: iat + TEN_YEARS, jti: randomToken(9) }, { alg: 'HS256', key: key.key })
}

interface NewApiKey {
  readonly realm: string
  readonly name: string
  readonly kind: ApiKeyKind
  readonly createdBy: string | null
  readonly now: number
  /** The realm's current legacy key: signs anon and service_role. */
  readonly legacy: RealmKey
}

async function insertApiKey(
  change: Change,
  vault: Vault,
  { realm, name, kind, createdBy, now, legacy }: NewApiKey,
): Promise<ApiKeyWithText> {
  const id = uuid()
  const opaque = kind === 'publishable' || kind === 'secret'
  const text = opaque ? OPAQUE[kind] + randomToken(OPAQUE_BYTES) : apiKeyToken(realm, ROLE[kind], legacy, now)
  const row: ApiKeys = {
    id,
    realm,
    name,
    kind,
    hash: sha256(text),
    prefix: opaque ? text.slice(0, OPAQUE[kind].length + SHOWN_CHARS) : `...${text.slice(-SHOWN_CHARS)}`,
    secret: vault.seal(text, context(id)),
    kid: opaque ? null : legacy.kid,
    created_at: now,
    created_by: createdBy,
    revoked_at: null,
    expires_at: null,
  }
  await change.trx.insertInto('api_keys').values(row).execute()
  return { ...view(row), text }
}

/** One more key; every node knows it by the event. */
export async function createApiKey(change: Change, vault: Vault, key: NewApiKey): Promise<ApiKeyWithText> {
  const made = await insertApiKey(change, vault, key)
  await change.event({ name: 'key.created', subject: made.id, project_ref: key.realm, after: { name: key.name, kind: key.kind } })
  await keysChanged(change, key.realm, made.id)
  return made
}

/** Signing keys and the four first API keys of a new project; part of the transaction that makes it. */
export async function createProjectKeys(
  change: Change,
  vault: Vault,
  ref: string,
  now: number,
  createdBy: string | null,
): Promise<ApiKeyWithText[]> {
  const legacy = currentKey(await createRealmKeys(change, vault, ref, now), 'legacy')
  const made: ApiKeyWithText[] = []
  for (const kind of ['anon', 'service_role', 'publishable', 'secret'] as const) {
    made.push(await insertApiKey(change, vault, { realm: ref, name: 'default', kind, createdBy, now, legacy }))
  }
  return made
}

/** Newest first; revoked ones too. `before`: id of the last one of the page before. */
export async function listApiKeys(db: Kysely<Tables>, realm: string, page: { limit: number; before?: string }): Promise<ApiKey[]> {
  let query = db.selectFrom('api_keys').selectAll().where('realm', '=', realm).orderBy('id', 'desc').limit(page.limit)
  if (page.before !== undefined) query = query.where('id', '<', page.before)
  return (await query.execute()).map(view)
}

const lives = (row: ApiKeys, now: number): boolean => row.revoked_at === null && (row.expires_at === null || row.expires_at > now)

/** The texts of the living keys. The caller writes the event `key.revealed`: showing secrets is an audited act. */
export async function revealApiKeys(db: Kysely<Tables>, vault: Vault, realm: string, now: number): Promise<ApiKeyWithText[]> {
  const rows = await db
    .selectFrom('api_keys')
    .selectAll()
    .where('realm', '=', realm)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .execute()
  return rows.filter((row) => lives(row, now)).map((row) => ({ ...view(row), text: vault.open(row.secret, context(row.id)) }))
}

/** Refused on all nodes from the event on. `not_found` when there is no such living key. */
export async function revokeApiKey(change: Change, realm: string, id: string, now: number): Promise<void> {
  const changed = await change.trx
    .updateTable('api_keys')
    .set({ revoked_at: now })
    .where('realm', '=', realm)
    .where('id', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst()
  if (changed.numUpdatedRows === 0n) throw fail('not_found')
  await change.event({ name: 'key.revoked', subject: id, project_ref: realm })
  await keysChanged(change, realm, id)
}

/**
 * A new shared secret with new anon and service_role keys; former secrets, their keys and users' tokens are good for `overlap` ms more at most.
 * Opaque keys stay as they are.
 */
export async function rotateSharedSecret(
  change: Change,
  vault: Vault,
  { realm, now, createdBy, overlap = KEY_OVERLAP }: { realm: string; now: number; createdBy: string | null; overlap?: number },
): Promise<{ key: RealmKey; apiKeys: ApiKeyWithText[] }> {
  const legacy = await rotateKey(change, vault, { realm, use: 'legacy', now, overlap })
  await change.trx
    .updateTable('api_keys')
    .set({ expires_at: now + overlap })
    .where('realm', '=', realm)
    .where('kid', 'is not', null)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', now + overlap)]))
    .execute()
  const apiKeys = [
    await insertApiKey(change, vault, { realm, name: 'default', kind: 'anon', createdBy, now, legacy }),
    await insertApiKey(change, vault, { realm, name: 'default', kind: 'service_role', createdBy, now, legacy }),
  ]
  return { key: legacy, apiKeys }
}

export interface KnownApiKey {
  readonly id: string
  readonly role: ApiKeyRole
  /** ms from which it is refused; null: none. A revoked key's is in the past. */
  readonly until: number | null
}

/**
 * What the gateway knows of a realm's keys, by SHA-256 of their text: the living ones, and revoked JWTs (their signature would still be
 * good until the secret is rotated).
 */
export async function readApiKeySet(db: Kysely<Tables>, realm: string): Promise<ReadonlyMap<string, KnownApiKey>> {
  const rows = await db
    .selectFrom('api_keys')
    .select(['id', 'kind', 'hash', 'revoked_at', 'expires_at'])
    .where('realm', '=', realm)
    .where((where) => where.or([where('revoked_at', 'is', null), where('kind', 'in', ['anon', 'service_role'])]))
    .execute()
  return new Map(rows.map((row) => [row.hash, { id: row.id, role: ROLE[row.kind as ApiKeyKind], until: row.revoked_at ?? row.expires_at }]))
}
