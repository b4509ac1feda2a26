import { uuid } from '../base/ids.ts'
import type { RealmSession, RealmStore, RefreshToken } from './store/types.ts'

/** Rules of one realm's sessions; times in ms. */
export interface SessionRules {
  /** A refresh token that was just used works once more within this time: the answer may have been lost on the way. */
  readonly reuseInterval: number
  /** The session ends this long after its start; null: never. */
  readonly timeBox: number | null
  readonly newRefreshToken: () => string
  /** What is stored in place of a refresh token. */
  readonly hashRefreshToken: (text: string) => string
}

export const REUSE_INTERVAL = 10_000

interface StartedSession {
  readonly session: RealmSession
  readonly refreshToken: string
}

interface SessionOf {
  readonly userId: string
  readonly ip: string | null
  readonly userAgent: string | null
}

const USER_AGENT_CHARS = 255

export async function startSession(store: RealmStore, rules: SessionRules, of: SessionOf, now: number): Promise<StartedSession> {
  const session: RealmSession = {
    id: uuid(),
    userId: of.userId,
    createdAt: now,
    refreshedAt: null,
    notAfter: rules.timeBox === null ? null : now + rules.timeBox,
    aal: 'aal1',
    userAgent: of.userAgent?.slice(0, USER_AGENT_CHARS) ?? null,
    ip: of.ip,
    factorId: null,
  }
  await store.insertSession(session)
  return { session, refreshToken: await addToken(store, rules, session, null, now) }
}

async function addToken(
  store: RealmStore,
  rules: SessionRules,
  session: RealmSession,
  parent: string | null,
  now: number,
): Promise<string> {
  const text = rules.newRefreshToken()
  await store.insertRefreshToken({
    hash: rules.hashRefreshToken(text),
    userId: session.userId,
    sessionId: session.id,
    parent,
    createdAt: now,
  })
  return text
}

type Refreshed =
  | { readonly kind: 'refreshed'; readonly session: RealmSession; readonly refreshToken: string }
  | { readonly kind: 'unknown' }
  /** The session is over (time-box), or its token was used by two: the caller ends the session for good. */
  | { readonly kind: 'end'; readonly sessionId: string; readonly reason: 'reused' | 'over' }

/**
 * Exchanges a refresh token for the next. A token used again after the reuse interval is theft: the whole session ends. Answers instead of
 * throwing, so that the ending can be committed.
 */
export async function refreshSession(store: RealmStore, rules: SessionRules, text: string, now: number): Promise<Refreshed> {
  const token = await store.refreshToken(rules.hashRefreshToken(text))
  const session = token ? await store.sessionById(token.sessionId) : null
  return token && session ? exchangeToken(store, rules, { token, session }, now) : { kind: 'unknown' }
}

/** The same where both were read before in the same transaction. */
export async function exchangeToken(
  store: RealmStore,
  rules: SessionRules,
  { token, session }: { token: RefreshToken; session: RealmSession },
  now: number,
): Promise<Refreshed> {
  if (session.notAfter !== null && session.notAfter <= now) return { kind: 'end', sessionId: session.id, reason: 'over' }
  if (await isTheft(store, rules, token, now)) return { kind: 'end', sessionId: session.id, reason: 'reused' }
  // At once: on a connection that pipelines it is one way there and back.
  const [refreshToken] = await Promise.all([addToken(store, rules, session, token.hash, now), store.refreshed(session.id, now)])
  return { kind: 'refreshed', session, refreshToken }
}

async function isTheft(store: RealmStore, rules: SessionRules, token: RefreshToken, now: number): Promise<boolean> {
  if (token.revoked) return token.updatedAt + rules.reuseInterval < now
  // Losing the race for it means that it was used this instant, which is within the interval.
  await store.revokeRefreshToken(token.hash, now)
  return false
}
