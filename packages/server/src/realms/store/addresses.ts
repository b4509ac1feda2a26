import type { KeepAddress } from '../../base/kept-address.ts'
import type { RealmStore } from './types.ts'

/** The same store; of the addresses that it is given it writes down what may be kept (`log.addresses`). */
export const keepingAddresses = (store: RealmStore, keep: KeepAddress): RealmStore => ({
  ...store,
  insertSession: (session) => store.insertSession({ ...session, ip: keep(session.ip) }),
  // GoTrue's column is no address where there is none, but not null.
  insertChallenge: (challenge) => store.insertChallenge({ ...challenge, ip: keep(challenge.ip) ?? '0.0.0.0' }),
  audit: (entry) => store.audit({ ...entry, ip: keep(entry.ip) ?? '' }),
})
