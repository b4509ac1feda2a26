import type { Socket } from 'node:net'
import type { Agent, Dispatcher } from 'undici'
import { fail } from './errors.ts'
import { later } from './later.ts'
import { type OutboundResponse, respond } from './outbound-answer.ts'
import { Clock, known, OUTBOUND_LIMITS, type OutboundLimits } from './outbound-clock.ts'
import { type Connector, type ConnectorOptions, canonicalHost, makeConnector } from './outbound-connect.ts'
import { firstHop, type Hop, nextHop, type OutboundRequest, REDIRECTS } from './outbound-hops.ts'

export type { OutboundResponse } from './outbound-answer.ts'
export { OUTBOUND_LIMITS, type OutboundLimits } from './outbound-clock.ts'
export type { OutboundRequest } from './outbound-hops.ts'

export interface OutboundOptions extends ConnectorOptions {
  readonly limits?: Partial<OutboundLimits>
}

/**
 * The outbound rule: every request to an address that a project's people can set goes through here. A name is resolved once, every
 * address it has is checked, and the connection goes to a checked one (DNS rebinding); redirects are followed by hand through the same door.
 */
export interface Outbound {
  fetch(url: string, request?: OutboundRequest): Promise<OutboundResponse>
  /** A checked connection for another protocol (SMTP). `timeout`: ms until it stands, TLS included. */
  connect(host: string, port: number, options?: { tls?: boolean; timeout?: number; signal?: AbortSignal }): Promise<Socket>
  /** TLS on a connection made by `connect` (STARTTLS). */
  secure(socket: Socket, host: string, options?: { timeout?: number; signal?: AbortSignal }): Promise<Socket>
  close(): Promise<void>
}

/** Throws `outbound_range_invalid` or `outbound_settings_invalid` for settings that cannot be used. */
export const makeOutbound = (options: OutboundOptions): Outbound => new CheckedOutbound(options)

function agentOf(limits: OutboundLimits, connector: Connector): Agent {
  const undici = later<typeof import('undici')>('undici')
  return new undici.Agent({
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
}

class CheckedOutbound implements Outbound {
  readonly #limits: OutboundLimits
  readonly #connector: Connector
  #made: Agent | undefined

  constructor(options: OutboundOptions) {
    this.#limits = { ...OUTBOUND_LIMITS, ...options.limits }
    this.#connector = makeConnector(options)
  }

  get #agent(): Agent {
    this.#made ??= agentOf(this.#limits, this.#connector)
    return this.#made
  }

  async #send(hop: Hop, clock: Clock): Promise<Dispatcher.ResponseData> {
    try {
      return await this.#agent.request({
        origin: hop.url.origin,
        path: hop.url.pathname + hop.url.search,
        method: hop.method as Dispatcher.HttpMethod,
        headers: hop.headers,
        body: hop.body,
        signal: clock.signal,
      })
    } catch (error) {
      throw known(error, hop.url.hostname, this.#limits, clock)
    }
  }

  async fetch(address: string, request: OutboundRequest = {}): Promise<OutboundResponse> {
    const limits = this.#limits
    let hop = firstHop(address, request)
    const clock = new Clock(hop.url.hostname, request.timeout ?? limits.total, 'whole call', request.signal)
    const hops = request.redirects ?? limits.redirects
    const { maxBytes = limits.bytes, decode = true } = request
    try {
      for (let followed = 0; ; followed++) {
        const answer = await this.#send(hop, clock)
        const location = answer.headers.location
        if (hops === 0 || !REDIRECTS.has(answer.statusCode) || typeof location !== 'string')
          return respond(answer, hop, { clock, limits, followed, maxBytes, decode })
        answer.body.on('error', () => {}).destroy()
        if (followed >= hops) throw fail('outbound_failed', { host: hop.url.hostname, reason: `more than ${hops} redirects` })
        hop = nextHop(hop, location, answer.statusCode)
      }
    } catch (error) {
      clock.stop()
      throw error
    }
  }

  async #timed(host: string, given: { timeout?: number; signal?: AbortSignal }, run: (signal: AbortSignal) => Promise<Socket>) {
    const clock = new Clock(host, given.timeout ?? this.#limits.connect, 'connecting', given.signal)
    try {
      return await run(clock.signal)
    } catch (error) {
      throw known(error, host, this.#limits, clock)
    } finally {
      clock.stop()
    }
  }

  connect(host: string, port: number, given: { tls?: boolean; timeout?: number; signal?: AbortSignal } = {}): Promise<Socket> {
    return this.#timed(host, given, (signal) => this.#connector.dial(host, port, { tls: given.tls ?? false, signal }))
  }

  secure(socket: Socket, host: string, given: { timeout?: number; signal?: AbortSignal } = {}): Promise<Socket> {
    return this.#timed(host, given, (signal) => this.#connector.secure(socket, canonicalHost(host), { signal }))
  }

  async close(): Promise<void> {
    await this.#made?.destroy()
  }
}
