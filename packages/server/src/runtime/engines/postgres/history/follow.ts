import type pg from 'pg'
import { fail } from '../../../../base/errors.ts'
import { nodePg } from '../../../../base/later.ts'
import type { Endpoint } from '../../../driver.ts'
import type { Following, FollowOptions, Position } from '../../../history.ts'
import { adminConnection } from '../connections.ts'
import { parseLsn, printLsn } from './lsn.ts'

/** Keeps for us what we have not confirmed, over any restart. */
export const SLOT = 'sovrabase_archive'

/** Messages within the stream (PostgreSQL docs, "Streaming Replication Protocol"). */
const LOG = 0x77
const KEEPALIVE = 0x6b
const STATUS = 0x72
const LOG_HEADER = 25
const KEEPALIVE_ASKS = 17
/** ms between 1970 and 2000, where PostgreSQL's clock begins. */
const EPOCH = 946_684_800_000n

interface Connection {
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  on(name: 'replicationStart', listener: () => void): void
  readonly stream: { pause(): void; resume(): void; destroy(): void }
}

interface Ends {
  started(): void
  failed(error: Error): void
}

/** What pg's client calls of a query that is a stream in both directions. */
class LogStream {
  readonly #text: string
  readonly #options: FollowOptions
  readonly #ends: Ends
  #connection: Connection | null = null
  #confirmed: Position
  /** The server said that this was all. */
  finished = false

  constructor(text: string, from: Position, options: FollowOptions, ends: Ends) {
    this.#text = text
    this.#confirmed = from
    this.#options = options
    this.#ends = ends
  }

  submit(connection: Connection): void {
    this.#connection = connection
    connection.on('replicationStart', () => this.#ends.started())
    connection.query(this.#text)
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}
  handleReadyForQuery(): void {}

  handleCommandComplete(): void {
    this.finished = true
  }

  handleError(error: Error): void {
    this.#ends.failed(error)
  }

  handleCopyData({ chunk }: { chunk: Buffer }): void {
    if (chunk[0] === LOG) {
      // The parser uses its buffer again.
      const more = this.#options.write(chunk.readBigUInt64BE(1), Buffer.from(chunk.subarray(LOG_HEADER)))
      if (!more) this.#connection?.stream.pause()
    } else if (chunk[0] === KEEPALIVE && chunk[KEEPALIVE_ASKS] === 1) this.#options.asked()
  }

  confirm(position: Position): void {
    if (position > this.#confirmed) this.#confirmed = position
    const message = Buffer.alloc(34)
    message[0] = STATUS
    for (const at of [1, 9, 17]) message.writeBigUInt64BE(this.#confirmed, at)
    message.writeBigInt64BE((BigInt(Date.now()) - EPOCH) * 1000n, 25)
    this.#connection?.sendCopyFromChunk(message)
  }

  resume(): void {
    this.#connection?.stream.resume()
  }
}

async function one(client: pg.Client, text: string): Promise<Record<string, string | null>> {
  return (await client.query<Record<string, string | null>>(text)).rows[0] ?? {}
}

/** 55000, 58P01: it is invalidated, or its segments are gone. */
const LOST = new Set(['55000', '58P01'])
/** The server before this one still follows it. */
const IN_USE = '55006'
const codeOf = (error: unknown): string => (error as { code?: string }).code ?? ''

async function slotPosition(client: pg.Client, fresh: boolean): Promise<Position> {
  const read = async () => one(client, `READ_REPLICATION_SLOT ${SLOT}`)
  let slot = await read()
  if (fresh && slot.slot_type) {
    await client.query(`DROP_REPLICATION_SLOT ${SLOT} WAIT`)
    slot = {}
  }
  if (!slot.slot_type) {
    if (!fresh) throw fail('history_lost', { reason: 'nothing was kept for it' })
    await client.query(`CREATE_REPLICATION_SLOT ${SLOT} PHYSICAL RESERVE_WAL`)
    slot = await read()
  }
  if (!slot.restart_lsn) throw fail('history_lost', { reason: 'more was written than is kept' })
  return parseLsn(slot.restart_lsn)
}

export async function segmentSize(client: pg.Client): Promise<number> {
  const { wal_segment_size: text = '' } = await one(client, 'SHOW wal_segment_size')
  const [, number = '16', unit = 'MB'] = /^(\d+)(kB|MB|GB)$/.exec(text ?? '') ?? []
  return Number(number) * { kB: 1 << 10, MB: 1 << 20, GB: 1 << 30 }[unit as 'MB']
}

export async function replicationClient(at: Endpoint, password: string): Promise<pg.Client> {
  const { options: _, ...connection } = adminConnection(at, password)
  const client = new (nodePg().Client)({ ...connection, replication: 'true' } as pg.ClientConfig)
  await client.connect()
  return client
}

/** The log of a running cluster over the replication protocol, as pg_receivewal does it. */
export async function followLog(at: Endpoint, password: string, options: FollowOptions): Promise<Following> {
  const client = await replicationClient(at, password)
  let closed = false
  const close = () => {
    closed = true
    ;(client as unknown as { connection: Connection }).connection.stream.destroy()
  }
  const ended = Promise.withResolvers<void>()
  ended.promise.catch(() => {})
  try {
    const position = await slotPosition(client, options.fresh)
    // The first page of a segment says what it is: a log that begins within one is of no use.
    const from = options.fresh ? position - (position % BigInt(await segmentSize(client))) : position
    const { timeline } = await one(client, 'IDENTIFY_SYSTEM')
    const started = Promise.withResolvers<void>()
    const text = `START_REPLICATION SLOT ${SLOT} PHYSICAL ${printLsn(from)} TIMELINE ${timeline}`
    const stream = new LogStream(text, from, options, { started: started.resolve, failed: started.reject })
    client.on('error', () => {})
    client.once('end', () => {
      const reason = closed ? 'it was ended' : 'the connection ended'
      const error = fail('archive_follow_failed', { reason })
      started.reject(error)
      if (stream.finished && !closed) ended.resolve()
      else ended.reject(error)
    })
    client.query(stream as unknown as pg.Submittable)
    await started.promise
    return {
      timeline: Number(timeline),
      from,
      confirm: (to) => stream.confirm(to),
      resume: () => stream.resume(),
      ended: ended.promise,
      close,
    }
  } catch (cause) {
    close()
    if (codeOf(cause) === IN_USE) throw fail('archive_follow_failed', { reason: 'another server follows it' }, { cause })
    throw LOST.has(codeOf(cause)) ? fail('history_lost', { reason: 'more was written than is kept' }, { cause }) : cause
  }
}

/** Nothing is kept for us any more. */
export async function forgetLog(at: Endpoint, password: string): Promise<void> {
  const client = await replicationClient(at, password)
  try {
    const slot = await one(client, `READ_REPLICATION_SLOT ${SLOT}`)
    if (slot.slot_type) await client.query(`DROP_REPLICATION_SLOT ${SLOT} WAIT`)
  } finally {
    await client.end().catch(() => {})
  }
}
