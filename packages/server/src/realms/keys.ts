import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Vault } from '../base/crypto.ts'
import { insertIfAbsent } from '../base/db/insert.ts'
import { fail } from '../base/errors.ts'
import { uuid } from '../base/ids.ts'
import type { Change } from '../metadata/change.ts'
import type { RealmKeys, Tables } from '../metadata/tables.ts'
import { type Alg, isAlg, type VerificationSet, type VerifyKey } from './tokens.ts'

/**
 * user: signs users' tokens. legacy: the project's shared `jwt_secret`. url: signs URLs, so that rotating user tokens does not kill them.
 * saml: signs requests to identity providers and opens their assertions.
 */
type KeyUse = 'user' | 'legacy' | 'url' | 'saml'
type KeyState = 'next' | 'current' | 'retired'

export interface RealmKey {
  readonly realm: string
  readonly kid: string
  readonly alg: Alg
  readonly use: KeyUse
  readonly state: KeyState
  /** Signs (private key, or the shared secret). */
  readonly key: KeyObject
  readonly publicKey: KeyObject | null
  /** The text of a shared secret; null for asymmetric keys. */
  readonly secret: string | null
  readonly createdAt: number
  /** ms from which it verifies no more; null: not retired. */
  readonly expiresAt: number | null
}

/** A retired key goes on verifying for this long unless told otherwise. */
export const KEY_OVERLAP = 24 * 3_600_000
const SHARED_SECRET_BYTES = 48
const RSA_BITS = 2048

const context = (realm: string, kid: string): string => `realm_keys/${realm}/${kid}`

function makeSecret(alg: Alg): string {
  if (alg === 'HS256') return randomBytes(SHARED_SECRET_BYTES).toString('base64')
  const { privateKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : alg === 'RS256'
        ? generateKeyPairSync('rsa', { modulusLength: RSA_BITS })
        : generateKeyPairSync('ed25519')
  return JSON.stringify(privateKey.export({ format: 'jwk' }))
}

function openKey(row: RealmKeys, vault: Vault): RealmKey {
  const secret = vault.open(row.secret, context(row.realm, row.kid))
  const { alg } = row
  if (!isAlg(alg)) throw fail('internal', {}, { cause: `realm key ${row.kid} has the algorithm ${alg}` })
  const shared = alg === 'HS256'
  const key = shared ? createSecretKey(Buffer.from(secret)) : createPrivateKey({ key: JSON.parse(secret) as JsonWebKey, format: 'jwk' })
  return {
    realm: row.realm,
    kid: row.kid,
    alg,
    use: row.use as KeyUse,
    state: row.state as KeyState,
    key,
    publicKey: shared ? null : createPublicKey(key),
    secret: shared ? secret : null,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  }
}

/** All keys of a realm that still sign or verify, newest first. */
export async function readRealmKeys(db: Kysely<Tables>, vault: Vault, realm: string, now: number): Promise<RealmKey[]> {
  const rows = await db
    .selectFrom('realm_keys')
    .selectAll()
    .where('realm', '=', realm)
    .orderBy('created_at', 'desc')
    .orderBy('kid', 'desc')
    .execute()
  return rows.filter((row) => row.expires_at === null || row.expires_at > now).map((row) => openKey(row, vault))
}

/** The key that signs now. */
export function currentKey(keys: readonly RealmKey[], use: KeyUse): RealmKey {
  const key = keys.find((each) => each.use === use && each.state === 'current')
  if (!key) throw fail('internal', {}, { cause: `realm has no current ${use} key` })
  return key
}

interface NewKey {
  readonly realm: string
  readonly use: KeyUse
  readonly alg: Alg
  readonly now: number
  readonly state?: KeyState
  /** Text of a shared secret that is brought along (an imported project's), or of a private key (JWK) that was made before. */
  readonly secret?: string
}

export async function insertKey(
  change: Change,
  vault: Vault,
  { realm, use, alg, now, state = 'current', secret }: NewKey,
): Promise<RealmKey> {
  const kid = uuid()
  const row: RealmKeys = {
    realm,
    kid,
    alg,
    use,
    state,
    secret: vault.seal(secret ?? makeSecret(alg), context(realm, kid)),
    created_at: now,
    retired_at: null,
    expires_at: null,
  }
  await change.trx.insertInto('realm_keys').values(row).execute()
  return openKey(row, vault)
}

/** The keys that a new realm starts with; part of the transaction that makes the project. */
export async function createRealmKeys(change: Change, vault: Vault, realm: string, now: number): Promise<RealmKey[]> {
  return [
    await insertKey(change, vault, { realm, use: 'user', alg: 'ES256', now }),
    await insertKey(change, vault, { realm, use: 'legacy', alg: 'HS256', now }),
    await insertKey(change, vault, { realm, use: 'url', alg: 'HS256', now }),
  ]
}

/** A key under a name of its own, where there is none of that name yet: of two at once one is made. */
export async function insertFirstKey(
  change: Change,
  vault: Vault,
  { realm, kid, use, alg, now, secret }: NewKey & { readonly kid: string; readonly secret: string },
): Promise<void> {
  const sealed = vault.seal(secret, context(realm, kid))
  const row = { realm, kid, alg, use, state: 'current', secret: sealed, created_at: now, retired_at: null, expires_at: null }
  if (await insertIfAbsent(change.trx, 'realm_keys', row)) await keysChanged(change, realm, kid)
}

const projectOf = (realm: string): { project_ref?: string } => (realm === 'platform' ? {} : { project_ref: realm })

/** Tells every node to read the realm's keys anew. */
export const keysChanged = (change: Change, realm: string, subject: string): Promise<void> =>
  change.event({ name: 'key.changed', subject, ...projectOf(realm) })

interface Rotation {
  readonly realm: string
  readonly use: KeyUse
  readonly now: number
  /** ms that the former key goes on verifying; 0: not at all. */
  readonly overlap?: number
  readonly alg?: Alg
}

/** A new key signs from now on; the former ones verify for `overlap` more at most. A waiting `next` key is taken first, so that it was published before. */
export async function rotateKey(change: Change, vault: Vault, rotation: Rotation): Promise<RealmKey> {
  const { realm, use, now, overlap = KEY_OVERLAP } = rotation
  const of = () => change.trx.selectFrom('realm_keys').selectAll().where('realm', '=', realm).where('use', '=', use)
  const former = await of().where('state', '=', 'current').executeTakeFirst()
  const next = await of().where('state', '=', 'next').orderBy('created_at').executeTakeFirst()
  await change.trx
    .updateTable('realm_keys')
    .set({ state: 'retired', retired_at: now, expires_at: now + overlap })
    .where('realm', '=', realm)
    .where('use', '=', use)
    .where('state', '=', 'current')
    .execute()
  // Whoever takes a short time, since a secret was seen, means those before it too.
  await change.trx
    .updateTable('realm_keys')
    .set({ expires_at: now + overlap })
    .where('realm', '=', realm)
    .where('use', '=', use)
    .where('state', '=', 'retired')
    .where('expires_at', '>', now + overlap)
    .execute()
  const alg = rotation.alg ?? (isAlg(former?.alg) ? former.alg : use === 'user' ? 'ES256' : 'HS256')
  const taken = next !== undefined && next.alg === alg
  if (taken)
    await change.trx.updateTable('realm_keys').set({ state: 'current' }).where('realm', '=', realm).where('kid', '=', next.kid).execute()
  const key = taken ? openKey({ ...next, state: 'current' }, vault) : await insertKey(change, vault, { realm, use, alg, now })
  await change.event({ name: 'key.rotated', subject: key.kid, ...projectOf(realm), after: { use, alg, former: former?.kid ?? null } })
  await keysChanged(change, realm, key.kid)
  return key
}

/** A retired (or next) key verifies no more from now on, on all nodes. `not_found`; `key_in_use` for a current one. */
export async function revokeKey(change: Change, realm: string, kid: string, now: number): Promise<void> {
  const row = await change.trx
    .selectFrom('realm_keys')
    .select(['state', 'expires_at'])
    .where('realm', '=', realm)
    .where('kid', '=', kid)
    .executeTakeFirst()
  if (!row) throw fail('not_found')
  if (row.state === 'current') throw fail('key_in_use')
  await change.trx
    .updateTable('realm_keys')
    .set({ state: 'retired', retired_at: now, expires_at: now })
    .where('realm', '=', realm)
    .where('kid', '=', kid)
    .execute()
  await keysChanged(change, realm, kid)
}

/** What verifies users' tokens of a project. `issuers`: canonical first, then former ones. */
export function verificationSet(keys: readonly RealmKey[], issuers: readonly string[], audience = 'authenticated'): VerificationSet {
  const byKid = new Map<string, VerifyKey>()
  const shared: VerifyKey[] = []
  for (const { kid, alg, use, key, publicKey, expiresAt } of keys) {
    // A next key verifies already: when it begins to sign, another node may hear of it a moment later.
    if (use === 'url' || use === 'saml') continue
    const verify: VerifyKey = { kid, alg, key: publicKey ?? key, trust: use === 'legacy' ? 'legacy' : 'own', expiresAt }
    byKid.set(kid, verify)
    if (use === 'legacy' && alg === 'HS256') shared.push(verify)
  }
  return { byKid, shared, issuers, audience }
}

/** RFC 7517, public halves only: what /.well-known/jwks.json answers. Keys that come next are in it, so that clients know them in time. */
export function jwks(keys: readonly RealmKey[]): { keys: JsonWebKey[] } {
  const published = keys.flatMap(({ publicKey, alg, kid, use }) =>
    publicKey && use === 'user' ? [{ ...publicKey.export({ format: 'jwk' }), alg, kid, use: 'sig', key_ops: ['verify'] }] : [],
  )
  return { keys: published }
}
