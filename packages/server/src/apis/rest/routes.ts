import { isAscii } from 'node:buffer'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { fail, type SovraError } from '../../base/errors.ts'
import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import type { Gone } from '../../runtime/engines/postgres/wire/job.ts'
import { routineMethods, tableMethods } from './allow.ts'
import { type BatchTrace, batchOf, runBatch } from './batch/batch.ts'
import { BATCH_TYPE } from './batch/request.ts'
import { hoisted } from './before.ts'
import { describe } from './describe.ts'
import { renderError } from './errors.ts'
import { grantHint } from './hints.ts'
import { mediaType } from './parse/body.ts'
import { contentLocation } from './parse/canonical.ts'
import type { Plan } from './plan/types.ts'
import { type Call, findTable, header, identityOf, prepare, queryOf, schemaOf, type Verb } from './prepare.ts'
import { type Answer, answerOf } from './reply.ts'
import { checkRoom, type Database, NO_ROW, type Row, runPlan, withFreshCatalogue } from './run.ts'
import { spaceOf } from './space.ts'
import { type Rows, streamRows } from './stream.ts'
import { Timing } from './timing.ts'

/** Who asks: what the gateway's principal has. */
export interface RestPrincipal {
  readonly role: string
  /** 'anon': no credentials. */
  readonly kind: string
  readonly claimsJson: string
}

/** A share in an awake project, given back when the answer is made. */
export interface RestHold {
  readonly database: Database
  release(): void
}

export interface RestOptions {
  /** The project of a request, woken if need be; at once where it is awake. */
  open(request: FastifyRequest): RestHold | Promise<RestHold>
  principal(request: FastifyRequest): RestPrincipal
  /** The project's stored `rest` settings; the same object while they do not change. */
  settings(request: FastifyRequest): object | undefined
  /** URL of the API as its clients write it: for the root document. */
  url(request: FastifyRequest): URL
  /** Whether the answer goes to an origin that is not the project's own. */
  shared(request: FastifyRequest): boolean
  /** Bytes of a body. */
  readonly bodyLimit: number
}

/** The REST dialect as an API of projects: mount it under `/rest/v1`. */
export interface RestApi {
  readonly routes: FastifyPluginAsync
  readonly bodyLimit: number
  readonly render: (error: SovraError, request: FastifyRequest, reply: FastifyReply) => unknown
}

/** What is known of a request that failed, for its hint. */
interface Trace {
  plan: Plan | null
  catalogue: Catalogue | null
  schema: string
  /** Of a batch: its request; null for the batch as a whole. */
  readonly index?: number | null
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a request to the data API. A property: an entry of a WeakMap for each request is dear to the collector. */
    trace: Trace | null
  }
}

export function restApi(options: RestOptions): RestApi {
  const routes: FastifyPluginAsync = async (app) => {
    app.decorateRequest('trace', null)
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    register(app, options)
  }
  return { routes, bodyLimit: options.bodyLimit, render: (error, request, reply) => render(options, error, request, reply) }
}

function register(app: FastifyInstance, options: RestOptions): void {
  const handler = (rpc: boolean) => (request: FastifyRequest, reply: FastifyReply) =>
    handle(options, request, reply, { method: request.method as Verb, name: nameOf(request), rpc })
  const config = (action: 'rest:read' | 'rest:write' | 'rest:call' | 'rest:describe') => ({ action, resource: 'project' as const })
  app.route({
    method: ['GET', 'HEAD'],
    url: '/',
    exposeHeadRoute: false,
    config: config('rest:describe'),
    handler: (request, reply) => root(options, request, reply),
  })
  app.route({
    method: 'OPTIONS',
    url: '/',
    config: config('rest:describe'),
    handler: (_request, reply) => allow(reply, 'OPTIONS,GET,HEAD'),
  })
  app.route({ method: 'POST', url: '/', config: config('rest:write'), handler: (request, reply) => handleBatch(options, request, reply) })
  app.route({ method: ['GET', 'HEAD'], url: '/:name', exposeHeadRoute: false, config: config('rest:read'), handler: handler(false) })
  app.route({ method: ['POST', 'PATCH', 'PUT', 'DELETE'], url: '/:name', config: config('rest:write'), handler: handler(false) })
  app.route({
    method: 'OPTIONS',
    url: '/:name',
    config: config('rest:describe'),
    handler: (request, reply) => allowed(options, request, reply, false),
  })
  app.route({
    method: ['GET', 'HEAD', 'POST'],
    url: '/rpc/:name',
    exposeHeadRoute: false,
    config: config('rest:call'),
    handler: handler(true),
  })
  app.route({ method: ['PATCH', 'PUT', 'DELETE'], url: '/rpc/:name', config: config('rest:call'), handler: refuseMethod })
  app.route({
    method: 'OPTIONS',
    url: '/rpc/:name',
    config: config('rest:describe'),
    handler: (request, reply) => allowed(options, request, reply, true),
  })
}

const refuseMethod = (request: FastifyRequest) => {
  throw fail('PGRST101', { method: request.method })
}

const nameOf = (request: FastifyRequest): string => (request.params as { name: string }).name

async function handle(options: RestOptions, request: FastifyRequest, reply: FastifyReply, call: Call): Promise<unknown> {
  const opening = options.open(request)
  const hold = opening instanceof Promise ? await opening : opening
  const trace: Trace = { plan: null, catalogue: null, schema: '' }
  request.trace = trace
  let streaming = false
  try {
    const answer = await withFreshCatalogue(hold.database.catalogue, (catalogue) =>
      attempt(options, request, reply, call, hold.database, catalogue, trace),
    )
    const { stream } = answer
    if (stream === undefined) return send(reply, answer, request.method === 'HEAD')
    streaming = true
    stream.once('close', () => hold.release())
    return reply.code(answer.status).headers(answer.headers).send(stream)
  } finally {
    if (!streaming) hold.release()
  }
}

async function handleBatch(options: RestOptions, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  if (mediaType(header(request, 'content-type')) !== BATCH_TYPE) throw fail('PGRST117', { method: 'POST' })
  const hold = await options.open(request)
  const trace: BatchTrace = { index: null, plan: null, catalogue: null, schema: '' }
  request.trace = trace
  try {
    const { database } = hold
    const { body, replayed } = await withFreshCatalogue(database.catalogue, (catalogue) => {
      const space = spaceOf(catalogue, options.settings(request))
      const batch = batchOf(request, options.principal(request), space, () => new ClientGone(reply))
      return runBatch(database, catalogue, space, batch, trace)
    })
    if (replayed) reply.header('idempotency-replayed', 'true')
    return reply.header('content-type', 'application/json; charset=utf-8').send(body)
  } finally {
    hold.release()
  }
}

/** Bytes of an answer that is not worth a write of its own. */
const SHORT_BODY = 16_384

function send(reply: FastifyReply, answer: Answer, head: boolean): FastifyReply {
  reply.code(answer.status).headers(answer.headers)
  const { body } = answer
  if (head || body === null) return reply.send()
  // As text it goes out with the head of the answer, in one piece.
  return reply.send(body.length <= SHORT_BODY && isAscii(body) ? body.toString('latin1') : body)
}

async function attempt(
  options: RestOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
  database: Database,
  catalogue: Catalogue,
  trace: Trace,
): Promise<Answer> {
  const space = spaceOf(catalogue, options.settings(request))
  const { schema, profile } = schemaOf(request, space)
  trace.catalogue = catalogue
  trace.schema = schema
  const timing = space.settings.serverTiming ? new Timing(reply.elapsedTime) : null
  const { plan, values, body } = prepare(request, call, space, catalogue, schema, timing)
  trace.plan = plan
  checkRoom(database, plan)
  const identity = identityOf(request, options.principal(request), call, space.searchPaths.get(schema) ?? schema, plan.prefer.timezone)
  const ofRole = space.preparation(identity.role)
  const preparation = plan.routine?.settings ? hoisted(ofRole, plan.routine.settings) : ofRole
  const rows =
    plan.stream && preparation.before.length === 0 && preparation.isolation === null
      ? await streamRows(database.pool, identity, plan.stream, values, new ClientGone(reply), preparation.timeout)
      : null
  const row = rows
    ? rowOfStream(rows)
    : await runPlan(database.pool, identity, plan, values, body, () => new ClientGone(reply), preparation)
  timing?.mark('transaction')
  const location = plan.action === 'read' ? contentLocation(call.name, queryOf(request.url)) : null
  const answer = answerOf(plan, row, values, profile, options.shared(request), location)
  if (rows?.body instanceof Readable) return { ...answer, stream: rows.body }
  if (timing === null) return answer
  timing.mark('response')
  return { ...answer, headers: { ...answer.headers, 'server-timing': timing.toString() } }
}

const NO_BYTES = Buffer.alloc(0)
const rowOfStream = ({ page, body }: Rows): Row => ({ ...NO_ROW, page, body: body instanceof Buffer ? body : NO_BYTES })

/** Aborted when the client goes away before its answer: what an AbortSignal does for one listener, without its cost for each request. */
class ClientGone implements Gone {
  aborted: boolean
  #listener: (() => void) | null = null

  constructor(reply: FastifyReply) {
    this.aborted = reply.raw.destroyed
    // Also emitted after a whole answer, when there is nothing left to end.
    reply.raw.on('close', () => {
      if (reply.raw.writableFinished || this.aborted) return
      this.aborted = true
      this.#listener?.()
    })
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listener = listener
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    if (this.#listener === listener) this.#listener = null
  }
}

async function root(options: RestOptions, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const hold = await options.open(request)
  try {
    const catalogue = hold.database.catalogue.current
    const space = spaceOf(catalogue, options.settings(request))
    const { rootSpec } = space.settings
    if (rootSpec !== null) return await handle(options, request, reply, { method: 'GET', name: rootSpec, rpc: true })
    const answer = describe(request, space, catalogue, options.principal(request).role, options.url(request))
    return send(reply, answer, request.method === 'HEAD')
  } finally {
    hold.release()
  }
}

const allow = (reply: FastifyReply, methods: string) => reply.code(200).header('allow', methods).send()

async function allowed(options: RestOptions, request: FastifyRequest, reply: FastifyReply, rpc: boolean): Promise<unknown> {
  const hold = await options.open(request)
  try {
    return await withFreshCatalogue(hold.database.catalogue, async (catalogue) => {
      const { schema } = schemaOf(request, spaceOf(catalogue, options.settings(request)))
      return allow(
        reply,
        rpc ? routineMethods(catalogue, schema, nameOf(request)) : tableMethods(findTable(catalogue, schema, nameOf(request))),
      )
    })
  } finally {
    hold.release()
  }
}

const METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'POST', 'PATCH', 'PUT', 'DELETE'])

function render(options: RestOptions, error: SovraError, request: FastifyRequest, reply: FastifyReply): unknown {
  const { trace } = request
  if (error.code === 'not_found' && !METHODS.has(request.method)) {
    return render(options, fail('PGRST117', { method: request.method }), request, reply)
  }
  const principal = trace ? options.principal(request) : null
  const role = principal?.role ?? 'anon'
  const caller = { role, authenticated: role !== 'anon' }
  const rendered = renderError(error, caller, (fields) =>
    trace?.catalogue ? grantHint(fields, role, trace.plan, trace.catalogue, trace.schema) : null,
  )
  // RFC 9209, as the dialect's clients read it. A raised code may hold anything: only a plain one is named.
  if (/^\w{1,64}$/.test(rendered.body.code)) reply.header('proxy-status', `PostgREST; error=${rendered.body.code}`)
  if (rendered.statusText !== undefined) reply.raw.statusMessage = rendered.statusText
  reply.code(rendered.status).headers(rendered.headers).header('content-type', 'application/json; charset=utf-8')
  const body = trace?.index === undefined ? rendered.body : { ...rendered.body, index: trace.index }
  return reply.send(request.method === 'HEAD' ? undefined : Buffer.from(JSON.stringify(body)))
}
