import { fail } from '../../base/errors.ts'
import { exchangeToken } from '../sessions.ts'
import type { RealmStore } from '../store/types.ts'
import { mayEnter } from '../users.ts'
import { type Draft, draftFor, endSessions, type Grant, granted, sessionRules } from './grants.ts'
import { audit, limitAddress, type Realm } from './realm.ts'

type Outcome = Draft | 'unknown' | 'reused' | 'over' | 'banned'

/** Exchanges a refresh token. Answers instead of throwing inside the transaction, so that the end of a stolen session is committed. */
export async function refresh(realm: Realm, text: unknown): Promise<Grant> {
  if (typeof text !== 'string' || text === '') throw fail('auth_invalid_request', { reason: 'refresh_token required' })
  await limitAddress(realm, 'refreshes')
  const outcome = await realm.transact((store) => exchange(realm, store, text))
  if (typeof outcome === 'object') return granted(realm, outcome)
  if (outcome === 'reused') throw fail('auth_refresh_token_already_used')
  if (outcome === 'over') throw fail('auth_session_expired')
  throw fail(outcome === 'banned' ? 'auth_refresh_banned' : 'auth_refresh_token_not_found')
}

async function exchange(realm: Realm, store: RealmStore, text: string): Promise<Outcome> {
  const now = realm.now()
  const rules = sessionRules(realm)
  const known = await store.refreshToken(rules.hashRefreshToken(text))
  const [user, session] = known ? await Promise.all([store.userById(known.userId), store.sessionById(known.sessionId)]) : [null, null]
  if (!known || !user || !session) return 'unknown'
  if (!mayEnter(user, now)) return 'banned'
  const { session_inactivity } = realm.rules
  const idle = session_inactivity !== null && (session.refreshedAt ?? session.createdAt) + session_inactivity * 1000 <= now
  const result = idle
    ? ({ kind: 'end', sessionId: session.id, reason: 'over' } as const)
    : await exchangeToken(store, rules, { token: known, session }, now)
  if (result.kind === 'unknown') return 'unknown'
  if (result.kind === 'end') {
    await endSessions(realm, store, [result.sessionId])
    await audit(realm, store, 'token_revoked', user)
    return result.reason
  }
  const { refreshToken } = result
  const [draft] = await Promise.all([
    draftFor(realm, store, user, result.session, { refreshToken, method: 'token_refresh' }),
    audit(realm, store, 'token_refreshed', user),
  ])
  return draft
}
