import type { Readable } from 'node:stream'
import { fail } from '../../base/errors.ts'
import { rangeError, singularityError } from './errors.ts'
import { isHeader, type OwnHeaders, ownHeaders } from './own-headers.ts'
import { contentType, type Media } from './parse/media.ts'
import type { Plan } from './plan/types.ts'
import type { Row } from './run.ts'

export interface Answer {
  readonly status: number
  /** Set-Cookie may come more than once. */
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: Buffer | null
  /** In place of the body, one that is not there as a whole. */
  readonly stream?: Readable
}

/** Content-Range of `page` rows from `first`; `*` for what is empty or not known (RFC 9110, 14.4, with rows as unit). */
export function contentRange(first: number, page: number, total: number | null): string {
  return `${page > 0 && total !== 0 ? `${first}-${first + page - 1}` : '*'}/${total ?? '*'}`
}

/**
 * The answer to a request whose statement answered `row`; `shared`: on an origin that is not the project's own; `location`: where what was
 * read is found again. Pure. Throws PGRST103, 111, 112, 116.
 */
export function answerOf(
  plan: Plan,
  row: Row,
  values: readonly string[],
  profile: string | null,
  shared = false,
  location: string | null = null,
): Answer {
  const headers: Record<string, string> = {}
  if (plan.media.kind === 'plan') return { status: 200, headers: { 'content-type': contentType(plan.media) }, body: row.body }
  const status = STATUS[plan.action](plan, row, values, headers)
  if (location !== null) headers['content-location'] = location
  if (plan.applied !== '') headers['preference-applied'] = plan.applied
  const body =
    status === 204 || (isWrite(plan) && plan.prefer.return !== 'representation') || plan.isVoid ? null : bytesOf(plan.media, row.body)
  if (body !== null) {
    headers['content-type'] = contentType(plan.media)
    if (profile !== null) headers['content-profile'] = profile
  }
  return own({ status, headers, body }, row, shared)
}

/** bytea is printed as \\x and hexadecimal digits. */
function bytesOf(media: Media, body: Buffer | null): Buffer | null {
  const binary = media.kind === 'raw' ? media.binary : media.kind === 'custom' && media.handler.binary
  return binary && body !== null ? Buffer.from(body.toString('latin1', 2), 'hex') : body
}

const isWrite = ({ action }: Plan) => action !== 'read' && action !== 'call'
type StatusOf = (plan: Plan, row: Row, values: readonly string[], headers: Record<string, string>) => number

const read: StatusOf = (plan, row, values, headers) => {
  const first = plan.offset === null ? 0 : Number(values[plan.offset])
  if (plan.single && row.page !== 1) throw singularityError(row.page)
  headers['content-range'] = contentRange(first, row.page, row.total)
  if (row.total === null) return 200
  if (first > row.total && first !== 0) throw rangeError(first, row.total)
  return row.page < row.total ? 206 : 200
}

const counted = (plan: Plan, row: Row) => (plan.prefer.count === 'exact' || plan.prefer.count === 'estimated' ? row.page : null)
const represented = (plan: Plan) => plan.prefer.return === 'representation'

const STATUS: Readonly<Record<Plan['action'], StatusOf>> = {
  read,
  call: (plan, row, values, headers) => {
    const status = read(plan, row, values, headers)
    return plan.isVoid ? 204 : status
  },
  insert: (plan, row, _values, headers) => {
    headers['content-range'] = contentRange(0, 0, counted(plan, row))
    if (row.location !== null) {
      const pairs = (JSON.parse(row.location) as [string, string | null][]).map(
        ([key, value]) => `${encodeURIComponent(key)}=${value === null ? 'is.null' : `eq.${encodeURIComponent(value)}`}`,
      )
      headers.location = `/${encodeURIComponent(plan.name)}?${pairs.join('&')}`
    }
    // Without an inserted row nothing was created; what cannot be merged is an insert.
    return plan.merges && (row.inserted ?? 0) <= 0 ? 200 : 201
  },
  update: (plan, row, _values, headers) => {
    headers['content-range'] = contentRange(0, row.page, counted(plan, row))
    return represented(plan) ? 200 : 204
  },
  upsert: (plan, row) => (represented(plan) ? ((row.inserted ?? 0) > 0 ? 201 : 200) : 204),
  delete: (plan, row, _values, headers) => {
    headers['content-range'] = contentRange(0, 0, counted(plan, row))
    return represented(plan) ? 200 : 204
  },
}

/** Rows are no documents: shown by a browser they run nothing, and have no origin whose cookies they could use. */
const SANDBOX = "sandbox; default-src 'none'"

/** What functions and triggers set: `response.status`, and `response.headers` as `[{"name": "value"}]`. */
function own(answer: Answer, row: Row, shared: boolean): Answer {
  if (row.headers === null && row.status === null) return shared ? sandboxed(answer) : answer
  const headers = { ...answer.headers, ...(row.headers === null ? {} : saidHeaders(row.headers, shared)) }
  const made = { ...answer, headers, status: row.status === null ? answer.status : ownStatus(row.status) }
  return shared ? sandboxed(made) : made
}

const HARMLESS = /^(?:application\/(?:json|vnd\.pgrst\.)|text\/csv)/

function sandboxed(answer: Answer): Answer {
  if (HARMLESS.test(String(answer.headers['content-type'] ?? 'application/json'))) return answer
  return { ...answer, headers: { ...answer.headers, 'content-security-policy': SANDBOX } }
}

function ownStatus(text: string): number {
  const status = /^\d{3}$/.test(text) ? Number(text) : 0
  if (status < 200 || status > 599) throw fail('PGRST112')
  return status
}

/** Throws PGRST111. */
function saidHeaders(text: string, shared: boolean): OwnHeaders {
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch {
    throw fail('PGRST111')
  }
  if (!Array.isArray(list)) throw fail('PGRST111')
  const pairs = list.map((item: unknown): [string, string] => {
    const [pair, ...more] = Object.entries(typeof item === 'object' && item !== null ? item : {})
    const [name, value] = pair ?? ['', null]
    if (more.length > 0 || !isHeader(name, value)) throw fail('PGRST111')
    return [name, value]
  })
  const headers = ownHeaders(pairs, shared)
  if (headers === null) throw fail('PGRST111')
  return headers
}
