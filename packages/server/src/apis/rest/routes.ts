import { isAscii } from 'node:buffer'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import { routineMethods, tableMethods } from './allow.ts'
import { type BatchTrace, batchOf, runBatch } from './batch/batch.ts'
import { BATCH_TYPE } from './batch/request.ts'
import { callerOf } from './caller.ts'
import { ClientGone } from './client-gone.ts'
import { describe } from './describe.ts'
import type { RestApi, RestOptions, Trace } from './options.ts'
import { narrowOrigins } from './origins.ts'
import { mediaType } from './parse/body.ts'
import { contentLocation } from './parse/canonical.ts'
import { type Call, findTable, header, identityOf, prepare, queryOf, schemaOf, type Verb } from './prepare.ts'
import { render } from './render.ts'
import { type Answer, answerOf } from './reply.ts'
import { checkRoom, type Database, NO_ROW, type Row, runPlan, wholeOf, withFreshCatalogue } from './run.ts'
import { isUndone } from './settings.ts'
import { type Space, spaceOf } from './space.ts'
import { type Rows, streamRows } from './stream.ts'
import { Timing } from './timing.ts'
import { repeatTraceHeader } from './trace-header.ts'

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
    handler: (request, reply) => allow(options, request, reply, () => 'OPTIONS,GET,HEAD'),
  })
  app.route({
    method: ['PUT', 'PATCH', 'DELETE'],
    url: '/',
    config: config('rest:describe'),
    handler: (request) => {
      throw fail('PGRST117', { method: request.method })
    },
  })
  app.route({ method: 'POST', url: '/', config: config('rest:write'), handler: (request, reply) => handleBatch(options, request, reply) })
  app.route({ method: ['GET', 'HEAD'], url: '/:name', exposeHeadRoute: false, config: config('rest:read'), handler: handler(false) })
  app.route({ method: ['POST', 'PATCH', 'PUT', 'DELETE'], url: '/:name', config: config('rest:write'), handler: handler(false) })
  app.route({
    method: 'OPTIONS',
    url: '/:name',
    config: config('rest:describe'),
    handler: (request, reply) =>
      allow(options, request, reply, ({ catalogue, schema, role }) => tableMethods(findTable(catalogue, schema, nameOf(request)), role)),
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
    handler: (request, reply) =>
      allow(options, request, reply, ({ catalogue, schema, role }) => routineMethods(catalogue, schema, nameOf(request), role)),
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
      const space = spaceFor(options, request, reply, catalogue)
      trace.caller = callerOf(options, request, space.settings)
      const batch = batchOf(request, trace.caller, space, () => new ClientGone(reply))
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

/** What is in force for the request; its answer says at once what every answer of the project says. */
function spaceFor(options: RestOptions, request: FastifyRequest, reply: FastifyReply, catalogue: Catalogue): Space {
  const space = spaceOf(catalogue, options.settings(request))
  repeatTraceHeader(space.settings, request, reply)
  narrowOrigins(space.settings, request, reply)
  return space
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
  const space = spaceFor(options, request, reply, catalogue)
  const { schema, profile } = schemaOf(request, space)
  trace.catalogue = catalogue
  trace.schema = schema
  const caller = callerOf(options, request, space.settings)
  trace.caller = caller
  const timing = timingOf(space, reply)
  const { plan, values, body } = prepare(request, call, space, catalogue, schema, timing)
  trace.plan = plan
  checkRoom(database, plan)
  const identity = identityOf(request, caller, call, space.searchPaths.get(schema) ?? schema, plan.prefer.timezone)
  const preparation = space.preparation(identity.role, plan.routine, plan.prefer.timezone !== null)
  const rows =
    plan.stream && preparation.isolation === null
      ? await streamRows(database.pool, identity, plan.stream, values, new ClientGone(reply), preparation)
      : null
  const row = rows
    ? rowOfStream(rows)
    : await runPlan(database.pool, {
        identity,
        plan,
        values,
        body,
        preparation,
        signal: () => new ClientGone(reply),
        undone: isUndone(space.settings, plan.prefer.tx),
      })
  timing?.mark('transaction')
  const location = plan.action === 'read' ? contentLocation(call.name, queryOf(request.url)) : null
  const answer = answerOf(plan, row, values, profile, options.shared(request), location)
  return timed(rows?.body instanceof Readable ? { ...answer, stream: rows.body } : answer, timing)
}

const timingOf = ({ settings }: Space, reply: FastifyReply) => (settings.serverTiming ? new Timing(reply.elapsedTime) : null)

function timed(answer: Answer, timing: Timing | null): Answer {
  if (timing === null) return answer
  timing.mark('response')
  return { ...answer, headers: { ...answer.headers, 'server-timing': timing.toString() } }
}

const NO_BYTES = Buffer.alloc(0)
const rowOfStream = ({ page, body }: Rows): Row => ({ ...NO_ROW, page, body: body instanceof Buffer ? body : NO_BYTES })

async function root(options: RestOptions, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const hold = await options.open(request)
  try {
    const catalogue = wholeOf(hold.database.catalogue)
    const space = spaceFor(options, request, reply, catalogue)
    const { rootSpec } = space.settings
    if (rootSpec !== null) return await handle(options, request, reply, { method: 'GET', name: rootSpec, rpc: true })
    const timing = timingOf(space, reply)
    const answer = describe(request, space, catalogue, callerOf(options, request, space.settings).role, options.url(request))
    return send(reply, timed(answer, timing), request.method === 'HEAD')
  } finally {
    hold.release()
  }
}

interface Described {
  readonly catalogue: Catalogue
  readonly schema: string
  readonly role: string
}

async function allow(
  options: RestOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  methods: (of: Described) => string,
): Promise<unknown> {
  const hold = await options.open(request)
  try {
    return await withFreshCatalogue(hold.database.catalogue, async (catalogue) => {
      const space = spaceFor(options, request, reply, catalogue)
      const timing = timingOf(space, reply)
      const { schema } = schemaOf(request, space)
      const { role } = callerOf(options, request, space.settings)
      return send(reply, timed({ status: 200, headers: { allow: methods({ catalogue, schema, role }) }, body: null }, timing), true)
    })
  } finally {
    hold.release()
  }
}
