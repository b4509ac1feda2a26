import type { Socket } from 'node:net'
import { pipeline, Readable, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { Agent, type Dispatcher } from 'undici'
import { fail, isSovraError } from './errors.ts'
import { type ConnectorOptions, canonicalHost, makeConnector, reasonOf } from './outbound-connect.ts'

/**
 * The outbound rule: every request to an address that a project's people can set goes through here. A name is resolved once, every
 * address it has is checked, and the connection goes to a checked one (DNS rebinding); redirects are followed by hand through the same door.
 */
export interface OutboundLimits {
  /** ms until a connection stands, TLS included. */
  readonly connect: number
  /** ms until the answer's headers. */
  readonly headers: number
  /** ms between two pieces of a body. */
  readonly idle: number
  /** ms for the whole call, redirects and body included. */
  readonly total: number
  /** Bytes of an answer's body, after decompression. */
  readonly bytes: number
  readonly headerBytes: number
  readonly redirects: number
  /** Connections to one origin. */
  readonly connections: number
}

export const OUTBOUND_LIMITS: OutboundLimits = {
  connect: 5_000,
  headers: 10_000,
  idle: 10_000,
  total: 30_000,
  bytes: 10 * 1024 * 1024,
  headerBytes: 32 * 1024,
  redirects: 5,
  connections: 32,
}

export interface OutboundOptions extends ConnectorOptions {
  readonly limits?: Partial<OutboundLimits>
}

export interface OutboundRequest {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** A stream is sent once: a redirect that would have to repeat it fails. */
  readonly body?: string | Uint8Array | Readable | null
  readonly signal?: AbortSignal
  /** ms for the whole call; by default the limit `total`. */
  readonly timeout?: number
  /** Bytes of the answer's body; by default the limit `bytes`. */
  readonly maxBytes?: number
  /** How many redirects are followed; 0: the 3xx is the answer. */
  readonly redirects?: number
  /** `false`: a compressed answer is handed on as it is. */
  readonly decode?: boolean
}

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

export interface Outbound {
  fetch(url: string, request?: OutboundRequest): Promise<OutboundResponse>
  /** A checked connection for another protocol (SMTP). `timeout`: ms until it stands, TLS included. */
  connect(host: string, port: number, options?: { tls?: boolean; timeout?: number; signal?: AbortSignal }): Promise<Socket>
  /** TLS on a connection made by `connect` (STARTTLS). */
  secure(socket: Socket, host: string, options?: { timeout?: number; signal?: AbortSignal }): Promise<Socket>
  close(): Promise<void>
}

interface Hop {
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | Readable | null
}

/** What must not follow a redirect to another origin. */
const CREDENTIALS = new Set(['authorization', 'proxy-authorization', 'cookie', 'apikey', 'x-api-key', 'x-auth-token'])
/** Headers that belong to the connection, not to the caller (RFC 9110 §7.6.1), and Host, which names the checked target. */
const OURS = new Set(['host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect'])
const REDIRECTS = new Set([301, 302, 303, 307, 308])

/** Throws `outbound_range_invalid` or `outbound_settings_invalid` for settings that cannot be used. */
export function makeOutbound(options: OutboundOptions): Outbound {
  const limits = { ...OUTBOUND_LIMITS, ...options.limits }
  const connector = makeConnector(options)
  const agent = new Agent({
    connections: limits.connections,
    pipelining: 1,
    allowH2: false,
    headersTimeout: limits.headers,
    bodyTimeout: limits.idle,
    maxHeaderSize: limits.headerBytes,
    connect: ({ hostname, protocol, port }, callback) => {
      const tls = protocol === 'https:'
      const clock = new Clock(hostname, limits.connect, 'connecting')
      connector
        .dial(hostname, Number(port) || (tls ? 443 : 80), { tls, alpn: ['http/1.1'], signal: clock.signal })
        .finally(() => clock.stop())
        .then(
          (socket) => callback(null, socket),
          (error: Error) => callback(error, null),
        )
    },
  })

  async function send(hop: Hop, clock: Clock): Promise<Dispatcher.ResponseData> {
    try {
      return await agent.request({
        origin: hop.url.origin,
        path: hop.url.pathname + hop.url.search,
        method: hop.method as Dispatcher.HttpMethod,
        headers: hop.headers,
        body: hop.body,
        signal: clock.signal,
      })
    } catch (error) {
      throw known(error, hop.url.hostname, limits, clock)
    }
  }

  async function fetch(address: string, request: OutboundRequest = {}): Promise<OutboundResponse> {
    let hop = firstHop(address, request)
    const total = request.timeout ?? limits.total
    const clock = new Clock(hop.url.hostname, total, 'whole call', request.signal)
    const hops = request.redirects ?? limits.redirects
    try {
      for (let followed = 0; ; followed++) {
        const answer = await send(hop, clock)
        const location = answer.headers.location
        if (hops === 0 || !REDIRECTS.has(answer.statusCode) || typeof location !== 'string') {
          return respond(answer, hop, {
            clock,
            limits,
            followed,
            maxBytes: request.maxBytes ?? limits.bytes,
            decode: request.decode ?? true,
          })
        }
        answer.body.on('error', () => {}).destroy()
        if (followed >= hops) throw fail('outbound_failed', { host: hop.url.hostname, reason: `more than ${hops} redirects` })
        hop = nextHop(hop, location, answer.statusCode)
      }
    } catch (error) {
      clock.stop()
      throw error
    }
  }

  const timed = async (host: string, opts: { timeout?: number; signal?: AbortSignal }, run: (signal: AbortSignal) => Promise<Socket>) => {
    const clock = new Clock(host, opts.timeout ?? limits.connect, 'connecting', opts.signal)
    try {
      return await run(clock.signal)
    } catch (error) {
      throw known(error, host, limits, clock)
    } finally {
      clock.stop()
    }
  }

  return {
    fetch,
    connect: (host, port, opts = {}) => timed(host, opts, (signal) => connector.dial(host, port, { tls: opts.tls ?? false, signal })),
    secure: (socket, host, opts = {}) => timed(host, opts, (signal) => connector.secure(socket, canonicalHost(host), { signal })),
    close: () => agent.destroy(),
  }
}

/** A deadline whose abort carries `outbound_timeout`; the caller's own signal ends it as well. */
class Clock {
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #caller: AbortSignal | undefined
  readonly #cancel: () => void
  readonly signal = this.#controller.signal

  constructor(host: string, ms: number, phase: string, caller?: AbortSignal) {
    this.#timer = setTimeout(() => this.#controller.abort(fail('outbound_timeout', { host, ms, phase })), ms)
    this.#timer.unref()
    this.#caller = caller
    this.#cancel = () => this.#controller.abort(fail('outbound_failed', { host, reason: 'it was cancelled' }, { cause: caller?.reason }))
    if (caller?.aborted) this.#cancel()
    caller?.addEventListener('abort', this.#cancel)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#caller?.removeEventListener('abort', this.#cancel)
  }
}

function firstHop(address: string, request: OutboundRequest): Hop {
  const headers: Record<string, string> = { 'user-agent': 'sovrabase', accept: '*/*' }
  if (request.decode ?? true) headers['accept-encoding'] = 'gzip, deflate, br'
  for (const [name, value] of Object.entries(request.headers ?? {})) if (!OURS.has(name.toLowerCase())) headers[name.toLowerCase()] = value
  return { url: allowedUrl(address), method: (request.method ?? 'GET').toUpperCase(), headers, body: request.body ?? null }
}

function allowedUrl(address: string, base?: URL): URL {
  const url = URL.canParse(address, base?.href) ? new URL(address, base) : null
  const host = url?.hostname || 'given'
  if (!url) throw fail('outbound_forbidden', { host, reason: 'it is not a valid URL' })
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw fail('outbound_forbidden', { host, reason: 'only http and https are called' })
  if (url.username || url.password) throw fail('outbound_forbidden', { host, reason: 'a user or password in it is not sent; use a header' })
  return url
}

/** The Fetch standard's rules for redirects, and two of ours: credentials neither leave their origin nor go in the clear after TLS. */
function nextHop(hop: Hop, location: string, status: number): Hop {
  const url = allowedUrl(location, hop.url)
  const held = Object.keys(hop.headers).some((name) => CREDENTIALS.has(name))
  if (hop.url.protocol === 'https:' && url.protocol === 'http:' && held) {
    throw fail('outbound_forbidden', { host: url.hostname, reason: 'a redirect would send credentials without TLS' })
  }
  const becomesGet = (status === 303 && hop.method !== 'HEAD') || ((status === 301 || status === 302) && hop.method === 'POST')
  if (!becomesGet && hop.body instanceof Readable) {
    throw fail('outbound_failed', { host: url.hostname, reason: 'a redirect would repeat a body that was streamed' })
  }
  const kept = Object.entries(hop.headers).filter(
    ([name]) =>
      !(url.origin !== hop.url.origin && CREDENTIALS.has(name)) &&
      !(becomesGet && (name.startsWith('content-') || name === 'idempotency-key')),
  )
  return { url, headers: Object.fromEntries(kept), method: becomesGet ? 'GET' : hop.method, body: becomesGet ? null : hop.body }
}

interface Reading {
  readonly clock: Clock
  readonly limits: OutboundLimits
  readonly followed: number
  readonly maxBytes: number
  readonly decode: boolean
}

function respond(answer: Dispatcher.ResponseData, hop: Hop, reading: Reading): OutboundResponse {
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

/** Any failure as one of the four errors of this module. */
function known(error: unknown, host: string, limits: OutboundLimits, clock: Clock): Error {
  if (clock.signal.aborted) return clock.signal.reason as Error
  if (isSovraError(error)) return error
  const code = error instanceof Error && 'code' in error ? error.code : ''
  const late = (ms: number, phase: string) => fail('outbound_timeout', { host, ms, phase }, { cause: error })
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return late(limits.headers, 'headers')
  if (code === 'UND_ERR_BODY_TIMEOUT') return late(limits.idle, 'body')
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return fail('outbound_too_large', { host, bytes: limits.headerBytes }, { cause: error })
  return fail('outbound_failed', { host, reason: reasonOf(error) }, { cause: error })
}
