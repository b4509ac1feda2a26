import { createHash } from 'node:crypto'
import type { Realm } from './realm.ts'

const PREFIX_CHARS = 5
const PATIENCE = 3_000

/**
 * Whether a password is in a list of leaked ones, by the range API of haveibeenpwned.com: only the first 20 bits of its SHA-1 leave, and the
 * answer is padded; where the installation has a list of its own, nothing does. A service that is away lets passwords through: nobody's sign-up waits for it.
 */
export async function isLeaked(realm: Realm, password: string): Promise<boolean> {
  if (!realm.rules.password_leaked) return false
  const hash = createHash('sha1').update(password).digest('hex').toUpperCase()
  if (realm.leaked) return realm.leaked(hash).catch(() => false)
  const rest = hash.slice(PREFIX_CHARS)
  try {
    const answer = await realm.fetch(realm.rules.password_leaked_url + hash.slice(0, PREFIX_CHARS), {
      headers: { 'add-padding': 'true' },
      timeout: PATIENCE,
      maxBytes: 1_048_576,
    })
    if (!answer.ok) return false
    // Padding has a count of 0.
    return (await answer.text()).split(/\r?\n/).some((line) => line.startsWith(`${rest}:`) && !line.endsWith(':0'))
  } catch {
    return false
  }
}
