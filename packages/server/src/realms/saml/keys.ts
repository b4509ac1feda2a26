import { generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import type { Kysely } from 'kysely'
import type { Vault } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import type { Actor, Change, Changer } from '../../metadata/change.ts'
import type { Tables } from '../../metadata/tables.ts'
import { insertFirstKey, insertKey, keysChanged, type RealmKey, readRealmKeys, rotateKey } from '../keys.ts'

const RSA_BITS = 2048
const FIRST = 'saml'
/** A former key goes on opening assertions for as long as providers may remember our metadata: many are set up by hand. */
export const SAML_OVERLAP = 30 * 24 * 3_600_000

export const ofSaml = (keys: readonly RealmKey[]): RealmKey[] => keys.filter(({ use }) => use === 'saml')

/** Outside of any transaction: it takes its time. */
async function makeSecret(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: RSA_BITS })
  return JSON.stringify(privateKey.export({ format: 'jwk' }))
}

export interface Keyring {
  readonly db: Kysely<Tables>
  readonly vault: Vault
  readonly change: Changer
  readonly realm: string
}

/** The living keys of single sign-on, newest first: a realm gets its first one when it needs one. Two at once make one. */
export async function samlKeys({ db, vault, change, realm }: Keyring, by: Actor): Promise<RealmKey[]> {
  const read = async () => ofSaml(await readRealmKeys(db, vault, realm, Date.now()))
  const known = await read()
  if (known.some(({ state }) => state === 'current')) return known
  const secret = await makeSecret()
  await change(by, (c) => insertFirstKey(c, vault, { realm, kid: FIRST, use: 'saml', alg: 'RS256', now: c.now, secret }))
  return read()
}

/** The next key: in our metadata from now on, so that providers know it before it signs. */
export async function prepareSaml({ vault, change, realm }: Keyring, by: Actor): Promise<RealmKey> {
  const secret = await makeSecret()
  return change(by, async (c) => {
    const key = await insertKey(c, vault, { realm, use: 'saml', alg: 'RS256', now: c.now, state: 'next', secret })
    await keysChanged(c, realm, key.kid)
    return key
  })
}

/** The next key signs; former ones open what is encrypted for them for `overlap` (ms). Throws `key_not_prepared`: nobody knows one that is made now. */
export const rotateSaml = ({ vault, change, realm }: Keyring, by: Actor, overlap = SAML_OVERLAP): Promise<RealmKey> =>
  change(by, async (c) => {
    if (!(await isPrepared(c, realm))) throw fail('key_not_prepared')
    return rotateKey(c, vault, { realm, use: 'saml', alg: 'RS256', now: c.now, overlap })
  })

async function isPrepared({ trx }: Change, realm: string): Promise<boolean> {
  const next = trx.selectFrom('realm_keys').select('kid').where('realm', '=', realm).where('use', '=', 'saml').where('state', '=', 'next')
  return (await next.executeTakeFirst()) !== undefined
}
