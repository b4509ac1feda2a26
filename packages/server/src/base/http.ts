import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Server as TlsServer } from 'node:tls'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  fastify,
  LogController,
} from 'fastify'
import type { SovraError } from './errors.ts'
import { answerClientError, answerError, answerFrameworkError } from './http-errors.ts'
import { lazyCompilers } from './http-schemas.ts'
import { requestId } from './ids.ts'
import type { KeepAddress } from './kept-address.ts'
import { type Log, writeLine } from './log.ts'
import { methodsOf } from './methods.ts'
import { cleanForwarded, type Trusted, trustedProxies } from './proxies.ts'
import { readTls, type TlsFiles, watchTls } from './tls.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True: not in the access log (health checks and the like). */
    quiet?: boolean
  }
  interface FastifyInstance {
    /** What a request that no route takes is told: `not_found`, or `method_not_allowed` with `Allow`. */
    missing(request: FastifyRequest): SovraError
  }
}

export interface HttpOptions {
  readonly log: Log
  /** Addresses or CIDR ranges. Default: none. */
  readonly trustedProxies?: readonly string[]
  /** Bytes of request line and headers. Default: 64 KiB. */
  readonly headerLimit?: number
  /** Bytes of a body where the route says nothing. Default: 1 MiB. */
  readonly bodyLimit?: number
  /** ms */
  readonly timeouts?: { readonly headers?: number; readonly body?: number; readonly idle?: number }
  readonly tls?: TlsFiles
  /** What the log tells of the caller's address. Default: nothing. */
  readonly keepAddress?: KeepAddress
  /** The project that a request is for, for the log. */
  readonly project?: (request: FastifyRequest) => string | undefined
  /** Called with each finished request, for metrics. ms. */
  readonly onDone?: (request: FastifyRequest, status: number, ms: number) => void
  /** Further server options. */
  readonly server?: Pick<FastifyServerOptions, 'rewriteUrl' | 'routerOptions' | 'pluginTimeout'>
}

export type Http = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>

const HEADER_LIMIT = 64 * 1024
const BODY_LIMIT = 1024 * 1024
const TIMEOUTS = { headers: 30_000, body: 900_000, idle: 75_000 }
/** A name of 63 characters, each of three UTF-8 bytes, percent-encoded. */
const PARAMETER_LENGTH = 1024
const GIVEN_ID = /^[\w.:+=/-]{8,128}$/
const NAME = /^[\w$.:>-]{1,64}$/
const MAX_NAMES = 32
const CLIENT_CLOSED = 499

/** Names of a query's parameters as a field of JSON; never their values. A name that looks like none is not repeated. */
function parameterNames(query: unknown): string {
  let names = ''
  let count = 0
  for (const name in query as Record<string, unknown>) {
    if (count++ === MAX_NAMES) break
    names += `${names === '' ? '' : ','}"${NAME.test(name) ? name : '?'}"`
  }
  return names === '' ? '' : `,"parameters":[${names}]`
}

/** Method and pattern of a route as fields of JSON, by its config. */
const routes = new WeakMap<object, Map<string, string>>()

function routeFields({ method, routeOptions: { config } }: FastifyRequest): string {
  let byMethod = routes.get(config)
  if (byMethod === undefined) {
    byMethod = new Map()
    routes.set(config, byMethod)
  }
  let text = byMethod.get(method)
  if (text === undefined) {
    text = `"method":${JSON.stringify(method)},"route":${JSON.stringify(config.url ?? 'none')}`
    byMethod.set(method, text)
  }
  return text
}

/** W3C Trace Context, any version: the id of the whole trace, so that a caller's trace and our line are found by each other. */
const TRACE = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/

function traceOf(header: string | string[] | undefined): string {
  const id = typeof header === 'string' ? TRACE.exec(header)?.[1] : undefined
  return id === undefined ? '' : `,"trace_id":"${id}"`
}

/** One line a request: method, route pattern, parameter names, status, time, project, ids, what is kept of the address. Values are never read. */
function logRequest(options: HttpOptions, request: FastifyRequest, reply: FastifyReply): void {
  const { log, project, onDone, keepAddress } = options
  const { config } = request.routeOptions
  const { raw } = reply
  const answered = raw.writableFinished || (raw.writableEnded && !request.raw.socket.destroyed)
  const status = answered ? raw.statusCode : CLIENT_CLOSED
  const ms = reply.elapsedTime
  onDone?.(request, status, ms)
  if (config?.quiet === true || !log.isLevelEnabled('info')) return
  const ref = project?.(request)
  const of = ref === undefined ? '' : `,"project":${JSON.stringify(ref)}`
  const address = keepAddress?.(request.ip ?? null) ?? null
  const from = address === null ? '' : `,"address":${JSON.stringify(address)}`
  // The id is one of ours, or was checked when it came.
  const fields = `${routeFields(request)}${parameterNames(request.query)},"status":${status},"ms":${Math.round(ms * 100) / 100}${of}${from}${traceOf(request.headers.traceparent)}`
  writeLine(log, `${fields},"request_id":"${request.id}"`, 'request')
}

function idOf(isTrusted: Trusted): (request: IncomingMessage) => string {
  return (request) => {
    const given = request.headers['x-request-id']
    const usable = typeof given === 'string' && GIVEN_ID.test(given) && isTrusted(request.socket?.remoteAddress)
    return usable ? given : requestId()
  }
}

/**
 * An HTTP server of ours: request ids, trusted proxies, limits, time-outs, lazily compiled schemas, errors of the control API's shape (a scope may set
 * its own handler), one log line a request. `request.ip`, `.host` and `.protocol` are the caller's also behind proxies.
 */
export function makeHttp(options: HttpOptions): Http {
  const isTrusted = trustedProxies(options.trustedProxies ?? [])
  const headerLimit = options.headerLimit ?? HEADER_LIMIT
  const timeouts = { ...TIMEOUTS, ...options.timeouts }
  const transport = { maxHeaderSize: headerLimit, headersTimeout: timeouts.headers, requestTimeout: timeouts.body }
  const tls = options.tls ? readTls(options.tls) : null
  const app = fastify({
    ...(tls ? { https: { ...transport, ...tls } } : { http: transport }),
    ...options.server,
    loggerInstance: options.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    trustProxy: (address: string) => isTrusted(address),
    // Requests have no logger of their own: the one line that may be written names the request itself.
    childLoggerFactory: (logger: FastifyBaseLogger) => logger,
    requestIdHeader: false,
    genReqId: idOf(isTrusted) as FastifyServerOptions['genReqId'],
    bodyLimit: options.bodyLimit ?? BODY_LIMIT,
    requestTimeout: timeouts.body,
    keepAliveTimeout: timeouts.idle,
    forceCloseConnections: 'idle',
    // What came by a kept connection before it could be closed is still answered (with `Connection: close`).
    return503OnClosing: false,
    routerOptions: { maxParamLength: PARAMETER_LENGTH, ...options.server?.routerOptions },
    schemaController: { compilersFactory: lazyCompilers },
    frameworkErrors: (error, request, reply) => answerFrameworkError(error, request as FastifyRequest, reply as unknown as FastifyReply),
    clientErrorHandler: (error, socket) => answerClientError(error, socket as Socket, headerLimit),
  } as FastifyServerOptions) as unknown as Http
  app.server.prependListener('request', (request: IncomingMessage) => cleanForwarded(request, isTrusted))
  app.server.prependListener('upgrade', (request: IncomingMessage) => cleanForwarded(request, isTrusted))
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    // Not onResponse: that hook does not come when the client goes away.
    reply.raw.on('close', () => logRequest(options, request, reply))
    done()
  })
  if (options.tls && tls) {
    const unwatch = watchTls(options.tls, (pair) => (app.server as unknown as TlsServer).setSecureContext(pair), options.log)
    app.addHook('onClose', (_app, done) => done(void unwatch()))
  }
  // Clients that name JSON as the type of every POST send it without a body too.
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) =>
    body === '' && request.routeOptions.schema?.body === undefined ? done(null) : parseJson(request, body as string, done),
  )
  const missing = methodsOf(app as unknown as FastifyInstance, PARAMETER_LENGTH)
  app.decorate('missing', (request: FastifyRequest) => missing(request.method, request.url))
  app.setErrorHandler(answerError)
  app.setNotFoundHandler((request, reply) => answerError(app.missing(request), request, reply))
  return app
}
