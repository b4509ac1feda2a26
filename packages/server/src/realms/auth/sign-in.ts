import { fail } from '../../base/errors.ts'
import { budgetKey } from '../../base/proxies.ts'
import { mayEnter } from '../users.ts'
import { type Grant, signIn } from './grants.ts'
import { busy, hashed, type Weakness, weaknessOf } from './passwords.ts'
import { isConfirmed } from './people.ts'
import { audit, hidden, limitAddress, MINUTE, type Realm, tooMany } from './realm.ts'

const FAILURE_WINDOW = 15 * MINUTE

/** Sign-in by e-mail and password. Unknown address, wrong password and no password take the same time and answer the same. */
export async function signInByPassword(
  realm: Realm,
  address: unknown,
  password: unknown,
): Promise<{ grant: Grant; weakness: Weakness | null }> {
  const { rules } = realm
  if (!rules.email_enabled) throw fail('auth_email_provider_disabled', { what: 'logins' })
  if (typeof address !== 'string' || typeof password !== 'string' || address.length > 320) throw fail('auth_invalid_credentials')
  await limitAddress(realm, 'sign_ins')
  const email = address.trim().toLowerCase()
  const failures = `failures:${hidden(`${budgetKey(realm.caller.ip ?? '')} ${email}`)}`
  const rule = { amount: rules.rates.failures, window: FAILURE_WINDOW }
  // One is taken before the look, so that many at once are no way around the limit, and given back by a right password.
  const { user, wait } = await realm.transact(async (store) => ({
    wait: await store.take(failures, rule, realm.now()),
    user: await store.userByEmail(email),
  }))
  if (wait > 0) throw tooMany(wait)
  const verdict = await busy(realm.hasher.verify(password, user?.passwordHash ?? null))
  if (!user || !verdict.ok) throw fail('auth_invalid_credentials')
  if (!mayEnter(user, realm.now())) throw fail('auth_sign_in_banned')
  if (!isConfirmed(user)) throw fail('auth_email_not_confirmed')
  const passwordHash = verdict.outdated ? await hashed(realm, password) : null
  const grant = await realm.transact(async (store) => {
    await store.giveBack(failures)
    if (passwordHash !== null) await store.updateUser(user.id, { passwordHash }, realm.now())
    await audit(realm, store, 'login', user, { provider: 'email' })
    return signIn(realm, store, user, 'password')
  })
  return { grant, weakness: weaknessOf(rules, password) }
}
