import { Readable } from 'node:stream'
import pg from 'pg'
import { fail } from '../../../base/errors.ts'
import type { Endpoint } from '../../driver.ts'
import { adminConnection } from './connections.ts'

/** WAL of the copy's own time rides in it: it needs nothing else to start. */
const TEXT = `BASE_BACKUP (LABEL 'sovrabase', CHECKPOINT 'fast', WAL true, MANIFEST 'no')`

/** Kinds of messages within the copy (PostgreSQL docs, "Streaming Replication Protocol", BASE_BACKUP). */
const NEW_ARCHIVE = 0x6e
const DATA = 0x64

interface Connection {
  query(text: string): void
  readonly stream: { pause(): void; resume(): void; destroy(): void }
}

/** What pg's client calls of a query: it hands over the raw messages of a COPY to whoever asks for them. */
class BaseBackup extends Readable {
  readonly #client: pg.Client
  #connection: Connection | null = null
  #archives = 0

  constructor(client: pg.Client) {
    super({ highWaterMark: 1 << 20 })
    this.#client = client
    client.on('error', (error) => this.destroy(error))
  }

  submit(connection: Connection): void {
    this.#connection = connection
    connection.query(TEXT)
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}

  handleCopyData({ chunk }: { chunk: Buffer }): void {
    if (chunk[0] === NEW_ARCHIVE && ++this.#archives > 1) {
      this.destroy(fail('parcel_failed', { reason: 'it has tablespaces' }))
      return
    }
    // The parser uses its buffer again.
    if (chunk[0] === DATA && !this.push(Buffer.from(chunk.subarray(1)))) this.#connection?.stream.pause()
  }

  handleError(error: Error): void {
    this.destroy(fail('parcel_failed', { reason: error.message }, { cause: error }))
  }

  handleReadyForQuery(): void {
    this.push(null)
  }

  override _read(): void {
    this.#connection?.stream.resume()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // One that is broken off would send on to its end.
    if (error) this.#connection?.stream.destroy()
    this.#client.end().catch(() => {})
    done(error)
  }
}

/** The data directory of a running cluster as a tar, over the replication protocol: nothing stops, no tool is needed. */
export async function baseBackup(at: Endpoint, password: string): Promise<Readable> {
  const { options: _, ...connection } = adminConnection(at, password)
  const client = new pg.Client({ ...connection, replication: 'true' } as pg.ClientConfig)
  await client.connect()
  const copy = new BaseBackup(client)
  client.query(copy as unknown as pg.Submittable)
  return copy
}
