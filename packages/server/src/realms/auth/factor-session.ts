import { createHmac } from 'node:crypto'
import { fail } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import type { Factor, RealmSession, RealmStore, RealmUser } from '../store/types.ts'
import { type Holder, present } from './account.ts'
import { HOUR, MINUTE, type Realm } from './realm.ts'

export const CHALLENGE_LIFE = 5 * MINUTE
/** Wrong codes of one factor, from wherever they come. */
export const TRIES = { amount: 10, window: HOUR }

/** The session that a factor is added to or used in: one of our own tokens, not one that the project's people signed. */
export async function inSession(realm: Realm, store: RealmStore, holder: Holder): Promise<{ user: RealmUser; session: RealmSession }> {
  const { user, session } = await present(realm, store, holder)
  if (!session) throw fail('auth_session_not_found')
  return { user, session }
}

export async function ownFactor(store: RealmStore, user: RealmUser, id: string): Promise<Factor> {
  if (!isUuid(id)) throw fail('auth_id_malformed', { what: 'factor_id' })
  const factor = await store.factorById(id)
  if (!factor || factor.userId !== user.id) throw fail('auth_mfa_factor_not_found')
  return factor
}

/** A second factor is guarded by those that are there already. */
export function demandAal2(factors: readonly Factor[], session: RealmSession, to: 'enroll' | 'unenroll'): void {
  if (session.aal === 'aal2' || factors.every(({ status }) => status !== 'verified')) return
  if (to === 'enroll') throw fail('auth_insufficient_aal_to_enroll', { reason: 'AAL2 required to enroll a new factor' })
  throw fail('auth_insufficient_aal_to_unenroll', { reason: 'AAL2 required to unenroll verified factor' })
}

/** Keyed and bound to the challenge, as the codes of mails are. */
export const phoneCodeHash = (realm: Realm, challengeId: string, code: string): string =>
  createHmac('sha256', realm.pepper).update(`mfa:${challengeId}:${code}`).digest('hex')
