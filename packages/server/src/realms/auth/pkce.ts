import { sha256 } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { randomToken, uuid } from '../../base/ids.ts'
import type { RealmStore } from '../store/types.ts'
import type { Realm } from './realm.ts'

export interface PkceChallenge {
  readonly challenge: string
  readonly method: string
}

const CHARACTERS = 'code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes'

/** What a request says of PKCE (RFC 7636); null: nothing, the implicit flow. Throws `auth_validation_failed`. */
export function challengeOf(body: Readonly<Record<string, unknown>>): PkceChallenge | null {
  const { code_challenge, code_challenge_method } = body
  if ((code_challenge ?? '') === '' && (code_challenge_method ?? '') === '') return null
  const method = typeof code_challenge_method === 'string' ? code_challenge_method.toLowerCase() : ''
  if (typeof code_challenge !== 'string' || code_challenge === '' || method === '')
    throw fail('auth_validation_failed', { reason: 'PKCE flow requires code_challenge_method and code_challenge' })
  if (code_challenge.length < 43 || code_challenge.length > 128)
    throw fail('auth_validation_failed', { reason: 'code challenge has to be between 43 and 128 characters' })
  if (!/^[\w.~-]+$/.test(code_challenge)) throw fail('auth_validation_failed', { reason: CHARACTERS })
  if (method !== 's256' && method !== 'plain') throw fail('auth_validation_failed', { reason: 'code challenge method not supported' })
  return { challenge: code_challenge, method }
}

/** Begins a flow; null without a challenge. `method` is how its session will have been proved. */
export async function startFlow(
  realm: Realm,
  store: RealmStore,
  pkce: PkceChallenge | null,
  userId: string,
  method: string,
): Promise<string | null> {
  if (!pkce) return null
  const id = uuid()
  await store.insertFlow({
    id,
    userId,
    codeHash: sha256(randomToken()),
    challenge: pkce.challenge,
    challengeMethod: pkce.method,
    provider: 'email',
    method,
    createdAt: realm.now(),
    issuedAt: null,
    sealed: null,
  })
  return id
}

/** The code that is sent to the application in place of tokens; null: the flow is gone. */
export async function issueCode(realm: Realm, store: RealmStore, flowId: string, userId: string): Promise<string | null> {
  if (!(await store.flowById(flowId))) return null
  const code = uuid()
  await store.issueCode(flowId, sha256(code), userId, realm.now())
  return code
}
