import { createHash } from 'node:crypto'
import { safeEqual, sha256 } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { mayEnter } from '../users.ts'
import { type Carried, carriedBy } from './flows.ts'
import { type Grant, granted, signIn, tie } from './grants.ts'
import { linkTo } from './identities.ts'
import { audit, limitAddress, MINUTE, type Realm } from './realm.ts'

/** From a link in a mail to the exchange of its code (GoTrue's default). */
const CODE_LIFE = 5 * MINUTE

function matches(method: string, challenge: string, verifier: string): boolean {
  const made = method === 's256' ? createHash('sha256').update(verifier).digest('base64url') : verifier
  return safeEqual(made, challenge.replace(/=+$/, ''))
}

/** Grant type `pkce`: once, in time, by whoever has the verifier. */
export async function exchangeCode(realm: Realm, code: unknown, verifier: unknown): Promise<{ grant: Grant; carried: Carried | null }> {
  if (typeof code !== 'string' || typeof verifier !== 'string' || code === '' || verifier === '')
    throw fail('auth_validation_failed', { reason: 'invalid request: both auth code and code verifier should be non-empty' })
  await limitAddress(realm, 'verifications')
  const { draft, carried } = await realm.transact(async (store) => {
    const flow = await store.flowByCode(sha256(code))
    const user = flow?.userId ? await store.userById(flow.userId) : null
    if (!flow || !user || flow.issuedAt === null) throw fail('auth_flow_state_not_found')
    if (flow.issuedAt + CODE_LIFE <= realm.now()) throw fail('auth_flow_state_expired')
    if (!matches(flow.challengeMethod, flow.challenge, verifier)) throw fail('auth_bad_code_verifier')
    if (!mayEnter(user, realm.now())) throw fail('auth_sign_in_banned')
    if (!(await store.deleteFlow(flow.id))) throw fail('auth_flow_state_not_found')
    const carried = carriedBy(realm, flow)
    const who = carried?.link ? await linkTo(realm, store, user.id, carried.link) : user
    await audit(realm, store, 'login', user, { provider: flow.provider })
    return { draft: await tie(store, await signIn(realm, store, who, flow.method), carried ?? {}, realm.now()), carried }
  })
  return { grant: await granted(realm, draft), carried }
}
