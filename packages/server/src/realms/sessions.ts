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

/** A session that begins, before it is written. */
export const newSession = (rules: SessionRules, of: SessionOf, now: number): RealmSession => ({
  id: uuid(),
  userId: of.userId,
  createdAt: now,
  refreshedAt: null,
  notAfter: rules.timeBox === null ? null : now + rules.timeBox,
  aal: 'aal1',
  userAgent: of.userAgent?.slice(0, USER_AGENT_CHARS) ?? null,
  ip: of.ip,
  factorId: null,
})

export async function startSession(store: RealmStore, rules: SessionRules, of: SessionOf, now: number): Promise<StartedSession> {
  const session = newSession(rules, of, now)
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
  if (!token || !session) return { kind: 'unknown' }
  const reason = endOf(rules, { token, session }, now)
  if (reason !== null) return { kind: 'end', sessionId: session.id, reason }
  return { kind: 'refreshed', session, refreshToken: await rotate(store, rules, { token, session }, now) }
}

interface Used {
  readonly token: RefreshToken
  readonly session: RealmSession
}

/** Why a session ends with this use of a token of its own: its time is over, or two have the token; null: it goes on. */
export function endOf(rules: SessionRules, { token, session }: Used, now: number): 'reused' | 'over' | null {
  if (session.notAfter !== null && session.notAfter <= now) return 'over'
  return token.revoked && token.updatedAt + rules.reuseInterval < now ? 'reused' : null
}

/** The next token. At once: on a connection that pipelines it is one way there and back. */
async function rotate(store: RealmStore, rules: SessionRules, { token, session }: Used, now: number): Promise<string> {
  const [text] = await Promise.all([
    addToken(store, rules, session, token.hash, now),
    // Losing the race for it means that it was used this instant, which is within the interval.
    token.revoked ? null : store.revokeRefreshToken(token.hash, now),
    store.refreshed(session.id, now),
  ])
  return text
}
