import { fail } from '../../base/errors.ts'
import type { Identity } from '../../runtime/engines/postgres/as-role.ts'
import type { Catalogue, Table } from '../../runtime/engines/postgres/catalogue/types.ts'
import { type Payload, parseBody } from './parse/body.ts'
import type { Meaning } from './parse/filter.ts'
import { parsePrefer, parseRange } from './parse/headers.ts'
import { LIMITS } from './parse/limits.ts'
import { negotiate } from './parse/media.ts'
import { type Shaped, shapeQuery } from './parse/query.ts'
import { findRoutine, planCall, rowTable } from './plan/call.ts'
import { nearest } from './plan/nearest.ts'
import { producerOf } from './plan/producer.ts'
import { planRead } from './plan/read.ts'
import type { Action, Plan, PlanInput } from './plan/types.ts'
import { planWrite } from './plan/write.ts'
import type { Space } from './space.ts'
import type { Timing } from './timing.ts'

export type Verb = 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
const WRITES: Readonly<Partial<Record<string, Exclude<Action, 'read' | 'call'>>>> = {
  POST: 'insert',
  PATCH: 'update',
  PUT: 'upsert',
  DELETE: 'delete',
}

export interface Call {
  readonly method: Verb
  readonly name: string
  readonly rpc: boolean
}

/** What a request to a table or function is made of: Fastify's, or one of a batch. */
export interface Asked {
  readonly method: string
  /** With its query string. */
  readonly url: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** A Buffer, where there is one. */
  readonly body?: unknown
  /** Of a batch: what values of its query string stand for. */
  readonly meaning?: Meaning
}

export const header = (request: Asked, name: string): string | undefined => {
  const value = request.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

export function queryOf(url: string): string {
  const mark = url.indexOf('?')
  return mark < 0 ? '' : url.slice(mark + 1)
}

/** The request as a plan (from the cache, for a shape that is known) and what it is bound to. */
export function prepare(request: Asked, call: Call, space: Space, catalogue: Catalogue, schema: string, timing: Timing | null = null) {
  const reads = call.method === 'GET' || call.method === 'HEAD'
  const range = call.method === 'GET' ? parseRange(header(request, 'range')) : null
  const shaped = shapeQuery(queryOf(request.url), { arguments: call.rpc && reads, range, meaning: request.meaning })
  const payload = reads || call.method === 'DELETE' ? null : payloadOf(request, call, shaped)
  timing?.mark('parse')
  const accept = header(request, 'accept') ?? ''
  const prefer = header(request, 'prefer') ?? ''
  const bodyShape = payload === null ? '' : `${payload.type}\0${payload.isArray}\0${JSON.stringify(payload.keys)}`
  const key = [call.method, call.rpc ? 'rpc' : '', call.name, schema, accept, prefer, bodyShape, shaped.shape].join('\0')
  let plan = space.plans.get(key)
  if (plan === undefined) {
    plan = makePlan(call, space, catalogue, schema, shaped, payload, accept, prefer)
    if (key.length <= LIMITS.cachedShape) space.plans.set(key, plan)
  }
  timing?.mark('plan')
  return { plan, values: shaped.values, body: payload?.text ?? '' }
}

function payloadOf(request: Asked, call: Call, shaped: Shaped): Payload {
  const raw = request.body instanceof Buffer ? request.body : Buffer.alloc(0)
  const type = header(request, 'content-type')
  const text = raw.toString(type?.startsWith('application/octet-stream') ? 'latin1' : 'utf8')
  return parseBody(text, type, { columns: shaped.columns, rpc: call.rpc })
}

function makePlan(
  call: Call,
  space: Space,
  catalogue: Catalogue,
  schema: string,
  shaped: Shaped,
  payload: Payload | null,
  accept: string,
  preferHeader: string,
): Plan {
  const { settings } = space
  const prefer = parsePrefer(preferHeader, settings.transactionEnd, settings.timezones)
  const query = shaped.parse()
  const routine = call.rpc ? findRoutine({ catalogue, schema, query }, call.name, payload) : null
  const table = routine === null ? findTable(catalogue, schema, call.name) : rowTable(catalogue, routine)
  const input: PlanInput = {
    catalogue,
    schema,
    query,
    media: negotiate(accept, false, producerOf(catalogue, query, table, routine, settings.plans)),
    prefer,
    head: call.method === 'HEAD',
    maxRows: settings.maxRows,
    aggregates: settings.aggregates,
    responds: settings.preRequest !== null,
  }
  if (routine !== null) return planCall(input, routine, payload)
  if (table === null) throw fail('internal')
  const write = WRITES[call.method]
  return write === undefined ? planRead(input, table) : planWrite(write, input, table, payload ?? { isArray: false, keys: [], type: '' })
}

export function findTable(catalogue: Catalogue, schema: string, name: string): Table {
  const tables = catalogue.schemas.get(schema)?.tables
  const table = tables?.get(name)
  if (table) return table
  const near = nearest(name, tables?.keys() ?? [], 0.75)
  throw fail('PGRST205', { schema, table: name, hint: near === null ? '' : `Perhaps you meant the table '${schema}.${near}'` })
}

/** The exposed schema that the request names, else the first. Answers name it where it was chosen from several. */
export function schemaOf(request: Asked, { settings }: Space): { schema: string; profile: string | null } {
  const reads = ['GET', 'HEAD', 'OPTIONS'].includes(request.method)
  const asked = header(request, reads ? 'accept-profile' : 'content-profile')
  const [first = 'public'] = settings.schemas
  if (asked !== undefined && !settings.schemas.includes(asked))
    throw fail('PGRST106', { schema: asked, schemas: settings.schemas.join(', ') })
  const schema = asked ?? first
  return { schema, profile: settings.schemas.length > 1 || asked !== undefined ? schema : null }
}

export function identityOf(
  request: Asked,
  principal: Pick<Identity, 'role' | 'claimsJson'>,
  call: Call,
  searchPath: string,
  timezone: string | null,
): Identity {
  const cookies = header(request, 'cookie')
  return {
    role: principal.role,
    claimsJson: principal.claimsJson,
    searchPath,
    headersJson: JSON.stringify(request.headers),
    method: call.method,
    path: call.rpc ? `/rpc/${call.name}` : `/${call.name}`,
    ...(cookies === undefined ? {} : { cookiesJson: cookiesJson(cookies) }),
    ...(timezone === null ? {} : { timezone }),
  }
}

const cookiesJson = (text: string): string =>
  JSON.stringify(
    Object.fromEntries(text.split(';').map((pair) => [pair.slice(0, pair.indexOf('=')).trim(), pair.slice(pair.indexOf('=') + 1).trim()])),
  )
