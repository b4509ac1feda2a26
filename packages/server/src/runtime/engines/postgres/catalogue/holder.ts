import { setTimeout as pause } from 'node:timers/promises'
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

/** Characters of a catalogue that are read without a rest after them, and ms of rest for each so many: its owner may change it without end. */
const LIGHT = 1 << 20
const REST_MS = 200

/** ms until a catalogue of so much text is read again. */
export const restAfter = (characters: number): number => (characters > LIGHT ? Math.ceil((characters / LIGHT) * REST_MS) : 0)

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

class Holder implements CatalogueHolder {
  readonly #client: pg.Client
  readonly #options: HolderOptions
  readonly #listening: Promise<unknown>
  readonly #listeners = new Set<(catalogue: Catalogue) => void>()
  #current: Catalogue | undefined
  #xid: string | undefined
  /** Of what tells nobody, as it was before the last read. */
  #shared: string | undefined
  #closed = false
  #rest: Promise<unknown> | undefined
  #settled: NodeJS.Timeout | undefined
  readonly #refresh = serial(() => this.#read())
  readonly #notified = () => {
    if (!this.#closed && this.#current !== undefined) this.#refresh().catch((error: unknown) => this.#options.onError?.(error))
  }
  readonly look = serial(() => this.#look())

  constructor(client: pg.Client, options: HolderOptions) {
    this.#client = client
    this.#options = options
    this.#current = options.known
    this.#listening = this.#listen()
    this.#listening.catch(() => undefined)
  }

  /** Once; resolves when there is a catalogue. */
  async begin(): Promise<this> {
    this.#client.on('notification', this.#notified)
    if (this.#current === undefined) await this.#refresh()
    else this.#settled = setTimeout(this.#notified, SETTLE_MS).unref()
    return this
  }

  get current(): Catalogue {
    if (this.#current === undefined) throw fail('internal')
    return this.#current
  }

  get xid(): string | undefined {
    return this.#xid
  }

  async fresh(seen: Catalogue): Promise<boolean> {
    if (this.#current !== seen) return true
    await this.#refresh()
    return this.#current !== seen
  }

  onChange(listener: (catalogue: Catalogue) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#settled)
    this.#listeners.clear()
    this.#client.off('notification', this.#notified)
  }

  async #listen(): Promise<void> {
    await this.#options.connected
    await this.#client.query(`set search_path = pg_catalog; listen ${DDL_CHANNEL}; listen ${RELOAD_CHANNEL}`)
  }

  async #read(): Promise<void> {
    const { reader = (fn) => fn(this.#client), onText } = this.#options
    await this.#rest
    // LISTEN comes before each read: a change after it is notified, and read again.
    const seen = await reader(async (from) => {
      await this.#listening
      // Before the read: what changes between the two is seen by the next look.
      this.#shared = await sharedDigest(from)
      return readSeen(from, this.#current)
    })
    const next = seen.catalogue
    this.#xid = seen.xid
    const rest = restAfter(seen.text?.length ?? 0)
    this.#rest = rest === 0 ? undefined : pause(rest, null, { ref: false })
    if (seen.text !== null && !this.#closed) onText?.(next, seen.text)
    const changed = this.#current !== undefined && next !== this.#current && !this.#closed
    this.#current = next
    if (changed) for (const listener of this.#listeners) listener(next)
  }

  async #look(): Promise<void> {
    const { looker = (fn) => fn(this.#client) } = this.#options
    await this.#listening
    if (this.#current !== undefined && !this.#closed && (await looker(sharedDigest)) !== this.#shared) await this.#refresh()
  }
}

/**
 * Reads the catalogue and keeps it current: LISTENs on `client` (a connection of sovrabase_admin that is no activity; the caller ends it after
 * `close`). Resolves once the first catalogue is there.
 */
export const holdCatalogue = (client: pg.Client, options: HolderOptions = {}): Promise<CatalogueHolder> =>
  new Holder(client, options).begin()
