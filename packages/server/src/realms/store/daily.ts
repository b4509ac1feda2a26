import { fail } from '../../base/errors.ts'
import { mayEnter } from '../users.ts'
import type { DailyStore, RealmStore, RealmUser, Refreshing, Taking } from './types.ts'

type Small = Omit<RealmStore, keyof DailyStore>

async function known(store: Small, hash: string): Promise<Refreshing | null> {
  const token = await store.refreshToken(hash)
  const session = token ? await store.sessionById(token.sessionId) : null
  const user = session ? await store.userById(session.userId) : null
  if (!token || !session || !user) return null
  const [proofs, identities, factors] = [
    await store.proofsOf(session.id),
    await store.identitiesOf(user.id),
    await store.factorsOf(user.id),
  ]
  return { token, session, user, proofs, identities, factors }
}

const isStill = (user: RealmUser | null, proved: string, now: number): boolean =>
  user !== null && user.passwordHash === proved && mayEnter(user, now)

/** The ways of every day in small steps, for databases of every kind. */
export function daily(store: Small): DailyStore {
  const take = ({ key, rule }: Taking, now: number) => store.take(key, rule, now)
  return {
    async refreshing(hash, taking, now) {
      const wait = taking ? await take(taking, now) : 0
      return { wait, known: wait > 0 ? null : await known(store, hash) }
    },
    async rotate({ next, used, entry, now }) {
      await store.insertRefreshToken(next)
      // Losing the race for it means that it was used this instant, which is within the interval.
      if (used !== null) await store.revokeRefreshToken(used, now)
      await store.refreshed(next.sessionId, now)
      await store.audit(entry)
    },
    async knock({ address, failures, attempts, by, value }, now) {
      const over = address ? await take(address, now) : 0
      if (over > 0) return { wait: over, used: 0, user: null }
      const wait = await take(failures, now)
      await take(attempts, now)
      const used = await store.used(attempts.key, attempts.rule, now)
      const found = value === null ? null : by === 'email' ? store.userByEmail(value) : store.userByPhone(value)
      return { wait, used, user: await found }
    },
    async begin({ session, token, method, passwordHash, proved, entry, full = [] }) {
      const { id, userId, createdAt: now } = session
      if (proved !== undefined && !isStill(await store.userById(userId), proved, now)) throw fail('auth_user_not_found')
      await store.insertSession(session)
      await store.insertRefreshToken({ hash: token, userId, sessionId: id, parent: null, createdAt: now })
      await store.addProof(id, method, now)
      await store.updateUser(userId, { lastSignInAt: now, ...(passwordHash ? { passwordHash } : {}) }, now)
      await store.touchIdentity(userId, 'email', now)
      for (const key of full) await store.giveBack(key)
      if (entry) await store.audit(entry)
      return { identities: await store.identitiesOf(userId), factors: await store.factorsOf(userId) }
    },
  }
}
