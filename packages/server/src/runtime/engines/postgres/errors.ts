const CLASSES: Readonly<Record<string, number>> = {
  '08': 503,
  '09': 500,
  '0L': 403,
  '0P': 403,
  '25': 500,
  '28': 403,
  '2D': 500,
  '38': 500,
  '39': 500,
  '3B': 500,
  '40': 500,
  '53': 503,
  '54': 500,
  '55': 500,
  '57': 500,
  '58': 500,
  F0: 500,
  HV: 500,
  P0: 500,
  XX: 500,
}
const CODES: Readonly<Record<string, number>> = {
  '23503': 409,
  '23505': 409,
  '25006': 405,
  '42P01': 404,
  '42P17': 500,
  '42883': 404,
  '53400': 500,
  '57P01': 503,
  P0001: 400,
}

/**
 * The HTTP status of an SQLSTATE, as PostgREST's documentation gives it (Errors, "HTTP Status Codes"). `authenticated`: the caller has a role
 * of its own, so that a missing privilege is 403 and not 401. The statuses of `raise sqlstate 'PTxyz'` are xyz.
 */
export function statusOfSqlState(sqlstate: string, message: string, authenticated: boolean): number {
  switch (sqlstate) {
    case '42501':
      return authenticated ? 403 : 401
    case '21000':
      return message.endsWith('requires a WHERE clause') ? 400 : 500
    case '22023':
      return message.startsWith('role') && message.endsWith('does not exist') ? 401 : 400
  }
  if (sqlstate.startsWith('PT')) {
    const own = Number(sqlstate.slice(2))
    return own >= 200 ? Math.min(own, 599) : 500
  }
  return CODES[sqlstate] ?? CLASSES[sqlstate.slice(0, 2)] ?? 400
}

/** Raised by plpgsql's RAISE: what it says, and whether that is the caller's fault, is the function's. */
const RAISED = 'exec_stmt_raise'
const OF_INPUT = /^(?:21000|54\d{3})$/
/** What a view does, whatever is sent; a stack that functions or triggers used up is theirs too. */
const OF_VIEW = /^more than one row returned by a subquery/
const OF_FUNCTION = /\bfunction \S+\(/
const NOT_UPDATABLE = /^cannot (?:insert into|update|delete from|merge into) view /

/**
 * Of errors that the reference calls the server's, those that PostgreSQL itself raises only because of what was sent: a row that is merged
 * twice, a value too long for an index, too many columns, a view that cannot be written. Undefined for all others.
 */
export function statusOfInput(sqlstate: string, message: string, routine: string | null, context: string | null): number | undefined {
  if (routine === RAISED || OF_VIEW.test(message) || (sqlstate === '54001' && OF_FUNCTION.test(context ?? ''))) return undefined
  if (OF_INPUT.test(sqlstate)) return 400
  return sqlstate === '55000' && NOT_UPDATABLE.test(message) ? 405 : undefined
}

/** Errors that a catalogue which is behind may have caused: read it again, and try once more. */
export const staleStates: ReadonlySet<string> = new Set(['42P01', '42703', '42883', '42704', '3F000', '42P10', '42804'])
