import { setTimeout } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { Log } from '../../../base/log.ts'
import { type CatalogueStore, catalogueStore } from './catalogue/store.ts'
import type { Catalogue } from './catalogue/types.ts'
import type { Cluster } from './cluster.ts'

/** Catalogues of clusters that slept last, kept in memory: some 55 KiB each for an empty project. Those of all are on disk, half a millisecond of a wake away. */
const CATALOGUES = 50
/** ms for the last read before a sleep. */
const LAST_READ_MS = 1_000

/** What is known of clusters that sleep, by service. */
export interface Known {
  /** `xid`: the cluster's next transaction at this wake. */
  get(id: string, xid: string): Promise<Catalogue | undefined>
  /** A catalogue that was read, to be kept on disk. */
  read(id: string, catalogue: Catalogue, text: string): void
  /** One last read, since not all that changes it is told (role settings, grants): what sleeps then is what wakes. */
  keep(id: string, cluster: Pick<Cluster, 'catalogue'>): Promise<void>
  /** The service is gone. */
  forget(id: string): Promise<void>
}

/** `folder`: where they survive this process; undefined: nowhere. */
export function makeKnown(folder: string | undefined, log: Log): Known {
  const catalogues = new LRUCache<string, Catalogue>({ max: CATALOGUES })
  const store: CatalogueStore | undefined = folder === undefined ? undefined : catalogueStore(folder)
  /** By service: the catalogue whose text is on disk, and when it will be. */
  const written = new Map<string, { readonly digest: string; readonly done: Promise<boolean> }>()
  const failed = (error: unknown): false => {
    log.warn({ err: error }, 'could not keep a catalogue on disk')
    return false
  }

  async function stamp(id: string, catalogue: Catalogue, xid: string | undefined): Promise<void> {
    const on = written.get(id)
    if (store === undefined || xid === undefined || on?.digest !== catalogue.digest || !(await on.done)) return
    await store.stamp(id, catalogue.digest, xid).catch(failed)
  }

  return {
    async get(id, xid) {
      const known = catalogues.get(id)
      if (known !== undefined || store === undefined) return known
      const found = await store.get(id, xid)
      if (found !== undefined) written.set(id, { digest: found.digest, done: Promise.resolve(true) })
      return found
    },
    read(id, { digest }, text) {
      if (store === undefined) return
      const before = written.get(id)?.done ?? Promise.resolve(true)
      const done = before.then(() => store.keep(id, text)).then(() => true, failed)
      written.set(id, { digest, done })
    },
    async keep(id, { catalogue }) {
      catalogues.delete(id)
      const read = catalogue.fresh(catalogue.current).then(
        () => true,
        () => false,
      )
      if (!(await Promise.race([read, setTimeout(LAST_READ_MS, false, { ref: false })]))) return
      catalogues.set(id, catalogue.current)
      await stamp(id, catalogue.current, catalogue.xid)
    },
    async forget(id) {
      catalogues.delete(id)
      written.delete(id)
      await store?.forget(id)
    },
  }
}
