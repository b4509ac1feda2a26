import { Readable } from 'node:stream'
import { fail } from './errors.ts'

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

/** One request of a call: the first, or one that a redirect asks for. */
export interface Hop {
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | Readable | null
}

/** What must not follow a redirect to another origin. */
const CREDENTIALS = new Set(['authorization', 'proxy-authorization', 'cookie', 'apikey', 'x-api-key', 'x-auth-token'])
/** Headers that belong to the connection, not to the caller (RFC 9110 §7.6.1), and Host, which names the checked target. */
const OURS = new Set(['host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect'])
export const REDIRECTS = new Set([301, 302, 303, 307, 308])

export function firstHop(address: string, request: OutboundRequest): Hop {
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
export function nextHop(hop: Hop, location: string, status: number): Hop {
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
