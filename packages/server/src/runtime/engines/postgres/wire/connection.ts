import type { Duplex } from 'node:stream'
import { fail } from '../../../../base/errors.ts'
import { connectionLost, type DatabaseFields, databaseError, fieldsOf, isStalePlan, LONG_ERROR } from './errors.ts'
import type { Exchange, Step } from './exchange.ts'
import type { PoolMetrics } from './metrics.ts'
import { bindHead, MAX_PARAMETERS, Reply, TERMINATE, Writer } from './protocol.ts'
import { Reader } from './reader.ts'
import { addRow, columnsOf, countOf, Result } from './result.ts'
import type { SignedIn } from './sign-in.ts'
import { type Prepared, StatementCache } from './statement-cache.ts'

const UNNAMED = bindHead('')
/** Transaction state of ReadyForQuery: none open. */
const IDLE = 0x49
const COMPACT_AT = 1_024

export interface ConnectionOptions {
  /** Prepared statements kept. */
  readonly statements: number
  readonly metrics: PoolMetrics
  readonly now: () => number
  /** Called once when the connection is of no more use, after its exchanges were told. */
  readonly onEnd: (connection: Connection) => void
}

/** One signed-in socket on which exchanges are sent without waiting for one another, and answered in order. */
export class Connection {
  readonly pid: number
  readonly key: number
  /** Since when the oldest open exchange is the server's turn (clock of the pool); meaningless without one. */
  headSince = 0
  /** When the last exchange ended, or the connection began. */
  lastUsed: number
  /** Nothing more may be sent. */
  ended = false

  readonly #stream: Duplex
  readonly #options: ConnectionOptions
  readonly #statements: StatementCache
  readonly #reader: Reader
  readonly #writer = new Writer()
  readonly #flush = () => this.#write()
  #queue: (Exchange | null)[] = []
  #head = 0
  #scheduled = false
  #evicted: Prepared[] = []
  /** Prepared forms of the steps of the exchange that is being written. */
  readonly #entries: (Prepared | null)[] = []
  #state = IDLE
  #readAt = 0
  #paused = false
  #closed = false

  constructor(signedIn: SignedIn, options: ConnectionOptions) {
    this.pid = signedIn.pid
    this.key = signedIn.key
    this.#stream = signedIn.stream
    this.#options = options
    this.#statements = new StatementCache(options.statements)
    this.#reader = new Reader(this)
    this.lastUsed = options.now()
    this.#stream.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#stream.once('close', () => this.#end('it was closed'))
    this.#stream.on('error', () => undefined)
    if (this.#stream.destroyed) queueMicrotask(() => this.#end('it was closed'))
  }

  get outstanding(): number {
    return this.#queue.length - this.#head
  }

  get inTransaction(): boolean {
    return this.#state !== IDLE
  }

  get preparedStatements(): number {
    return this.#statements.size
  }

  /** Puts the exchange behind the open ones; it is written at the end of this turn of the event loop, in one write with its neighbours. */
  send(exchange: Exchange): void {
    const steps = exchange.steps
    const fresh = this.#prepare(steps)
    try {
      for (let i = 0; i < steps.length; i++) this.#step(exchange, steps[i]!, i, (fresh & (1 << i)) !== 0)
    } catch (error) {
      // Half an exchange lies in the writer: whatever came next would run under its settings.
      this.destroy('a message could not be written')
      throw error
    }
    this.#writer.sync()
    if (this.outstanding === 0) this.headSince = this.#options.now()
    this.#queue.push(exchange)
    this.#schedule()
  }

  /** Forgets all prepared statements. */
  invalidate(): void {
    const dropped = this.#statements.clear()
    if (dropped.length === 0 || this.ended) return
    for (const entry of dropped) this.#writer.closeStatement(entry.name)
    // A Close is answered without a Sync; the next exchange's Sync covers it.
    this.#schedule()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#stream.resume()
  }

  /** Ends at once; what is open fails. */
  destroy(reason: string): void {
    this.#stream.destroy()
    this.#end(reason)
  }

  /** Says good-bye and closes; for connections without open exchanges. */
  close(): void {
    if (this.ended) return
    this.#closed = true
    this.#stream.write(TERMINATE)
    this.#end('it was closed by the pool')
  }

  /**
   * Finds or makes the prepared form of each step, into `#entries`; the answer has a bit for each new one.
   * Evicted ones are closed first: a Close behind an error of this exchange would be skipped.
   */
  #prepare(steps: readonly Step[]): number {
    let fresh = 0
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!
      let entry = step.once === true ? null : this.#statements.get(step.sql, step.scope)
      if (step.params.length > MAX_PARAMETERS)
        throw fail('statement_unsupported', { reason: `it has more than ${MAX_PARAMETERS} parameters` })
      if (entry === null && step.sql.includes('\0')) throw fail('statement_unsupported', { reason: 'its text contains a zero byte' })
      if (entry === null && step.once !== true) {
        entry = this.#statements.add(step.sql, step.scope, this.#evicted)
        fresh |= 1 << i
      }
      this.#entries[i] = entry
    }
    if (this.#evicted.length > 0) {
      for (const entry of this.#evicted) this.#writer.closeStatement(entry.name)
      this.#options.metrics.evicted += this.#evicted.length
      this.#evicted = []
    }
    return fresh
  }

  #step(exchange: Exchange, step: Step, index: number, fresh: boolean): void {
    const entry = this.#entries[index]!
    if (index === exchange.main) exchange.prepared = entry
    if (entry === null || fresh) {
      exchange.parsing ??= []
      exchange.parsing.push(entry)
      this.#options.metrics.parsed++
      const name = entry?.name ?? ''
      this.#writer.parse(name, step.sql)
      this.#writer.describe(name)
    }
    this.#writer.bindExecute(entry?.head ?? UNNAMED, step.params)
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#flush)
  }

  #write(): void {
    this.#scheduled = false
    const data = this.#writer.take()
    if (data === null || this.ended) return
    if (Buffer.isBuffer(data)) this.#stream.write(data)
    else {
      this.#stream.cork()
      for (const buffer of data) this.#stream.write(buffer)
      this.#stream.uncork()
    }
    // The usual end of a write: the kernel has it all.
    if (this.#stream.writableLength === 0) this.#writer.reuse()
  }

  #read(chunk: Buffer): void {
    this.#readAt = this.#options.now()
    this.#options.metrics.bytesRead += chunk.length
    this.#reader.feed(chunk)
  }

  /** Reader's calls. */
  wantsPieces(): boolean {
    const exchange = this.#queue[this.#head]
    return exchange != null && exchange.sink !== null && exchange.step === exchange.main
  }

  /** No result is larger than its exchange allows, no error than anybody reads, and what is only noticed is not held. */
  takes(type: number, size: number): boolean {
    const exchange = this.#queue[this.#head]
    switch (type) {
      case Reply.notice:
      case Reply.notification:
        return false
      case Reply.error:
        if (exchange == null) return false
        this.#failed(exchange, LONG_ERROR)
        return false
      case Reply.dataRow:
        if (exchange == null || exchange.step !== exchange.main || exchange.error !== null) return false
        if (exchange.bytes + size <= exchange.maxBytes) return true
        exchange.error = fail('result_too_large', { limit: exchange.maxBytes })
        exchange.result = null
        return false
    }
    return true
  }

  piece(data: Buffer | null, first: boolean, last: boolean): void {
    const exchange = this.#queue[this.#head]
    if (exchange == null) return
    exchange.bytes += 1 + (data?.length ?? 0)
    const more = exchange.sink?.push(data, first, last)
    if (more === false && !this.#paused) {
      this.#paused = true
      this.#stream.pause()
    }
  }

  message(type: number, data: Buffer, start: number, end: number): void {
    if (type === Reply.notice || type === Reply.parameterStatus || type === Reply.notification) return
    const exchange = this.#queue[this.#head]
    if (exchange == null) {
      this.#unasked(type, data, start, end)
      return
    }
    switch (type) {
      case Reply.bindComplete:
        exchange.started = true
        return
      case Reply.dataRow:
        if (exchange.step === exchange.main) this.#row(exchange, data, start, end)
        return
      case Reply.commandComplete:
        if (exchange.step === exchange.main) resultOf(exchange).affected = countOf(data, start, end)
        exchange.step++
        return
      case Reply.ready:
        this.#state = data[start]!
        this.#finish(exchange)
        return
      case Reply.parseComplete:
        exchange.parsing?.shift()
        return
      case Reply.rowDescription:
        this.#describe(exchange, columnsOf(data, start))
        return
      case Reply.error:
        this.#refused(exchange, data, start, end)
        return
      case Reply.emptyQuery:
      case Reply.suspended:
        exchange.step++
        return
      case Reply.copyIn:
      case Reply.copyOut:
      case Reply.copyBoth:
        exchange.error = fail('statement_unsupported', { reason: 'COPY needs a connection of its own' })
        this.destroy('a COPY was refused')
    }
  }

  #row(exchange: Exchange, data: Buffer, start: number, end: number): void {
    if (exchange.error !== null) return
    if (exchange.sink !== null) {
      exchange.error = fail('statement_unsupported', { reason: 'only a single column can be streamed' })
      return
    }
    exchange.bytes += end - start
    if (exchange.bytes > exchange.maxBytes) {
      exchange.error = fail('result_too_large', { limit: exchange.maxBytes })
      exchange.result = null
      return
    }
    addRow(resultOf(exchange), data, start)
  }

  #describe(exchange: Exchange, columns: readonly { name: string; type: number }[]): void {
    const main = exchange.step === exchange.main
    if (!main) return
    if (exchange.prepared !== null) exchange.prepared.columns = columns
    else resultOf(exchange).columns = columns
  }

  #refused(exchange: Exchange, data: Buffer, start: number, end: number): void {
    this.#failed(exchange, fieldsOf(data, start, end))
  }

  #failed(exchange: Exchange, fields: DatabaseFields): void {
    for (const entry of exchange.parsing ?? []) if (entry !== null) this.#statements.drop(entry)
    exchange.parsing = null
    if (exchange.error === null) exchange.error = databaseError(fields)
    exchange.stale = isStalePlan(fields)
    if (exchange.stale) this.#dropPrepared(exchange)
    if (fields.severity === 'FATAL' || fields.severity === 'PANIC') this.#end(farewell(fields), true)
  }

  /** After a lost statement (DISCARD, DEALLOCATE ALL) the others are as likely gone; each costs one Parse. */
  #dropPrepared(exchange: Exchange): void {
    for (let i = 0; i < exchange.steps.length; i++) {
      const step = exchange.steps[i]!
      const entry = i === exchange.main ? exchange.prepared : step.once === true ? null : this.#statements.get(step.sql, step.scope)
      if (entry === null || entry.dropped) continue
      this.#statements.drop(entry)
      this.#evicted.push(entry)
    }
  }

  #unasked(type: number, data: Buffer, start: number, end: number): void {
    if (type !== Reply.error) return
    this.#end(farewell(fieldsOf(data, start, end)), true)
  }

  #finish(exchange: Exchange): void {
    exchange.elapsed = this.#readAt - this.headSince
    this.headSince = this.#readAt
    this.lastUsed = this.#readAt
    this.#queue[this.#head++] = null
    if (this.#head === this.#queue.length) {
      this.#queue = this.#head > COMPACT_AT ? [] : this.#queue
      this.#queue.length = 0
      this.#head = 0
    } else if (this.#head >= COMPACT_AT) {
      this.#queue = this.#queue.slice(this.#head)
      this.#head = 0
    }
    this.resume()
    if (exchange.error === null) {
      const result = resultOf(exchange)
      result.columns ??= exchange.prepared?.columns ?? null
    }
    exchange.owner.done(exchange)
  }

  /** `told`: the server said good-bye, so that it surely began nothing of what it did not answer. */
  #end(reason: string, told = false): void {
    if (this.ended) return
    this.ended = true
    this.#stream.destroy()
    const open = this.#queue.slice(this.#head)
    this.#queue = []
    this.#head = 0
    if (!this.#closed) this.#options.metrics.lost++
    this.#options.onEnd(this)
    for (const exchange of open) {
      if (exchange === null) continue
      const refused = exchange.error
      exchange.lost = true
      if (refused === null || refused.code === 'database_error')
        exchange.error = connectionLost(reason, told && !exchange.started, refused ?? undefined)
      exchange.owner.done(exchange)
    }
  }
}

const farewell = (fields: DatabaseFields): string => (fields.sqlstate === '57P01' ? 'the database is stopping' : 'the database ended it')

function resultOf(exchange: Exchange): Result {
  exchange.result ??= new Result()
  return exchange.result
}
