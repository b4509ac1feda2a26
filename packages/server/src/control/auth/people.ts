import { fail } from '../../base/errors.ts'
import { clusterTransaction } from '../../realms/cluster-store.ts'
import { keepingAddresses } from '../../realms/store/addresses.ts'
import type { RealmStore } from '../../realms/store/types.ts'
import type { Cluster } from '../../runtime/engines/postgres/cluster.ts'
import type { Control } from '../context.ts'
import { needProject } from '../projects/store.ts'

/** One transaction over the users of a project, woken if need be. Throws `project_deleted`. */
export const overPeople =
  (control: Control) =>
  async <R>(ref: string, fn: (store: RealmStore) => Promise<R>): Promise<R> => {
    if ((await needProject(control.db, ref)).state !== 'active') throw fail('project_deleted')
    const hold = await control.connector.hold(ref, 'db', 'auth')
    try {
      return await clusterTransaction(hold.attached<Cluster>(), (store) => fn(keepingAddresses(store, control.keepAddress)))
    } finally {
      hold.release()
    }
  }
