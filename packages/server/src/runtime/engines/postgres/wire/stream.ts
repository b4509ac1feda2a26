import { Readable } from 'node:stream'
import type { SovraError } from '../../../../base/errors.ts'
import type { RowSink } from './exchange.ts'
import type { Result } from './result.ts'

/** Texts around and between the rows, as `[`, `,` and `]` for rows of JSON; a NULL is left out as an empty text. */
export interface StreamOptions {
  readonly open?: string
  readonly between?: string
  readonly close?: string
  /** Called with each piece of a row; `first`: it begins one. */
  readonly onData?: (bytes: number, first: boolean) => void
}

/** What the stream asks of its statement. */
export interface StreamSource {
  resume(): void
  cancel(): void
}

type Begin = (sink: RowSink, resolve: (result: Result) => void, reject: (error: SovraError) => void) => StreamSource

/** Bytes that are passed on at once; less waits for what else is read in the same turn of the event loop. */
const GATHERED = 1 << 16
/** Bytes of a piece that is worth no copy. */
const LARGE = 1 << 14

/** Rows on their way to a readable: a piece of an answer costs as much as a large one, so that one for each row of 100 bytes is dear. */
class Gatherer {
  readonly #readable: Readable
  #pieces: Buffer[] = []
  #size = 0
  #turn: NodeJS.Immediate | null = null
  #full = false

  constructor(readable: Readable) {
    this.#readable = readable
  }

  /** Whether more is welcome at once. */
  push(data: Buffer): boolean {
    if (data.length === 0) return !this.#full
    if (data.length >= LARGE) {
      this.flush()
      this.#full = !this.#readable.push(data)
      return !this.#full
    }
    this.#pieces.push(data)
    this.#size += data.length
    if (this.#size >= GATHERED) this.flush()
    else this.#turn ??= setImmediate(() => this.flush())
    return !this.#full
  }

  /** What was passed on is wanted. */
  drained(): void {
    this.#full = false
  }

  flush(): void {
    const [pieces, size] = [this.#pieces, this.#size]
    this.stop()
    if (size === 0 || this.#readable.destroyed) return
    this.#full = !this.#readable.push(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, size))
  }

  /** Forgets what was not passed on. */
  stop(): void {
    if (this.#turn !== null) clearImmediate(this.#turn)
    this.#turn = null
    this.#pieces = []
    this.#size = 0
  }
}

const NOTHING = Buffer.alloc(0)

/** A readable of a statement's rows; when its reader is slow, the connection waits. */
export function rowStream(options: StreamOptions, begin: Begin): Promise<Readable> {
  const [open, between, close] = [options.open, options.between, options.close].map((text) => Buffer.from(text ?? ''))
  return new Promise((resolve, reject) => {
    let begun = false
    let ended = false
    let rows = 0
    const readable = new Readable({
      read: () => {
        gatherer.drained()
        source.resume()
      },
      destroy: (error, done) => {
        gatherer.stop()
        if (!ended) source.cancel()
        done(error)
      },
    })
    const gatherer = new Gatherer(readable)
    const start = () => {
      if (begun) return
      begun = true
      gatherer.push(open!)
      resolve(readable)
    }
    const sink: RowSink = {
      push: (data, first) => {
        start()
        if (readable.destroyed) return true
        options.onData?.(data?.length ?? 0, first)
        if (first && rows++ > 0) gatherer.push(between!)
        return gatherer.push(data ?? NOTHING)
      },
    }
    const source = begin(
      sink,
      () => {
        ended = true
        start()
        gatherer.push(close!)
        gatherer.flush()
        readable.push(null)
      },
      (error) => {
        ended = true
        if (begun) readable.destroy(error)
        else reject(error)
      },
    )
  })
}
