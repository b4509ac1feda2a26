import type { Readable } from 'node:stream'
import { collectYoung } from '../../base/trim.ts'
import { asRole, asRoleStream, type Identity } from '../../runtime/engines/postgres/as-role.ts'
import { timedOut } from '../../runtime/engines/postgres/wire/errors.ts'
import type { Gone } from '../../runtime/engines/postgres/wire/job.ts'
import type { PipelinePool } from '../../runtime/engines/postgres/wire/pool.ts'
import type { Preparation } from './before.ts'
import { bind } from './plan/sql.ts'
import type { Streamed } from './plan/types.ts'

/** An answer that is whole by then is sent as any other; of a larger one so much is held at a time. */
const HELD = 1 << 20
/** ms for a reader to take it all; its first bytes come within the time of any statement. */
const READING = 15 * 60_000
/** Bytes after which what was sent is given back: V8 itself waits for 64 MiB. */
const YOUNG = 8 << 20
/** As json_agg prints them. */
const JSON_ROWS = { open: '[', between: ', \n ', close: ']' }

export interface Rows {
  readonly page: number
  /** All of it, or what is left to be read. */
  readonly body: Buffer | Readable
}

/** The client that goes away, or the end of our patience. */
class Patience implements Gone {
  aborted = false
  late = false
  readonly #gone: Gone
  readonly #timer: NodeJS.Timeout
  readonly #listeners = new Set<() => void>()
  readonly #abort = () => {
    this.aborted = true
    for (const listener of this.#listeners) listener()
  }

  constructor(gone: Gone, ms: number) {
    this.#gone = gone
    this.aborted = gone.aborted
    gone.addEventListener('abort', this.#abort)
    this.#timer = setTimeout(() => {
      this.late = true
      this.#abort()
    }, ms)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.add(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.delete(listener)
    if (this.#listeners.size === 0) this.#gone.removeEventListener('abort', this.#abort)
  }
}

/** All of it where it ends within `most` bytes, else null, and nothing of it is lost. */
function wholeOf(stream: Readable, most: number): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const held: Buffer[] = []
    let size = 0
    const settle = (body: Buffer | null) => {
      stream.off('data', take).off('end', end).off('error', reject)
      resolve(body)
    }
    const take = (chunk: Buffer) => {
      held.push(chunk)
      size += chunk.length
      if (size < most) return
      stream.pause()
      stream.unshift(Buffer.concat(held))
      settle(null)
    }
    const end = () => settle(Buffer.concat(held))
    // One that comes before the next reader is there ends the process where nobody listens.
    stream.on('error', () => {})
    stream.on('data', take).once('end', end).once('error', reject)
  })
}

/** Runs a read whose answer may be of any size: it is never in memory as a whole, neither PostgreSQL's nor ours. */
export async function streamRows(
  pool: PipelinePool,
  identity: Identity,
  { rows, count }: Streamed,
  values: readonly string[],
  gone: Gone,
  { before, timeout }: Preparation,
): Promise<Rows> {
  let page = 0
  const signal = new Patience(gone, timeout ?? pool.timeout)
  try {
    let fresh = 0
    const onData = (bytes: number, first: boolean) => {
      if (first) page++
      fresh += bytes
      if (fresh < YOUNG) return
      fresh = 0
      collectYoung()
    }
    const options = { ...JSON_ROWS, onData, signal, readOnly: true, timeout: READING }
    const stream = await asRoleStream(pool, identity, { sql: rows.sql, params: bind(rows.params, values, ''), before }, options)
    signal.stop()
    const whole = await wholeOf(stream, HELD)
    if (whole !== null) return { page, body: whole }
    // The head says how many there are, and goes first.
    const counted = await asRole(
      pool,
      identity,
      { sql: count.sql, params: bind(count.params, values, ''), before },
      { signal, readOnly: true },
    ).catch((error: unknown) => {
      stream.destroy()
      throw error
    })
    return { page: Number(counted.text(0, 0)), body: stream }
  } catch (error) {
    throw signal.late ? timedOut() : error
  } finally {
    signal.stop()
  }
}
