import { createHash } from 'node:crypto'
import { randomToken } from '../../base/ids.ts'
import { type SessionRules, startSession } from '../sessions.ts'
import type { Proof, RealmSession, RealmStore, RealmUser } from '../store/types.ts'
import { signToken } from '../tokens.ts'
import { type Person, personOf } from './people.ts'
import type { Realm } from './realm.ts'

/** What a sign-in gives; times in seconds, as OAuth has them. */
export interface Grant {
  readonly accessToken: string
  readonly refreshToken: string
  readonly expiresIn: number
  readonly expiresAt: number
  readonly person: Person
  readonly sessionId: string
}

const REFRESH_BYTES = 24
/** Refresh tokens of other systems are short and stored as they are: those of an imported project go on working. Ours are never so short. */
const FOREIGN_CHARS = 24

export const sessionRules = ({ rules }: Pick<Realm, 'rules'>): SessionRules => ({
  reuseInterval: rules.refresh_reuse_interval * 1000,
  timeBox: rules.session_timebox === null ? null : rules.session_timebox * 1000,
  newRefreshToken: () => randomToken(REFRESH_BYTES),
  hashRefreshToken: (text) => (text.length < FOREIGN_CHARS ? text : createHash('sha256').update(text).digest('hex')),
})

/** The claims of an access token, in the order that readers know. */
function claimsOf(realm: Realm, user: RealmUser, session: RealmSession, proofs: readonly Proof[], iat: number): Record<string, unknown> {
  return {
    iss: realm.issuer,
    sub: user.id,
    aud: user.aud,
    exp: iat + realm.rules.jwt_expiry,
    iat,
    email: user.email ?? '',
    phone: user.phone ?? '',
    app_metadata: user.appMetadata,
    user_metadata: user.userMetadata,
    role: user.role,
    aal: session.aal,
    amr: proofs.map(({ method, at }) => ({ method, timestamp: Math.floor(at / 1000) })),
    session_id: session.id,
    is_anonymous: user.anonymous,
  }
}

/** Signs for a session that stands. */
export async function grantFor(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  session: RealmSession,
  refreshToken: string,
): Promise<Grant> {
  const iat = Math.floor(realm.now() / 1000)
  const { key, rules } = realm
  const proofs = await store.proofsOf(session.id)
  const named = key.use === 'legacy' ? { alg: key.alg, key: key.key } : { alg: key.alg, key: key.key, kid: key.kid }
  return {
    accessToken: signToken(claimsOf(realm, user, session, proofs, iat), named),
    refreshToken,
    expiresIn: rules.jwt_expiry,
    expiresAt: iat + rules.jwt_expiry,
    person: await personOf(store, user),
    sessionId: session.id,
  }
}

/** Ends sessions: their refresh tokens with them, and their access tokens on all nodes. */
export async function endSessions(realm: Realm, store: RealmStore, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  for (const id of ids) await store.deleteSession(id)
  await realm.deny(ids)
}

/** A new session, proved by `method`. */
export async function signIn(realm: Realm, store: RealmStore, user: RealmUser, method: string): Promise<Grant> {
  const now = realm.now()
  if (realm.rules.single_session) {
    const others = await store.sessionsOf(user.id)
    await endSessions(
      realm,
      store,
      others.map(({ id }) => id),
    )
  }
  const { ip, userAgent } = realm.caller
  const { session, refreshToken } = await startSession(store, sessionRules(realm), { userId: user.id, ip, userAgent }, now)
  await store.addProof(session.id, method, now)
  await store.updateUser(user.id, { lastSignInAt: now }, now)
  const identity = (await store.identitiesOf(user.id)).find(({ provider }) => provider === 'email')
  if (identity) await store.updateIdentity(identity.id, { lastSignInAt: now }, now)
  return grantFor(realm, store, { ...user, lastSignInAt: now, updatedAt: now }, session, refreshToken)
}
