import { fail } from '../../base/errors.ts'
import { endOf } from '../sessions.ts'
import { isGone } from '../store/raced.ts'
import type { RealmStore } from '../store/types.ts'
import { mayEnter } from '../users.ts'
import { type Draft, draftFor, endSessions, type Grant, granted, sessionRules } from './grants.ts'
import { hasHook } from './hooks.ts'
import { audit, entryOf, limitAddress, type Realm, takingOf, tooMany } from './realm.ts'

type Outcome = Draft | number | 'unknown' | 'reused' | 'over' | 'banned'

/** Exchanges a refresh token. Answers instead of throwing inside the transaction, so that the end of a stolen session is committed. */
export async function refresh(realm: Realm, text: unknown): Promise<Grant> {
  if (typeof text !== 'string' || text === '') throw fail('auth_invalid_request', { reason: 'refresh_token required' })
  // The count of an address is one row: no code of the project's own is waited for while it is held.
  const apart = hasHook(realm, 'custom_access_token')
  if (apart) await limitAddress(realm, 'refreshes')
  const outcome = await realm
    .transact((store) => exchange(realm, store, text, !apart))
    .catch((error: unknown): Outcome => {
      // Signed out after we looked: the same as just before.
      if (isGone(error)) return 'unknown'
      throw error
    })
  if (typeof outcome === 'number') throw tooMany(outcome)
  if (typeof outcome === 'object') return granted(realm, outcome)
  if (outcome === 'reused') throw fail('auth_refresh_token_already_used')
  if (outcome === 'over') throw fail('auth_session_expired')
  throw fail(outcome === 'banned' ? 'auth_refresh_banned' : 'auth_refresh_token_not_found')
}

async function exchange(realm: Realm, store: RealmStore, text: string, counts: boolean): Promise<Outcome> {
  const now = realm.now()
  const rules = sessionRules(realm)
  const take = counts ? takingOf(realm, 'refreshes') : null
  const { wait, known } = await store.refreshing(rules.hashRefreshToken(text), take, now)
  if (wait > 0) return wait
  if (!known) return 'unknown'
  const { token, user, session, proofs, identities, factors } = known
  if (!mayEnter(user, now)) return 'banned'
  const { session_inactivity } = realm.rules
  const idle = session_inactivity !== null && (session.refreshedAt ?? session.createdAt) + session_inactivity * 1000 <= now
  const end = idle ? 'over' : endOf(rules, { token, session }, now)
  if (end !== null) {
    await endSessions(realm, store, [session.id])
    await audit(realm, store, 'token_revoked', user)
    return end
  }
  const refreshToken = rules.newRefreshToken()
  const hash = rules.hashRefreshToken(refreshToken)
  const next = { hash, userId: session.userId, sessionId: session.id, parent: token.hash, createdAt: now }
  const entry = entryOf(realm, 'token_refreshed', user)
  await store.rotate({ next, used: token.revoked ? null : token.hash, entry, now }, !hasHook(realm, 'custom_access_token'))
  const read = { proofs, person: { user, identities, factors } }
  return draftFor(realm, store, user, session, { refreshToken, method: 'token_refresh', known: read })
}
