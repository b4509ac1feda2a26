import { fail } from '../../../base/errors.ts'
import { mediaType } from '../parse/body.ts'
import type { Verb } from '../prepare.ts'
import { isRaw, type Json, mapTexts, parseJson } from './json.ts'
import { type Resolve, referredBy, unresolved } from './references.ts'

export const BATCH_TYPE = 'application/vnd.sovrabase.batch+json'

export const BATCH_LIMITS = {
  /** Requests of one batch. */
  requests: 100,
  /** Bytes of all bodies that one batch answers. */
  answer: 32 * 1024 * 1024,
} as const

/** One request of a batch, as it was sent. */
export interface BatchRequest {
  readonly method: Verb
  readonly name: string
  readonly rpc: boolean
  /** Path and query, as one of a request of its own. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Json | undefined
}

const VERBS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'])
/** Headers that a request of a batch may have. Who calls, and from where, is said once for all of them. */
const HEADERS: ReadonlySet<string> = new Set([
  ...['accept', 'accept-profile', 'content-profile', 'content-type', 'prefer', 'range', 'range-unit'],
])
const PATH = /^\/?(?:rest\/v1\/)?(rpc\/)?([^/?#]+)(\?[^#]*)?$/

const malformed = (reason: string) => fail('batch_malformed', { reason })
const isObject = (value: Json | undefined): value is { readonly [name: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isRaw(value)

/** The elements of a batch. Throws batch_malformed, batch_too_large or PGRST102. */
export function listOf(text: string): readonly Json[] {
  const list = parseJson(text)
  if (!Array.isArray(list)) throw malformed('it is no list')
  if (list.length === 0) throw malformed('the list is empty')
  if (list.length > BATCH_LIMITS.requests) throw fail('batch_too_large', { limit: BATCH_LIMITS.requests })
  return list
}

export function requestOf(value: Json): BatchRequest {
  if (!isObject(value)) throw malformed('a request is an object')
  const stray = Object.keys(value).find((key) => !['method', 'path', 'headers', 'body'].includes(key))
  if (stray !== undefined) throw malformed(`a request has no "${stray.slice(0, 100)}"`)
  const { method, path, body } = value
  if (typeof method !== 'string' || !VERBS.has(method)) throw malformed('"method" is one of GET, HEAD, POST, PATCH, PUT and DELETE')
  if (typeof path !== 'string') throw malformed('"path" is a text')
  const found = PATH.exec(path)
  if (!found) throw malformed('"path" is that of a table or of a function: /todos?id=eq.1 or /rpc/name')
  const rpc = found[1] !== undefined
  if (rpc && !['GET', 'HEAD', 'POST'].includes(method)) throw fail('PGRST101', { method })
  return { method: method as Verb, name: nameOf(found[2] ?? ''), rpc, url: found[3] ?? '', headers: headersOf(value.headers), body }
}

function nameOf(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw malformed('"path" is not well encoded')
  }
}

function headersOf(value: Json | undefined): Record<string, string> {
  if (value === undefined) return {}
  if (!isObject(value)) throw malformed('"headers" is an object of texts')
  const headers: Record<string, string> = {}
  for (const [given, text] of Object.entries(value)) {
    const name = given.toLowerCase()
    if (typeof text !== 'string') throw malformed('"headers" is an object of texts')
    if (!HEADERS.has(name)) throw malformed(`a request of a batch has no header "${given.slice(0, 100)}"; send it with the batch`)
    headers[name] = text
  }
  if (/(?:^|,)\s*tx=/.test(headers.prefer ?? '')) throw malformed('Prefer: tx=… is for the batch as a whole')
  return headers
}

const isJson = (type: string) => type === 'application/json' || type.endsWith('+json')

/** The body as a request of its own would send it: a text as it is where its type is no JSON, else JSON with its references resolved. */
export function bodyOf({ body, headers }: BatchRequest, resolve: Resolve): Buffer {
  if (body === undefined) return Buffer.alloc(0)
  if (typeof body === 'string' && !isJson(mediaType(headers['content-type']))) return Buffer.from(body)
  const made = mapTexts(body, (text) => {
    const found = resolve(text)
    return 'literal' in found ? found.literal : found.value
  })
  return Buffer.from(JSON.stringify(made))
}

/** Where a query says a reference: each is looked at once more, as a value, when it is bound. */
const IN_QUERY = /\$(\d{1,4})[.[]/g

/** Requests that this one refers to. */
function referredTo({ url, headers, body }: BatchRequest): number[] {
  const found = [...queryText(url).matchAll(IN_QUERY)].map(([, index]) => Number(index))
  if (body === undefined || (typeof body === 'string' && !isJson(mediaType(headers['content-type'])))) return found
  mapTexts(body, (text) => {
    const index = referredBy(text)
    if (index !== null) found.push(index)
    return text
  })
  return found
}

function queryText(url: string): string {
  try {
    return decodeURIComponent(url)
  } catch {
    return url
  }
}

/** A write to a table whose result a later request refers to answers its rows, unless it says itself what it answers. Pure. */
export function answeringRows(requests: readonly BatchRequest[]): readonly BatchRequest[] {
  const wanted = new Set(requests.flatMap(referredTo))
  return requests.map((request, index) => {
    const { prefer } = request.headers
    const writes = !request.rpc && request.method !== 'GET' && request.method !== 'HEAD'
    if (!writes || !wanted.has(index) || /(?:^|,)\s*return=/.test(prefer ?? '')) return request
    const asked = 'return=representation'
    return { ...request, headers: { ...request.headers, prefer: prefer ? `${prefer}, ${asked}` : asked } }
  })
}

/** A value of the query string. What a reference gives is a value too, whatever it holds: the query was read before. */
export function valuesOf(text: string, resolve: Resolve, list: boolean): string[] {
  const found = resolve(text)
  if ('literal' in found) return [found.literal]
  if (!Array.isArray(found.value)) return [textOf(found.value, found.reference)]
  if (!list) throw unresolved(found.reference, 'a list of values stands in in.(…) only')
  return found.value.map((item) => textOf(item, found.reference))
}

function textOf(value: Json, reference: string): string {
  if (value === null) throw unresolved(reference, 'it is null, which no filter compares with')
  if (typeof value === 'string') return value
  return JSON.stringify(value)
}
