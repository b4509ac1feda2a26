import { pipeline, Readable, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type { Dispatcher } from 'undici'
import { fail } from './errors.ts'
import { type Clock, known, type OutboundLimits } from './outbound-clock.ts'
import type { Hop } from './outbound-hops.ts'

export interface OutboundResponse {
  readonly status: number
  /** 200–299. */
  readonly ok: boolean
  readonly headers: Headers
  /** Where the answer came from, after redirects. */
  readonly url: string
  readonly redirected: boolean
  /** Must be read or destroyed; ends with `outbound_timeout`, `outbound_too_large` or `outbound_failed`. */
  readonly body: Readable
  bytes(): Promise<Buffer>
  text(): Promise<string>
  json(): Promise<unknown>
}

interface Reading {
  readonly clock: Clock
  readonly limits: OutboundLimits
  readonly followed: number
  readonly maxBytes: number
  readonly decode: boolean
}

export function respond(answer: Dispatcher.ResponseData, hop: Hop, reading: Reading): OutboundResponse {
  const headers = new Headers()
  for (const [name, value] of Object.entries(answer.headers)) for (const one of [value ?? []].flat()) headers.append(name, one)
  const host = hop.url.hostname
  const tooLarge = () => fail('outbound_too_large', { host, bytes: reading.maxBytes })
  const raw: Readable = answer.body
  const encoding = hop.method === 'HEAD' || !reading.decode ? '' : (headers.get('content-encoding') ?? '').toLowerCase()
  if (hop.method !== 'HEAD' && Number(headers.get('content-length')) > reading.maxBytes) {
    raw.on('error', () => {}).destroy()
    throw tooLarge()
  }
  const decoder = decoderOf(encoding)
  if (decoder === null) {
    raw.on('error', () => {}).destroy()
    throw fail('outbound_failed', { host, reason: 'its answer is compressed in an unknown way' })
  }
  const source = decoder ? pipeline(raw, counted(reading.maxBytes, tooLarge), decoder, () => {}) : raw
  const body = Readable.from(limited(source, { host, reading, tooLarge }), { objectMode: false })
  body.once('close', () => {
    reading.clock.stop()
    raw.on('error', () => {}).destroy()
  })
  const bytes = async () => Buffer.concat(await body.toArray())
  return {
    status: answer.statusCode,
    ok: answer.statusCode >= 200 && answer.statusCode < 300,
    headers,
    url: hop.url.href,
    redirected: reading.followed > 0,
    body,
    bytes,
    text: async () => new TextDecoder().decode(await bytes()),
    json: async () => {
      const text = new TextDecoder().decode(await bytes())
      try {
        return JSON.parse(text) as unknown
      } catch {
        // Not as a cause: the parser's message quotes the answer.
        throw fail('outbound_failed', { host, reason: 'its answer is not JSON' })
      }
    },
  }
}

/** Undefined: nothing to decode; null: an encoding, or a nesting of them, that is refused. */
function decoderOf(encoding: string): Transform | undefined | null {
  if (encoding === '' || encoding === 'identity') return undefined
  if (encoding === 'gzip' || encoding === 'x-gzip') return createGunzip()
  if (encoding === 'deflate') return createInflate()
  if (encoding === 'br') return createBrotliDecompress()
  return null
}

/** Compressed bytes count too: endless empty blocks decode to nothing. */
const counted = (max: number, tooLarge: () => Error) =>
  async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let seen = 0
    for await (const chunk of source) {
      seen += chunk.length
      if (seen > max) throw tooLarge()
      yield chunk
    }
  }

async function* limited(source: Readable, { host, reading, tooLarge }: { host: string; reading: Reading; tooLarge: () => Error }) {
  let seen = 0
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      seen += chunk.length
      if (seen > reading.maxBytes) throw tooLarge()
      yield chunk
    }
  } catch (error) {
    throw known(error, host, reading.limits, reading.clock)
  } finally {
    reading.clock.stop()
  }
}
