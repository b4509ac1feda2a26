import { sha256 } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { randomToken, uuid } from '../../base/ids.ts'
import type { Flow, RealmStore, SamlSession } from '../store/types.ts'
import type { Outsider } from './identities.ts'
import { MINUTE, type Realm } from './realm.ts'
import { sealerOf } from './sealer.ts'

/** A flow that leads through another service: from its start to the answer of that service. */
export const FLOW_LIFE = 10 * MINUTE

/** What is kept of a flow until its browser is back. */
export interface Journey {
  readonly provider: string
  readonly redirectTo: string
  /** Of the application (RFC 7636); null: the implicit flow. */
  readonly pkce: { readonly challenge: string; readonly method: string } | null
  /** Ours towards the provider. */
  readonly verifier: string | null
  readonly nonce: string | null
  /** SHA-256 of the cookie of the browser that it began in; null: bound by the application's verifier. */
  readonly cookie: string | null
  /** Who links an identity. */
  readonly userId: string | null
  /** Hidden network that the linking was asked from, where neither cookie nor verifier bind it. */
  readonly from: string | null
}

/** What the exchange of a code gives besides a session. */
export interface Carried {
  readonly providerToken: string | null
  readonly providerRefreshToken: string | null
  /** Linked by whoever has the verifier, so that a link sent to another links nothing. */
  readonly link: Outsider | null
  /** ms at which the provider wants the session to end; null or absent: never. */
  readonly ends?: number | null
  /** As whom the provider knows them, where it can end their sessions; absent: it cannot. */
  readonly saml?: Omit<SamlSession, 'sessionId'>
}

const start = (realm: Realm, provider: string, codeHash: string): Omit<Flow, 'challenge' | 'challengeMethod' | 'sealed'> => ({
  id: uuid(),
  userId: null,
  codeHash,
  provider,
  method: 'oauth',
  createdAt: realm.now(),
  issuedAt: null,
})

/** `state` comes back: random, hashed here, good once. `id`: for who comes back by another name. */
export async function depart(realm: Realm, store: RealmStore, journey: Journey, method = 'oauth'): Promise<{ state: string; id: string }> {
  const state = randomToken()
  const flow = start(realm, journey.provider, sha256(state))
  const { challenge = '', method: challengeMethod = 's256' } = journey.pkce ?? {}
  const sealed = sealerOf(realm).seal(JSON.stringify(journey), flow.id)
  await store.insertFlow({ ...flow, method, challenge, challengeMethod, sealed })
  return { state, id: flow.id }
}

async function used(realm: Realm, store: RealmStore, flow: Flow | null): Promise<Journey | null> {
  if (!flow || flow.issuedAt !== null || flow.sealed === null || !(await store.deleteFlow(flow.id))) return null
  if (flow.createdAt + FLOW_LIFE <= realm.now()) return null
  return JSON.parse(sealerOf(realm).open(flow.sealed, flow.id)) as Journey
}

/** The journey of a `state`, which is used up. null: unknown, used, too late. */
export const arrive = async (realm: Realm, store: RealmStore, state: string): Promise<Journey | null> =>
  used(realm, store, await store.flowByCode(sha256(state)))

/** The same by the flow's id. */
export const arriveAt = async (realm: Realm, store: RealmStore, id: string): Promise<Journey | null> =>
  used(realm, store, await store.flowById(id))

/** A code for the application, to be exchanged with its verifier. */
export async function codeFor(
  realm: Realm,
  store: RealmStore,
  { pkce, provider }: Journey,
  { userId, method, carried }: { userId: string; method: string; carried: Carried },
): Promise<string> {
  if (!pkce) throw fail('internal', {}, { cause: 'a flow without a challenge has no code' })
  const code = uuid()
  const flow = { ...start(realm, provider, sha256(code)), method, challenge: pkce.challenge, challengeMethod: pkce.method }
  await store.insertFlow({ ...flow, sealed: sealerOf(realm).seal(JSON.stringify(carried), flow.id) })
  await store.issueCode(flow.id, sha256(code), userId, realm.now())
  return code
}

export const carriedBy = (realm: Realm, flow: Flow): Carried | null =>
  flow.sealed === null || flow.issuedAt === null ? null : (JSON.parse(sealerOf(realm).open(flow.sealed, flow.id)) as Carried)
