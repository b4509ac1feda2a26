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

/** A readable of a statement's rows; when its reader is slow, the connection waits. */
export function rowStream(options: StreamOptions, begin: Begin): Promise<Readable> {
  return new Promise((resolve, reject) => {
    let begun = false
    let ended = false
    let rows = 0
    const readable = new Readable({
      read: () => source.resume(),
      destroy: (error, done) => {
        if (!ended) source.cancel()
        done(error)
      },
    })
    const start = () => {
      if (begun) return
      begun = true
      if (options.open) readable.push(options.open)
      resolve(readable)
    }
    const sink: RowSink = {
      push: (data, first) => {
        start()
        if (readable.destroyed) return true
        options.onData?.(data?.length ?? 0, first)
        if (first && rows++ > 0 && options.between) readable.push(options.between)
        return data === null || data.length === 0 ? true : readable.push(data)
      },
    }
    const source = begin(
      sink,
      () => {
        ended = true
        start()
        if (options.close) readable.push(options.close)
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
