import { fail, isSovraError, type SovraError } from '../../../../base/errors.ts'

/** What PostgreSQL says of an error (https://www.postgresql.org/docs/18/protocol-error-fields.html). May quote values: never log it. */
export interface DatabaseFields {
  readonly sqlstate: string
  readonly severity: string
  readonly message: string
  readonly detail: string | null
  readonly hint: string | null
  readonly schema: string | null
  readonly table: string | null
  readonly column: string | null
  readonly constraint: string | null
  readonly context: string | null
  readonly position: number | null
  /** The C function that raised it. */
  readonly routine: string | null
}

/** Where the connection ended under a request. */
export interface LostDetails {
  /** The same request may be sent again without being done twice. */
  readonly retriable: boolean
}

const RETRY_AFTER_SECONDS = '1'

/** The fields of an ErrorResponse: each a letter and a text, until a zero byte. */
export function fieldsOf(data: Buffer, start: number, end: number): DatabaseFields {
  const fields: Record<string, string> = {}
  for (let at = start; at < end && data[at] !== 0; ) {
    const zero = data.indexOf(0, at + 1)
    fields[String.fromCharCode(data[at]!)] = data.toString('utf8', at + 1, zero)
    at = zero + 1
  }
  return {
    sqlstate: fields.C ?? 'XX000',
    severity: fields.V ?? fields.S ?? 'ERROR',
    message: fields.M ?? '',
    detail: fields.D ?? null,
    hint: fields.H ?? null,
    schema: fields.s ?? null,
    table: fields.t ?? null,
    column: fields.c ?? null,
    constraint: fields.n ?? null,
    context: fields.W ?? null,
    position: fields.P === undefined ? null : Number(fields.P),
    routine: fields.R ?? null,
  }
}

export const databaseError = (fields: DatabaseFields): SovraError =>
  fail('database_error', { sqlstate: fields.sqlstate }, { details: fields })

const errorOf = (sqlstate: string, message: string): DatabaseFields => ({
  ...{ sqlstate, severity: 'ERROR', message, detail: null, hint: null, schema: null, table: null },
  ...{ column: null, constraint: null, context: null, position: null, routine: null },
})

/** What PostgreSQL says of a statement that takes too long. */
export const timedOut = (): SovraError => databaseError(errorOf('57014', 'canceling statement due to statement timeout'))

/** In the place of an error whose text fills more than a megabyte. */
export const LONG_ERROR: DatabaseFields = errorOf('54000', 'an error was raised whose text is too long to be shown')

export function connectionLost(reason: string, retriable: boolean, cause?: unknown): SovraError {
  const details: LostDetails = { retriable }
  return fail('connection_lost', { reason }, { details, cause, headers: { 'retry-after': RETRY_AFTER_SECONDS } })
}

export const overloaded = (reason: string): SovraError =>
  fail('overloaded', { reason }, { headers: { 'retry-after': RETRY_AFTER_SECONDS } })

/** PostgreSQL's own words, if the error is one of its. */
export const fieldsOfError = (error: unknown): DatabaseFields | null =>
  isSovraError(error, 'database_error') ? (error.details as DatabaseFields) : null

/** Whether the request may simply be sent again: its connection ended before it could have any effect. */
export const isRetriable = (error: unknown): boolean => isSovraError(error, 'connection_lost') && (error.details as LostDetails).retriable

/**
 * The statement is not, or no longer, what the connection prepared: it was deallocated, never parsed (the Parse of a neighbour failed),
 * or its columns changed. Raised before anything of it ran, so parsing it again is safe.
 */
export function isStalePlan(fields: DatabaseFields): boolean {
  if (fields.sqlstate === '26000') return fields.routine === 'FetchPreparedStatement' || fields.routine === 'exec_bind_message'
  return fields.sqlstate === '0A000' && fields.routine === 'RevalidateCachedQuery'
}

/** What was caught, as one of ours. */
export const toSovraError = (error: unknown): SovraError => (isSovraError(error) ? error : fail('internal', {}, { cause: error }))
