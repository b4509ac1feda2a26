import type pg from 'pg'
import { fail } from '../../../../base/errors.ts'
import { readSeen, type Seen } from './read.ts'
import { sharedDigest } from './shared.ts'
import type { Catalogue } from './types.ts'

/** The channel that the system schema's DDL event trigger notifies, and the one that PostgREST's users do. */
export const DDL_CHANNEL = 'sovrabase_ddl'
export const RELOAD_CHANNEL = 'pgrst'

/** ms after a wake with a known catalogue until it is read: the request that woke the cluster has the machine first. */
const SETTLE_MS = 1_000

/** The current catalogue of one run of a cluster. */
export interface CatalogueHolder {
  readonly current: Catalogue
  /** Next transaction of the cluster when it was last read; undefined: not read in this run. */
  readonly xid: string | undefined
  /**
   * Reads once more before an error is answered that a stale catalogue could have caused. The read begins after the call, callers share it.
   * Resolves to true where `current` is now another than `seen`: try the request again.
   */
  fresh(seen: Catalogue): Promise<boolean>
  /**
   * Reads once more where what tells nobody has changed since the last read (`alter role … set`, role grants): for whoever has a reason to think
   * so. Costs a small query where nothing has.
   */
  look(): Promise<void>
  /** Called with each new catalogue; returns how to stop. */
  onChange(listener: (catalogue: Catalogue) => void): () => void
  close(): void
}

export interface HolderOptions {
  /**
   * The catalogue of the cluster's last run, kept by this process: nobody can change a schema while the cluster sleeps, so the wake does not wait
   * for a read. It is read soon after all the same, in case the last notification came too late.
   */
  known?: Catalogue
  /** Settles when `client` is connected, where it is not yet. */
  connected?: Promise<unknown>
  /** Lends the connection that reads; default: the one that LISTENs. */
  reader?: (fn: (client: pg.Client) => Promise<Seen>) => Promise<Seen>
  /** Lends the connection that `look` asks; default: the one that LISTENs. */
  looker?: (fn: (client: pg.Client) => Promise<string>) => Promise<string>
  /** Given the text of each new catalogue, before anybody has it. */
  onText?: (catalogue: Catalogue, text: string) => void
  /** A read that a notification started has failed: the old catalogue stays; the next notification or `fresh` tries again. */
  onError?: (error: unknown) => void
}

/** One run at a time; who asks during one gets the next, which begins later than the question. */
function serial(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  let waiting: Promise<void> | undefined
  const next = (): Promise<void> => {
    if (running === undefined) {
      running = run().finally(() => {
        running = undefined
      })
      return running
    }
    waiting ??= running
      .catch(() => undefined)
      .then(() => {
        waiting = undefined
        return next()
      })
    return waiting
  }
  return next
}

/**
 * Reads the catalogue and keeps it current: LISTENs on `client` (a connection of sovrabase_admin that is no activity; the caller ends it after
 * `close`). Resolves once the first catalogue is there.
 */
export async function holdCatalogue(client: pg.Client, options: HolderOptions = {}): Promise<CatalogueHolder> {
  const listeners = new Set<(catalogue: Catalogue) => void>()
  let current = options.known
  let xid: string | undefined
  let shared: string | undefined
  let closed = false

  const reader = options.reader ?? ((fn) => fn(client))
  const looker = options.looker ?? ((fn) => fn(client))

  const listen = async (): Promise<void> => {
    await options.connected
    await client.query(`set search_path = pg_catalog; listen ${DDL_CHANNEL}; listen ${RELOAD_CHANNEL}`)
  }
  const listening = listen()
  listening.catch(() => undefined)

  const read = async (): Promise<void> => {
    // LISTEN comes before each read: a change after it is notified, and read again.
    const seen = await reader(async (from) => {
      await listening
      // Before the read: what changes between the two is seen by the next look.
      shared = await sharedDigest(from)
      return readSeen(from, current)
    })
    const next = seen.catalogue
    xid = seen.xid
    if (seen.text !== null && !closed) options.onText?.(next, seen.text)
    const changed = current !== undefined && next !== current && !closed
    current = next
    if (changed) for (const listener of listeners) listener(next)
  }
  const refresh = serial(read)
  const look = serial(async () => {
    await listening
    if (current !== undefined && !closed && (await looker(sharedDigest)) !== shared) await refresh()
  })
  const notified = () => {
    if (!closed && current !== undefined) refresh().catch((error: unknown) => options.onError?.(error))
  }

  client.on('notification', notified)
  const settled = current === undefined ? undefined : setTimeout(notified, SETTLE_MS).unref()
  if (current === undefined) await refresh()
  const now = (): Catalogue => {
    if (current === undefined) throw fail('internal')
    return current
  }
  return {
    get current() {
      return now()
    },
    get xid() {
      return xid
    },
    fresh: async (seen) => {
      if (current !== seen) return true
      await refresh()
      return current !== seen
    },
    look,
    onChange: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: () => {
      closed = true
      clearTimeout(settled)
      listeners.clear()
      client.off('notification', notified)
    },
  }
}
