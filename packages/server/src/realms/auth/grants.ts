import { createHash } from 'node:crypto'
import { randomToken } from '../../base/ids.ts'
import { newSession, type SessionRules } from '../sessions.ts'
import type { Beginning, Json, Proof, RealmSession, RealmStore, RealmUser } from '../store/types.ts'
import { signToken } from '../tokens.ts'
import type { Carried } from './flows.ts'
import { claimsFrom, hasHook, hookInside, hookOutside } from './hooks.ts'
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

/** What a transaction settled; `granted()` makes tokens of it once that is committed. */
export interface Draft {
  readonly claims: Json
  readonly method: string
  readonly refreshToken: string
  readonly person: Person
  readonly sessionId: string
  /** The session began here: it ends again if no token comes of it. */
  readonly begins: boolean
}

const REFRESH_BYTES = 24
/** Refresh tokens of other systems are short and stored as they are: those of an imported project go on working. Ours are never so short. */
const FOREIGN_CHARS = 24

const plainHash = (text: string): string => (text.length < FOREIGN_CHARS ? text : createHash('sha256').update(text).digest('hex'))

export const sessionRules = ({ rules, hashRefreshToken = plainHash }: Pick<Realm, 'rules' | 'hashRefreshToken'>): SessionRules => ({
  reuseInterval: rules.refresh_reuse_interval * 1000,
  timeBox: rules.session_timebox === null ? null : rules.session_timebox * 1000,
  newRefreshToken: () => randomToken(REFRESH_BYTES),
  hashRefreshToken,
})

/** Single sign-on names its provider, which policies read. */
function amrOf({ method, at }: Proof, { appMetadata: { provider } }: RealmUser): Json {
  const entry = { method, timestamp: Math.floor(at / 1000) }
  return method === 'sso/saml' && typeof provider === 'string' ? { ...entry, provider: provider.replace(/^sso:/, '') } : entry
}

/** The claims of an access token, in the order that readers know. */
function claimsOf(realm: Realm, user: RealmUser, session: RealmSession, proofs: readonly Proof[]): Json {
  const iat = Math.floor(realm.now() / 1000)
  return {
    iss: realm.issuer,
    sub: user.id,
    aud: realm.audience ?? user.aud,
    exp: iat + realm.rules.jwt_expiry,
    iat,
    email: user.email ?? '',
    phone: user.phone ?? '',
    app_metadata: user.appMetadata,
    user_metadata: user.userMetadata,
    role: user.role,
    aal: session.aal,
    amr: proofs.map((proof) => amrOf(proof, user)),
    session_id: session.id,
    is_anonymous: user.anonymous,
  }
}

interface Drafting {
  readonly refreshToken: string
  /** As hooks read it: `password`, `token_refresh`, … */
  readonly method: string
  readonly begins?: boolean
  /** What was read already. */
  readonly known?: { readonly proofs: readonly Proof[]; readonly person: Person }
}

/** For a session that stands, in the transaction that knows it. */
export async function draftFor(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  session: RealmSession,
  { refreshToken, method, begins = false, known }: Drafting,
): Promise<Draft> {
  const [proofs, person] = known ? [known.proofs, known.person] : await Promise.all([store.proofsOf(session.id), personOf(store, user)])
  const claims = claimsOf(realm, user, session, proofs)
  const answer = await hookInside(realm, store, 'custom_access_token', { user_id: user.id, claims, authentication_method: method })
  return { claims: answer ? claimsFrom(answer, claims) : claims, method, refreshToken, person, sessionId: session.id, begins }
}

/** Signs the access token; after the transaction, since a hook may be a URL. A session whose hook refuses ends. */
export async function granted(realm: Realm, draft: Draft): Promise<Grant> {
  const { key, rules } = realm
  const { person, refreshToken, sessionId } = draft
  const hookedClaims = await hooked(realm, draft).catch(async (error: unknown) => {
    if (draft.begins) await realm.transact((store) => endSessions(realm, store, [sessionId]))
    throw error
  })
  const claims = withDue(realm, person, hookedClaims)
  const named = key.use === 'legacy' ? { alg: key.alg, key: key.key } : { alg: key.alg, key: key.key, kid: key.kid }
  const exp = typeof claims.exp === 'number' ? claims.exp : Math.floor(realm.now() / 1000) + rules.jwt_expiry
  const iat = typeof claims.iat === 'number' ? claims.iat : exp - rules.jwt_expiry
  return { accessToken: signToken(claims, named), refreshToken, expiresIn: exp - iat, expiresAt: exp, person, sessionId }
}

/** The gateway knows no factors: the token says that one is still to be shown, whatever a hook makes of it. */
function withDue({ rules }: Realm, { factors }: Person, claims: Json): Json {
  if (rules.mfa_enforced === 'off' || claims.aal === 'aal2' || !factors.some(({ status }) => status === 'verified')) return claims
  return { ...claims, mfa_due: true }
}

async function hooked(realm: Realm, { claims, method, person }: Draft): Promise<Json> {
  const answer = await hookOutside(realm, 'custom_access_token', { user_id: person.user.id, claims, authentication_method: method })
  return answer ? claimsFrom(answer, claims) : claims
}

/** Ends sessions: their refresh tokens with them, and their access tokens on all nodes. */
export async function endSessions(realm: Realm, store: RealmStore, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  for (const id of ids) await store.deleteSession(id)
  await realm.deny(ids)
}

/** Ends all sessions of a user, but one. */
export async function endSessionsOf(realm: Realm, store: RealmStore, userId: string, but: string | null = null): Promise<void> {
  const sessions = await store.sessionsOf(userId)
  await endSessions(
    realm,
    store,
    sessions.map(({ id }) => id).filter((id) => id !== but),
  )
}

/** What the provider says of its own session: no session outlives that, and one that it names is found again when it ends there. */
export async function tie(store: RealmStore, draft: Draft, { ends, saml }: Pick<Carried, 'ends' | 'saml'>, now: number): Promise<Draft> {
  const { sessionId } = draft
  // The provider may be gone since its answer came.
  if (saml && (await store.ssoById(saml.providerId))) await store.insertSamlSession({ ...saml, sessionId }, now)
  if (ends === null || ends === undefined) return draft
  const session = await store.sessionById(sessionId)
  const notAfter = Math.min(ends, session?.notAfter ?? ends)
  await store.updateSession(sessionId, { notAfter }, now)
  return draft
}

interface Besides extends Pick<Beginning, 'entry' | 'full' | 'passwordHash' | 'proved'> {
  /** Nothing of the caller's follows in the transaction. */
  readonly last?: boolean
}

/** A new session, proved by `method`; and what is written with it. */
export async function signIn(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  method: string,
  { last = false, ...besides }: Besides = {},
): Promise<Draft> {
  const now = realm.now()
  if (realm.rules.single_session) await endSessionsOf(realm, store, user.id)
  const { ip, userAgent } = realm.caller
  const rules = sessionRules(realm)
  const session = newSession(rules, { userId: user.id, ip, userAgent }, now)
  const entered = { ...user, lastSignInAt: now, updatedAt: now }
  const refreshToken = rules.newRefreshToken()
  const beginning = { session, token: rules.hashRefreshToken(refreshToken), method, ...besides }
  const theirs = await store.begin(beginning, last && !hasHook(realm, 'custom_access_token'))
  const person = { user: entered, ...theirs }
  const known = { proofs: [{ method, at: now }], person }
  return draftFor(realm, store, entered, session, { refreshToken, method, begins: true, known })
}
