import { fail, type SovraError } from '../../base/errors.ts'
import { statusOfInput, statusOfSqlState } from '../../runtime/engines/postgres/errors.ts'
import { type DatabaseFields, fieldsOfError } from '../../runtime/engines/postgres/wire/errors.ts'
import { jwtError } from './jwt.ts'
import { isHeader, type OwnHeaders, ownHeaders } from './own-headers.ts'
import { guardOf } from './plan/result.ts'

/** The dialect's error envelope, its status and headers. */
export interface RestError {
  readonly status: number
  /** Reason phrase, where a raised error gives its own. */
  readonly statusText?: string
  readonly headers: OwnHeaders
  readonly body: { readonly code: string; readonly details: unknown; readonly hint: string | null; readonly message: string }
}

export interface Caller {
  readonly role: string
  /** Has a role of its own: what it may not do is 403, not 401. */
  readonly authenticated: boolean
  /** Answered on an origin that is not the project's own. */
  readonly shared?: boolean
}

/** Codes of PostgREST for what other parts of the server refuse. */
const FOREIGN: Readonly<Record<string, string>> = {
  connection_lost: 'PGRST001',
  overloaded: 'PGRST003',
  disk_quota_exceeded: '53100',
  internal: 'PGRSTX00',
  role_not_allowed: '42501',
}

/** Renders any error in the dialect. `hintOf` says what would allow a statement that PostgreSQL refused. */
export function renderError(error: SovraError, caller: Caller, hintOf: (fields: DatabaseFields) => string | null): RestError {
  const fields = fieldsOfError(error)
  if (fields) return renderDatabaseError(fields, caller, hintOf)
  const refused = jwtError(error)
  if (refused !== null) return refused
  if (error.code === 'not_found') return renderError(fail('PGRST125'), caller, hintOf)
  const headers: Record<string, string> = { ...error.headers }
  if (error.status === 401 && headers['www-authenticate'] === undefined) headers['www-authenticate'] = 'Bearer'
  const code = FOREIGN[error.code] ?? error.code
  const details = code.startsWith('PGRST') && code === error.code ? (error.details ?? null) : null
  return { status: error.status, headers, body: { code, details, hint: error.hint === '' ? null : error.hint, message: error.message } }
}

/** The error that a guard of a plan means. */
function guardError(guard: NonNullable<ReturnType<typeof guardOf>>): SovraError {
  switch (guard.code) {
    case 'PGRST103':
      return rangeError(guard.more, guard.rows)
    case 'PGRST111':
    case 'PGRST112':
      return fail(guard.code)
    case 'PGRST115':
      return fail('PGRST115')
    case 'PGRST116':
      return singularityError(guard.rows)
    case 'PGRST124':
      return fail('PGRST124', {}, { details: `The query affects ${guard.rows} rows` })
  }
}

export const rangeError = (offset: number | string, total: number | string): SovraError =>
  fail(
    'PGRST103',
    {},
    {
      details: `An offset of ${offset} was requested, but there are only ${total} rows.`,
      headers: { 'content-range': `*/${total}` },
    },
  )

export const singularityError = (rows: number | string): SovraError => fail('PGRST116', {}, { details: `The result contains ${rows} rows` })

function renderDatabaseError(fields: DatabaseFields, caller: Caller, hintOf: (fields: DatabaseFields) => string | null): RestError {
  const guard = guardOf(fields.sqlstate, fields.message)
  if (guard) return renderError(guardError(guard), caller, hintOf)
  if (fields.sqlstate === 'PGRST') return raised(fields, caller, hintOf)
  const { sqlstate, message, routine, context } = fields
  const status = statusOfInput(sqlstate, message, routine, context) ?? statusOfSqlState(sqlstate, message, caller.authenticated)
  return {
    status,
    headers: status === 401 ? { 'www-authenticate': 'Bearer' } : {},
    body: { code: fields.sqlstate, details: fields.detail, hint: fields.hint ?? hintOf(fields), message: fields.message },
  }
}

function parsed(text: string | null): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

/** Those of a raised error that can be sent, with the same limits as those of an answer. */
function raisedHeaders(value: unknown, shared: boolean): OwnHeaders {
  const given = Object.entries(typeof value === 'object' && value !== null ? value : {})
  const pairs = given.map(([name, text]): [string, string] => [name, String(text)]).filter(([name, text]) => isHeader(name, text))
  return ownHeaders(pairs, shared) ?? {}
}
const orNull = (value: unknown): string | null => (typeof value === 'string' ? value : null)

/** `raise sqlstate 'PGRST' using message = '{code, message, details, hint}', detail = '{status, headers}'`. */
function raised(fields: DatabaseFields, caller: Caller, hintOf: (fields: DatabaseFields) => string | null): RestError {
  const message = parsed(fields.message)
  const detail = parsed(fields.detail)
  const wrong = (details: string, hint: string) => renderError(fail('PGRST121', { hint }, { details }), caller, hintOf)
  if (typeof message?.code !== 'string' || typeof message.message !== 'string') {
    const keys = "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'."
    return wrong(`Invalid JSON value for MESSAGE: '${fields.message}'`, keys)
  }
  const status = detail?.status
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599 || typeof detail?.headers !== 'object') {
    const keys = "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: 'status_text'."
    return wrong(
      fields.detail === null ? 'DETAIL is missing in the RAISE statement' : `Invalid JSON value for DETAIL: '${fields.detail}'`,
      keys,
    )
  }
  const reason = orNull(detail.status_text)
  return {
    status,
    ...(reason !== null && /^[\x20-\x7e]+$/.test(reason) ? { statusText: reason } : {}),
    headers: raisedHeaders(detail.headers, caller.shared === true),
    body: { code: message.code, details: orNull(message.details), hint: orNull(message.hint), message: message.message },
  }
}
