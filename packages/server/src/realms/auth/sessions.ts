import { fail } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import type { RealmSession, RealmStore } from '../store/types.ts'
import { type Holder, present } from './account.ts'
import { needUser } from './admin.ts'
import { endSessions, endSessionsOf } from './grants.ts'
import { audit, auditOf, type Realm } from './realm.ts'

/** The living sessions of a user, newest first. */
async function livingOf(realm: Realm, store: RealmStore, userId: string): Promise<RealmSession[]> {
  const now = realm.now()
  return (await store.sessionsOf(userId)).filter(({ notAfter }) => notAfter === null || notAfter > now)
}

export interface OwnSessions {
  readonly sessions: readonly RealmSession[]
  /** The one that asks. */
  readonly current: string | null
}

export const ownSessions = (realm: Realm, holder: Holder): Promise<OwnSessions> =>
  realm.transact(async (store) => {
    const { user, session } = await present(realm, store, holder)
    return { sessions: await livingOf(realm, store, user.id), current: session?.id ?? null }
  })

export const sessionsOfUser = (realm: Realm, userId: string): Promise<RealmSession[]> =>
  realm.transact(async (store) => livingOf(realm, store, (await needUser(store, userId)).id))

async function end(realm: Realm, store: RealmStore, userId: string, id: string): Promise<void> {
  const session = isUuid(id) ? await store.sessionById(id) : null
  if (!session || session.userId !== userId) throw fail('auth_no_such_session')
  await endSessions(realm, store, [session.id])
}

/** One of the own sessions ends, everywhere at once. Throws `auth_no_such_session`. */
export const endOwnSession = (realm: Realm, holder: Holder, id: string): Promise<void> =>
  realm.transact(async (store) => {
    const { user } = await present(realm, store, holder)
    await end(realm, store, user.id, id)
    await audit(realm, store, 'token_revoked', user, { session_id: id })
  })

/** By an administrator; null: all of them. */
export const endSessionOfUser = (realm: Realm, userId: string, id: string | null): Promise<void> =>
  realm.transact(async (store) => {
    const user = await needUser(store, userId)
    if (id === null) await endSessionsOf(realm, store, user.id)
    else await end(realm, store, user.id, id)
    await auditOf(realm, store, 'token_revoked', user, id === null ? {} : { session_id: id })
  })
