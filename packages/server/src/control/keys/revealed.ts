import { type ApiKey as Key, type ApiKeyWithText as KeyWithText, revealApiKeys } from '../../realms/api-keys.ts'
import { currentKey, readRealmKeys } from '../../realms/keys.ts'
import type { Control } from '../context.ts'
import { time, timeOrNull } from '../pages.ts'

export const keyView = (key: Key) => ({
  id: key.id,
  name: key.name,
  kind: key.kind,
  role: key.role,
  prefix: key.prefix,
  created_at: time(key.createdAt),
  expires_at: timeOrNull(key.expiresAt),
  revoked_at: timeOrNull(key.revokedAt),
})
export const withText = (key: KeyWithText) => ({ ...keyView(key), key: key.text })

/** Reads what `key:reveal` shows: the newest of each kind under the names that people know. */
export async function revealed({ db, vault, now }: Control, ref: string) {
  const keys = await revealApiKeys(db, vault, ref, now())
  const legacy = currentKey(await readRealmKeys(db, vault, ref, now()), 'legacy')
  const newest = (kind: string) => keys.find((key) => key.kind === kind)?.text ?? ''
  return {
    anon_key: newest('anon'),
    service_role_key: newest('service_role'),
    jwt_secret: legacy.secret ?? '',
    keys: keys.map(withText),
  }
}
