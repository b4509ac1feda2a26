import type { KeepAddress } from '../../base/kept-address.ts'
import type { AuditEntry, RealmSession, RealmStore } from './types.ts'

/** The same store; of the addresses that it is given it writes down what may be kept (`log.addresses`). */
export function keepingAddresses(store: RealmStore, keep: KeepAddress): RealmStore {
  const session = (given: RealmSession): RealmSession => ({ ...given, ip: keep(given.ip) })
  const entry = (given: AuditEntry): AuditEntry => ({ ...given, ip: keep(given.ip) ?? '' })
  const own: Partial<RealmStore> = {
    insertSession: (given) => store.insertSession(session(given)),
    // GoTrue's column is no address where there is none, but not null.
    insertChallenge: (given) => store.insertChallenge({ ...given, ip: keep(given.ip) ?? '0.0.0.0' }),
    audit: (given) => store.audit(entry(given)),
    rotate: (given, last) => store.rotate({ ...given, entry: entry(given.entry) }, last),
    begin: (given, last) =>
      store.begin({ ...given, session: session(given.session), ...(given.entry ? { entry: entry(given.entry) } : {}) }, last),
  }
  // Not copied: a cluster's store makes what is asked of it only when it is.
  return new Proxy(own, { get: (target, name: keyof RealmStore) => target[name] ?? store[name] }) as RealmStore
}
