import { lookup as dnsLookup } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { isIP, type LookupFunction, connect as netConnect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { createSecureContext, getCACertificates, type SecureContext, connect as tlsConnect } from 'node:tls'
import { carried, inRange, isLoopback, isUnspecified, parseAddress, parseRange, sameAddress, special } from './addresses.ts'
import { fail, isSovraError } from './errors.ts'
import { nodeHttp, nodeHttps } from './later.ts'

/** One address that a name resolved to. */
export interface Resolved {
  readonly address: string
  readonly family: number
}

export type Lookup = (host: string) => Promise<readonly Resolved[]>

export interface Listener {
  readonly host: string
  readonly port: number
}

export interface ConnectorOptions {
  /** CIDR ranges that the operator opened beyond the public internet (`network.allow`). */
  readonly allow: readonly string[]
  /** Where this process listens: never reached, whatever is allowed. Asked at each connection, since ports may be chosen late. */
  readonly ownListeners: () => readonly Listener[]
  /** PEM file of further certificate authorities (`network.ca_file`). */
  readonly caFile: string | null
  /** `http(s)://[user:password@]host:port` of a proxy that takes CONNECT (`network.proxy`); the operator's word, so it is not checked. */
  readonly proxy: string | null
  /** How names become addresses; the system's resolver unless given. */
  readonly lookup?: Lookup
}

export interface DialOptions {
  /** `false`: plain TCP. `true`: TLS with the certificate checked against the host's name. */
  readonly tls: boolean
  readonly alpn?: readonly string[]
  readonly signal: AbortSignal
}

export interface Connector {
  /** Resolves once, checks every address, connects to a checked one. Rejects with `outbound_forbidden`, `outbound_failed` or the signal's reason. */
  dial(host: string, port: number, options: DialOptions): Promise<Socket>
  /** Puts TLS on an open connection (STARTTLS). */
  secure(socket: Socket, host: string, options: { alpn?: readonly string[]; signal: AbortSignal }): Promise<Socket>
}

const systemLookup: Lookup = (host) => dnsLookup(host, { all: true, order: 'verbatim' })

/**
 * The host as the network will see it: decimal, octal and hexadecimal IPv4 become dotted, names lower case ASCII (WHATWG URL).
 * Throws `outbound_forbidden` for anything that is no host: user information, ports, zone ids, percent signs.
 */
export function canonicalHost(host: string): string {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  if (isIP(bare) === 6 && !bare.includes('%')) return bare
  const odd = /[\s/?#@\\:%[\]<>^|]/.test(bare)
  const url = odd || bare === '' || !URL.canParse(`http://${bare}/`) ? null : new URL(`http://${bare}/`)
  if (!url?.hostname || url.hostname.startsWith('[')) throw fail('outbound_forbidden', { host, reason: 'it is not a valid host' })
  return url.hostname
}

/** Why a call failed, from its code alone: messages of the system name addresses, which the caller need not learn. */
export function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'ENODATA') return 'its name does not resolve'
  if (code === 'ECONNREFUSED') return 'the connection was refused'
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET') return 'the connection was closed'
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  return code === '' ? 'network error' : `network error ${code}`
}

export function makeConnector(options: ConnectorOptions): Connector {
  const allowed = options.allow.map(parseRange)
  const lookup = options.lookup ?? systemLookup
  const proxy = options.proxy === null ? null : proxyUrl(options.proxy)
  const context = options.caFile === null ? undefined : trustAlso(options.caFile)

  function check(host: string, address: string, port: number): void {
    const bytes = parseAddress(address)
    if (!bytes) throw fail('outbound_forbidden', { host, reason: 'it has no usable address' })
    const inner = carried(bytes)
    const forms = inner ? [bytes, inner] : [bytes]
    if (forms.some((form) => isOwn(form, port, options.ownListeners()))) {
      throw fail('outbound_forbidden', { host, reason: 'it is an address of this server' })
    }
    const why = special(bytes)
    if (why !== null && !forms.some((form) => allowed.some((range) => inRange(form, range)))) {
      throw fail('outbound_forbidden', { host, reason: `its address is ${why}` })
    }
  }

  async function resolve(host: string, port: number, signal: AbortSignal): Promise<readonly Resolved[]> {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw fail('outbound_forbidden', { host, reason: 'its port is not valid' })
    const family = isIP(host)
    const found = family === 0 ? await abortable(lookup(host), signal) : [{ address: host, family }]
    if (found.length === 0) throw fail('outbound_failed', { host, reason: 'its name does not resolve' })
    for (const { address } of found) check(host, address, port)
    return found
  }

  async function secure(
    socket: Socket,
    host: string,
    { alpn, signal }: { alpn?: readonly string[]; signal: AbortSignal },
  ): Promise<Socket> {
    const name = host.replace(/\.$/, '')
    const secured = tlsConnect({
      socket,
      secureContext: context,
      // RFC 6066: server_name carries names only; the certificate is checked against the host all the same.
      ...(isIP(name) === 0 ? { servername: name } : { host: name }),
      ...(alpn ? { ALPNProtocols: [...alpn] } : {}),
    })
    return established(secured, 'secureConnect', signal)
  }

  return {
    secure,
    async dial(given, port, { tls, alpn, signal }) {
      try {
        const host = canonicalHost(given)
        const addresses = await resolve(host, port, signal)
        const socket = proxy ? await tunnel(proxy, context, addresses, port, signal) : await direct(host, addresses, port, signal)
        return tls ? await secure(socket, host, { alpn, signal }) : socket
      } catch (error) {
        if (signal.aborted) throw signal.reason
        throw isSovraError(error) ? error : fail('outbound_failed', { host: given, reason: reasonOf(error) }, { cause: error })
      }
    },
  }
}

/** Any address of this machine at one of our ports counts: wildcard listeners answer on all of them, and 0.0.0.0 reaches loopback. */
function isOwn(address: Uint8Array, port: number, listeners: readonly Listener[]): boolean {
  const here = listeners.filter((listener) => listener.port === port)
  if (here.length === 0) return false
  if (isLoopback(address) || isUnspecified(address)) return true
  const local = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.address.replace(/%.*$/, '')))
  return [...local, ...here.map((listener) => listener.host)].some((text) => {
    const bytes = parseAddress(text)
    return bytes !== null && sameAddress(bytes, address)
  })
}

async function direct(host: string, addresses: readonly Resolved[], port: number, signal: AbortSignal): Promise<Socket> {
  const fixed: LookupFunction = (_host, asked, callback) => {
    if (asked.all) callback(null, [...addresses])
    else callback(null, addresses[0]?.address ?? '', addresses[0]?.family)
  }
  const socket = netConnect({ host, port, lookup: fixed, autoSelectFamily: true, noDelay: true, keepAlive: true })
  await established(socket, 'connect', signal)
  const peer = parseAddress(socket.remoteAddress ?? '')
  const checked = peer !== null && addresses.some(({ address }) => sameAddress(parseAddress(address) ?? new Uint8Array(16), peer))
  if (checked) return socket
  socket.destroy()
  throw fail('outbound_forbidden', { host, reason: 'the connection went elsewhere' })
}

/** The proxy is given the checked address, not the name: it must not resolve a second time. */
function tunnel(
  proxy: URL,
  context: SecureContext | undefined,
  addresses: readonly Resolved[],
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  const { address, family } = addresses.find((one) => one.family === 4) ?? addresses[0]!
  const target = `${family === 6 ? `[${address}]` : address}:${port}`
  const user = decodeURIComponent(proxy.username)
  const credentials = user === '' ? null : Buffer.from(`${user}:${decodeURIComponent(proxy.password)}`).toString('base64')
  const headers = { host: target, ...(credentials ? { 'proxy-authorization': `Basic ${credentials}` } : {}) }
  const { request: start } = proxy.protocol === 'https:' ? nodeHttps() : nodeHttp()
  return new Promise((resolve, reject) => {
    const request = start({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
      method: 'CONNECT',
      path: target,
      headers,
      agent: false,
      signal,
      ...(context && proxy.protocol === 'https:' ? { secureContext: context } : {}),
    })
    const refuse = (status: number | undefined) =>
      reject(fail('outbound_failed', { host: target, reason: `the proxy answered ${status ?? 'nothing'}` }))
    request.once('error', (error) => reject(fail('outbound_failed', { host: 'the proxy', reason: reasonOf(error) }, { cause: error })))
    request.once('response', (response) => {
      response.destroy()
      refuse(response.statusCode)
    })
    request.once('connect', (response, socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy()
        return refuse(response.statusCode)
      }
      if (head.length > 0) socket.unshift(head)
      resolve(socket as Socket)
    })
    request.end()
  })
}

function established(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const done = (error?: unknown) => {
      signal.removeEventListener('abort', aborted)
      socket.off(event, done).off('error', done).off('close', closed)
      if (error === undefined) return resolve(socket)
      socket.on('error', () => {}).destroy()
      reject(error)
    }
    const aborted = () => done(signal.reason)
    const closed = () => done(fail('outbound_failed', { host: 'the server', reason: 'the connection was closed' }))
    socket
      .once(event, () => done())
      .once('error', done)
      .once('close', closed)
    signal.addEventListener('abort', aborted)
    if (signal.aborted) aborted()
  })
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason)
    if (signal.aborted) return aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}

function proxyUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url
  throw fail('outbound_settings_invalid', { setting: 'network.proxy', reason: 'it is not http://host:port' })
}

function trustAlso(path: string): SecureContext {
  try {
    return createSecureContext({ ca: [...getCACertificates('default'), readFileSync(path, 'utf8')] })
  } catch (cause) {
    throw fail('outbound_settings_invalid', { setting: 'network.ca_file', reason: `${path} is not a readable PEM file` }, { cause })
  }
}
