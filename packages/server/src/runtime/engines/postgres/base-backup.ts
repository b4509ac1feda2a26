import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type pg from 'pg'
import type { TarApart } from '../../../base/archive/tar-apart.ts'
import { fail } from '../../../base/errors.ts'
import { nodePg } from '../../../base/later.ts'
import type { Endpoint } from '../../driver.ts'
import { adminConnection, setForRun } from './connections.ts'

/** Kinds of messages within the copy (PostgreSQL docs, "Streaming Replication Protocol", BASE_BACKUP). */
const NEW_ARCHIVE = 0x6e
const MANIFEST = 0x6d
const DATA = 0x64
/** Bytes that are handed on at a time, of messages of 32 KiB: each is a trip to the thread that compresses. */
const CHUNK = 1 << 20
/** What may wait for the reader: so reading goes on while one is compressed. */
const AHEAD = 4 * CHUNK

/** configuration_limit_exceeded */
const SLOTS_TAKEN = '53400'

interface Connection {
  query(text: string): void
  readonly stream: { pause(): void; resume(): void; destroy(): void }
}

export interface BaseCopyResult {
  /** Position and timeline where the log begins that it needs. */
  readonly start: readonly [lsn: string, timeline: string]
  /** From here on it is consistent. */
  readonly stop: readonly [lsn: string, timeline: string]
  readonly manifest: Buffer
}

/** What pg's client calls of a query: it hands over the raw messages of a COPY to whoever asks for them. */
class BaseCopy extends Readable {
  readonly #client: pg.Client
  readonly #text: string
  readonly #rows: string[][] = []
  readonly #manifest: Buffer[] = []
  #connection: Connection | null = null
  #archives = 0
  #inManifest = false
  #filling = Buffer.allocUnsafeSlow(CHUNK)
  #filled = 0
  readonly result = Promise.withResolvers<BaseCopyResult>()

  constructor(client: pg.Client, text: string) {
    super({ highWaterMark: AHEAD })
    this.#client = client
    this.#text = text
    this.result.promise.catch(() => {})
    client.on('error', (error) => this.destroy(error))
  }

  submit(connection: Connection): void {
    this.#connection = connection
    connection.query(this.#text)
  }

  handleRowDescription(): void {}
  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}

  handleDataRow({ fields }: { fields: string[] }): void {
    this.#rows.push(fields)
  }

  handleCopyData({ chunk }: { chunk: Buffer }): void {
    if (chunk[0] === NEW_ARCHIVE && ++this.#archives > 1) {
      this.destroy(fail('parcel_failed', { reason: 'it has tablespaces' }))
      return
    }
    if (chunk[0] === MANIFEST) this.#inManifest = true
    if (chunk[0] !== DATA) return
    // The parser uses its buffer again.
    if (this.#inManifest) this.#manifest.push(Buffer.from(chunk.subarray(1)))
    else this.#gather(chunk.subarray(1))
  }

  #gather(data: Buffer): void {
    if (this.#filled + data.length > CHUNK) this.#flush()
    if (data.length > CHUNK) {
      this.#hand(Buffer.from(data))
      return
    }
    this.#filled += data.copy(this.#filling, this.#filled)
  }

  #flush(): void {
    if (this.#filled === 0) return
    this.#hand(this.#filling.subarray(0, this.#filled))
    this.#filling = Buffer.allocUnsafeSlow(CHUNK)
    this.#filled = 0
  }

  #hand(data: Buffer): void {
    if (!this.push(data)) this.#connection?.stream.pause()
  }

  handleError(error: Error): void {
    this.destroy(fail('parcel_failed', { reason: error.message }, { cause: error }))
  }

  handleReadyForQuery(): void {
    const [start, stop] = [this.#rows[0], this.#rows.at(-1)]
    if (start?.[0] && start[1] && stop?.[0] && stop[1])
      this.result.resolve({ start: [start[0], start[1]], stop: [stop[0], stop[1]], manifest: Buffer.concat(this.#manifest) })
    else this.result.reject(fail('parcel_failed', { reason: 'its end is missing' }))
    this.#flush()
    this.push(null)
  }

  override _read(): void {
    this.#connection?.stream.resume()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // One that is broken off would send on to its end.
    if (error) this.#connection?.stream.destroy()
    this.result.reject(error ?? fail('parcel_failed', { reason: 'it was broken off' }))
    this.#client.end().catch(() => {})
    done(error)
  }
}

/** A base backup on a connection of the replication protocol, which it closes at its end. */
export function copyBase(client: pg.Client, options: string): { readonly tar: Readable; readonly result: Promise<BaseCopyResult> } {
  const copy = new BaseCopy(client, `BASE_BACKUP (LABEL 'sovrabase', CHECKPOINT 'fast', ${options})`)
  client.query(copy as unknown as pg.Submittable)
  return { tar: copy, result: copy.result.promise }
}

/** The data directory of a running cluster as a tar, over the replication protocol: nothing stops, no tool is needed. */
export const baseBackup = (at: Endpoint, password: string): TarApart => ({
  module: import.meta.url,
  args: { at, password } satisfies BaseArgs,
  // The protocol says itself when it is broken off.
  whole: Promise.resolve(),
})

interface BaseArgs {
  readonly at: Endpoint
  readonly password: string
}

/** What the log may grow by while a copy is read. */
const ROOM = { max_slot_wal_keep_size: '4GB' }

/** Opens what `baseBackup` says. */
export async function open({ at, password }: BaseArgs): Promise<Readable> {
  const { options: _, ...connection } = adminConnection(at, password)
  await setForRun(at, password, ROOM)
  const client = new (nodePg().Client)({ ...connection, replication: 'true' } as pg.ClientConfig)
  await client.connect()
  try {
    // It is sent last: a checkpoint meanwhile would take away what somebody writes, or autovacuum, behind the copy's begin. The slot goes with the session.
    await client.query(`CREATE_REPLICATION_SLOT "sovrabase_base_${randomBytes(6).toString('hex')}" TEMPORARY PHYSICAL RESERVE_WAL`)
  } catch (error) {
    // People have taken all slots: most copies end well without.
    if ((error as pg.DatabaseError).code !== SLOTS_TAKEN) {
      await client.end().catch(() => {})
      throw error
    }
  }
  // WAL of the copy's own time rides in it: it needs nothing else to start.
  return copyBase(client, `WAL true, MANIFEST 'no'`).tar
}
