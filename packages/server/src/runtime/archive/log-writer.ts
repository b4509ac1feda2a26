import { promisify } from 'node:util'
import { constants, zstdCompress } from 'node:zlib'
import { fail } from '../../base/errors.ts'
import type { ObjectStore } from '../../base/objects/store.ts'
import type { Position } from '../history.ts'
import { logKey } from './layout.ts'

const compress = promisify(zstdCompress)
/** An object that is smaller is written again, longer: a project that writes little has few objects. */
const GROWS_TO = 1 << 20
/** So much at once is stored without waiting. */
const FULL = 4 << 20
/** So much unstored, and no more is taken. */
const LIMIT = 16 << 20

export interface LogWriterOptions {
  readonly store: ObjectStore
  readonly timeline: number
  /** ms from the first byte until it is on its way. */
  readonly after: () => number
  /** All before `end` is safe. */
  readonly stored: (end: Position, bytes: number) => void
  readonly failed: (error: unknown) => void
  readonly now: () => number
}

/** Collects the log and puts it into the store, at the latest some ms after each byte came. */
export class LogWriter {
  readonly #options: LogWriterOptions
  #parts: Buffer[] = []
  #start: Position | null = null
  #end: Position = 0n
  #length = 0
  /** Of what is collected, so much is in the store. */
  #safe = 0
  /** When the object began. */
  #at = 0
  #timer: NodeJS.Timeout | null = null
  #storing: Promise<void> | null = null
  #closed = false
  /** When the oldest byte came that is not in the store; null: all is. */
  unstoredSince: number | null = null

  constructor(options: LogWriterOptions) {
    this.#options = options
  }

  /** False: wait for `stored` before more is sent. */
  write(at: Position, bytes: Buffer): boolean {
    if (this.#closed || bytes.length === 0) return true
    if (this.#start !== null && at !== this.#end) {
      this.#options.failed(fail('archive_follow_failed', { reason: 'the log has a gap' }))
      return false
    }
    if (this.#start === null) {
      this.#start = at
      this.#at = this.#options.now()
    }
    this.#parts.push(bytes)
    this.#length += bytes.length
    this.#end = at + BigInt(bytes.length)
    this.unstoredSince ??= this.#options.now()
    if (this.#unstored >= FULL) void this.flush()
    else this.#timer ??= setTimeout(() => void this.flush(), this.#options.after()).unref()
    return this.#unstored < LIMIT
  }

  get #unstored(): number {
    return this.#length - this.#safe
  }

  #begin(): void {
    this.#parts = []
    this.#start = null
    this.#length = 0
    this.#safe = 0
  }

  /** Resolves when all that was written before is in the store, or failed. */
  async flush(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    while (this.#storing) await this.#storing
    if (this.#unstored === 0 || this.#closed) return
    this.#storing = this.#store().finally(() => {
      this.#storing = null
    })
    await this.#storing
  }

  async #store(): Promise<void> {
    const { store, timeline, stored, failed } = this.#options
    const [start, length, end, bytes] = [this.#start ?? 0n, this.#length, this.#end, this.#unstored]
    const since = this.unstoredSince
    this.unstoredSince = null
    try {
      const packed = await compress(Buffer.concat(this.#parts, length), { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
      await store.put(logKey(timeline, start, this.#at), packed)
    } catch (error) {
      this.unstoredSince = since
      if (!this.#closed) failed(error)
      return
    }
    this.#settle(length, end)
    if (!this.#closed) stored(end, bytes)
  }

  #settle(length: number, end: Position): void {
    this.#safe = length
    if (length < GROWS_TO) return
    // What came meanwhile begins the next object.
    const more = Buffer.concat(this.#parts).subarray(length)
    const until = this.#end
    this.#begin()
    if (more.length === 0) return
    this.#start = end
    this.#at = this.#options.now()
    this.#parts = [more]
    this.#length = more.length
    this.#end = until
  }

  close(): void {
    this.#closed = true
    if (this.#timer) clearTimeout(this.#timer)
  }
}
