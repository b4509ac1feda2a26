import type { FieldDef, Submittable } from 'pg'
import { fail } from '../../base/errors.ts'

/** What we use of pg's connection: the messages of the extended protocol. */
interface Wire {
  parse(query: { text: string; types: readonly number[] }): void
  bind(config: { values: readonly (string | null)[] }): void
  describe(message: { type: 'P' }): void
  execute(config: { rows: number }): void
  close(message: { type: 'P' }): void
  flush(): void
  sync(): void
  sendCopyFail(reason: string): void
}

export type Row = readonly (string | null)[]

export interface Batch {
  readonly rows: readonly Row[]
  /** The command tag once the statement is done; null: there are more rows. */
  readonly command: string | null
}

/** Characters of a batch that are held at most, and those that the size of the next one aims at. */
const BATCH_MAX = 64 * 1024 * 1024
const BATCH_AIM = 4 * 1024 * 1024

const COPY = 'COPY from and to the client cannot be run here'

/**
 * One statement by the extended protocol, its rows fetched by the batch: what is not asked for is not made. Values stay PostgreSQL's text.
 * Given to `client.query()`; its methods `handle…` are what pg calls.
 */
export class Portal implements Submittable {
  fields: readonly FieldDef[] = []
  readonly #text: string
  readonly #values: readonly (string | null)[]
  readonly #first: number
  #wire: Wire | null = null
  #rows: Row[] = []
  /** Characters of the batch so far, and of an average row of the last one. */
  #size = 0
  #average = 0
  #command: string | null = null
  #synced = false
  #ended = false
  #error: unknown = null
  #batch = Promise.withResolvers<Batch>()

  constructor(text: string, values: readonly (string | null)[], first: number) {
    this.#text = text
    this.#values = values
    this.#first = first
    this.#batch.promise.catch(() => undefined)
  }

  submit(connection: unknown): void {
    const wire = connection as Wire
    this.#wire = wire
    wire.parse({ text: this.#text, types: [] })
    wire.bind({ values: this.#values })
    wire.describe({ type: 'P' })
    wire.execute({ rows: this.#first })
    wire.flush()
  }

  /** The batch under way. */
  get batch(): Promise<Batch> {
    return this.#batch.promise
  }

  /** Asks for the next `rows`, or fewer where they are large, after a batch without a command. */
  more(most: number): Promise<Batch> {
    const rows = Math.max(1, Math.min(most, Math.floor(BATCH_AIM / Math.max(1, this.#average))))
    this.#batch = Promise.withResolvers()
    this.#batch.promise.catch(() => undefined)
    this.#wire?.execute({ rows })
    this.#wire?.flush()
    return this.#batch.promise
  }

  /** Wants no more rows. Resolves when the connection is free. */
  async stop(): Promise<void> {
    if (this.#ended || this.#error !== null) return
    this.#batch = Promise.withResolvers()
    this.#wire?.close({ type: 'P' })
    this.#sync()
    await this.#batch.promise
  }

  #sync(): void {
    if (this.#synced) return
    this.#synced = true
    this.#wire?.sync()
  }

  handleRowDescription({ fields }: { fields: readonly FieldDef[] }): void {
    this.fields = fields
  }
  handleDataRow({ fields }: { fields: Row }): void {
    for (const text of fields) this.#size += text?.length ?? 0
    if (this.#size <= BATCH_MAX) {
      this.#rows.push(fields)
      return
    }
    // What comes after it is let go as it comes.
    this.#rows = []
    this.#error ??= fail('result_too_large', { limit: BATCH_MAX })
  }
  handlePortalSuspended(): void {
    if (this.#error !== null) {
      this.#sync()
      return
    }
    this.#average = this.#size / Math.max(1, this.#rows.length)
    this.#size = 0
    this.#batch.resolve({ rows: this.#rows, command: null })
    this.#rows = []
  }
  handleCommandComplete({ text }: { text: string }): void {
    this.#command = text
    this.#sync()
  }
  handleEmptyQuery(): void {
    this.#command = ''
    this.#sync()
  }
  handleCopyInResponse(connection: unknown): void {
    ;(connection as Wire).sendCopyFail(COPY)
  }
  handleCopyData(): void {
    this.#error = fail('invalid_request', { reason: COPY })
  }
  handleReadyForQuery(): void {
    this.#ended = true
    if (this.#error === null) this.#batch.resolve({ rows: this.#rows, command: this.#command ?? '' })
    else this.#batch.reject(this.#error)
  }
  handleError(error: unknown): void {
    this.#error = error
    this.#sync()
    this.#batch.reject(error)
  }
}
