import { hkdfSync, type KeyObject } from 'node:crypto'
import { KEY_BYTES, makeVault, type Vault } from '../../base/crypto.ts'
import type { Realm } from './realm.ts'

const known = new WeakMap<KeyObject, Vault>()

/** Seals what a realm must keep for a few minutes (a verifier, a provider's tokens), so that a copy of its database does not tell it. */
export function sealerOf({ pepper }: Pick<Realm, 'pepper'>): Vault {
  const before = known.get(pepper)
  if (before) return before
  const vault = makeVault(Buffer.from(hkdfSync('sha256', pepper, '', 'flows', KEY_BYTES)))
  known.set(pepper, vault)
  return vault
}
