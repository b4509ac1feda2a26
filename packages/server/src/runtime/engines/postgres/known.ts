import { setTimeout } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { Catalogue } from './catalogue/types.ts'
import type { Cluster } from './cluster.ts'

/** Catalogues of sleeping clusters that are kept, so that a wake need not wait for a read. */
const CATALOGUES = 200
/** ms for the last read before a sleep. */
const LAST_READ_MS = 1_000

/** What is known of clusters that sleep, by service. */
export interface Known {
  get(id: string): Catalogue | undefined
  /** One last read, since not all that changes it is told (role settings, grants): what sleeps then is what wakes. */
  keep(id: string, cluster: Cluster): Promise<void>
}

export function makeKnown(): Known {
  const catalogues = new LRUCache<string, Catalogue>({ max: CATALOGUES })
  return {
    get: (id) => catalogues.get(id),
    async keep(id, { catalogue }) {
      catalogues.delete(id)
      const read = catalogue.fresh(catalogue.current).then(
        () => true,
        () => false,
      )
      if (await Promise.race([read, setTimeout(LAST_READ_MS, false, { ref: false })])) catalogues.set(id, catalogue.current)
    },
  }
}
