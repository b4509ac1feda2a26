import { after, before, describe } from 'node:test'
import { eachMetadata } from '../../../../test/databases.ts'
import { type Awake, openWorkshop, type Workshop } from '../runtime/engines/postgres/cluster.testing.ts'
import { clusterTransaction } from './cluster-store.ts'
import { platformStore } from './platform-store.ts'
import { unraced } from './store/raced.ts'
import type { RealmStore } from './store/types.ts'

/** Runs `fn` in one transaction of the realm. */
export type Transact = <R>(fn: (store: RealmStore) => Promise<R>) => Promise<R>

const EMPTY = `truncate auth.users, auth.flow_state, auth.sso_providers, auth.webauthn_challenges, auth.audit_log_entries, sovrabase.auth_mails, sovrabase.auth_rates,
  sovrabase.auth_recovery_codes cascade`

/** Runs `body` for each place where a realm may keep its people: metadata on every database, and a project's own cluster. Each `open()` is empty. */
export function eachRealm(body: (name: string, open: () => Promise<Transact>) => void): void {
  eachMetadata((name, open) => {
    body(`metadata on ${name}`, async () => {
      const { metadata } = await open()
      return (fn) => unraced(() => metadata.transaction((trx) => fn(platformStore(trx))))
    })
  })
  describe('a project’s cluster', () => {
    let workshop: Workshop
    let awake: Awake
    before(async () => {
      workshop = await openWorkshop()
      awake = await workshop.create().wake()
    })
    after(() => workshop?.close())
    body('cluster', async () => {
      await awake.cluster.admin((client) => client.query(EMPTY))
      return (fn) => clusterTransaction(awake.cluster, fn)
    })
  })
}
