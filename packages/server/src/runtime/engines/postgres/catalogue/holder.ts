import type pg from 'pg'
import { fail } from '../../../../base/errors.ts'
import { readCatalogue } from './read.ts'
import type { Catalogue } from './types.ts'

/** The channel that the system schema's DDL event trigger notifies, and the one that PostgREST's users do. */
export const DDL_CHANNEL = 'sovrabase_ddl'
export const RELOAD_CHANNEL = 'pgrst'

/** The current catalogue of one run of a cluster. */
export interface CatalogueHolder {
  readonly current: Catalogue
  /**
   * Reads once more before an error is answered that a stale catalogue could have caused. The read begins after the call, callers share it.
   * Resolves to true where `current` is now another than `seen`: try the request again.
   */
  fresh(seen: Catalogue): Promise<boolean>
  /** Called with each new catalogue; returns how to stop. */
  onChange(listener: (catalogue: Catalogue) => void): () => void
  close(): void
}

export interface HolderOptions {
  /**
   * The catalogue of the cluster's last run, kept by this process: nobody can change a schema while the cluster sleeps, so the wake does not wait
   * for a read. It is read in the background all the same, in case the last notification came too late.
   */
  known?: Catalogue
  /** A read that a notification started has failed: the old catalogue stays; the next notification or `fresh` tries again. */
  onError?: (error: unknown) => void
}

/**
 * Reads the catalogue and keeps it current: LISTENs on `client` (a connection of sovrabase_admin that is no activity; given for this alone,
 * the caller ends it after `close`). Resolves once the first catalogue is there.
 */
export async function holdCatalogue(client: pg.Client, options: HolderOptions = {}): Promise<CatalogueHolder> {
  const listeners = new Set<(catalogue: Catalogue) => void>()
  let current = options.known
  let running: Promise<void> | undefined
  let waiting: Promise<void> | undefined
  let closed = false

  const read = async (): Promise<void> => {
    const next = await readCatalogue(client, current)
    const changed = current !== undefined && next !== current && !closed
    current = next
    if (changed) for (const listener of listeners) listener(next)
  }
  /** One read at a time; who asks during one gets the next, which begins later than the question. */
  const refresh = (): Promise<void> => {
    if (running === undefined) {
      running = read().finally(() => {
        running = undefined
      })
      return running
    }
    waiting ??= running
      .catch(() => undefined)
      .then(() => {
        waiting = undefined
        return refresh()
      })
    return waiting
  }
  const notified = () => {
    if (!closed && current !== undefined) refresh().catch((error: unknown) => options.onError?.(error))
  }

  client.on('notification', notified)
  // LISTEN comes before the first read: a change in between is notified, and read after it.
  await client.query(`select pg_catalog.set_config('search_path', 'pg_catalog', false); listen ${DDL_CHANNEL}; listen ${RELOAD_CHANNEL}`)
  if (current === undefined) await refresh()
  else refresh().catch((error: unknown) => options.onError?.(error))
  const now = (): Catalogue => {
    if (current === undefined) throw fail('internal')
    return current
  }
  return {
    get current() {
      return now()
    },
    fresh: async (seen) => {
      if (current !== seen) return true
      await refresh()
      return current !== seen
    },
    onChange: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: () => {
      closed = true
      listeners.clear()
      client.off('notification', notified)
    },
  }
}
