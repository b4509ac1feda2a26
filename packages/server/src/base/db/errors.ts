import { fail, isSovraError, type SovraError } from '../errors.ts'

/** What the three client libraries put on their errors. */
interface DatabaseError {
  code?: unknown
  errno?: unknown
  errcode?: unknown
  fatal?: unknown
  message?: unknown
}

const SQLITE_BUSY = 5
const SQLITE_UNIQUE = 2067
const SQLITE_PRIMARY_KEY = 1555
const SQLITE_FOREIGN_KEY = 787
const SQLITE_PRIMARY_CODE = 0xff

const UNIQUE = new Set<unknown>(['23505', 'ER_DUP_ENTRY'])
const FOREIGN = new Set<unknown>(['23503', 'ER_NO_REFERENCED_ROW_2'])
// Serialisation failure, deadlock, lock time-out: the transaction is rolled back as a whole and may be run again.
const CONFLICTS = new Set<unknown>(['40001', '40P01', '55P03', 'ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_CHECKREAD'])
const LOST = new Set<unknown>([
  ...[
    'ECONNREFUSED',
    'ECONNRESET',
    'ECONNABORTED',
    'EPIPE',
    'ENOENT',
    'ETIMEDOUT',
    'ENOTFOUND',
    'EAI_AGAIN',
    'EHOSTUNREACH',
    'ENETUNREACH',
  ],
  // PostgreSQL: shut down by the administrator, crashed, starting up, idle in a transaction, too many connections.
  ...['57P01', '57P02', '57P03', '57P05', '25P03', '53300'],
  ...['PROTOCOL_CONNECTION_LOST', 'PROTOCOL_SEQUENCE_TIMEOUT', 'ER_SERVER_SHUTDOWN', 'ER_CONNECTION_KILLED', 'ER_CON_COUNT_ERROR'],
])
const LOST_TEXT =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed)/
const LOST_TEXT_MYSQL = /(connection is in closed state|Connection lost|Pool is closed)/
const REFUSED = new Set<unknown>(['28000', '28P01', '3D000', 'ER_ACCESS_DENIED_ERROR', 'ER_DBACCESS_DENIED_ERROR', 'ER_BAD_DB_ERROR'])
const RETRY_AFTER = { 'Retry-After': '1' }

/** The error and what caused it, outermost first. */
function* chain(error: unknown): Generator<DatabaseError> {
  for (let at: unknown = error; typeof at === 'object' && at !== null; at = (at as { cause?: unknown }).cause) yield at as DatabaseError
}

function some(error: unknown, test: (link: DatabaseError) => boolean): boolean {
  for (const link of chain(error)) if (test(link)) return true
  return false
}

/** A row with this key exists already; true on all three databases. */
export const isUniqueViolation = (error: unknown): boolean =>
  some(error, (e) => UNIQUE.has(e.code) || e.errcode === SQLITE_UNIQUE || e.errcode === SQLITE_PRIMARY_KEY)

/** The row that this one belongs to is not there (any more); true on all three databases. */
export const isForeignKeyViolation = (error: unknown): boolean =>
  some(error, (e) => FOREIGN.has(e.code) || e.errcode === SQLITE_FOREIGN_KEY)

/** Deadlock, serialisation failure or lock time-out: the whole transaction may be run again. */
export const isConflict = (error: unknown): boolean => some(error, (e) => CONFLICTS.has(e.code))

/** Another process holds SQLite's write lock. */
export const isBusy = (error: unknown): boolean =>
  some(error, (e) => typeof e.errcode === 'number' && (e.errcode & SQLITE_PRIMARY_CODE) === SQLITE_BUSY)

/** The connection could not be made, or ended; whether its last statement was done is unknown. */
export const isConnectionLoss = (error: unknown): boolean =>
  isSovraError(error, 'metadata_unavailable') ||
  some(error, (e) => {
    if (LOST.has(e.code)) return true
    if (typeof e.code === 'string' && /^08...$/.test(e.code)) return true
    return typeof e.message === 'string' && (LOST_TEXT.test(e.message) || LOST_TEXT_MYSQL.test(e.message))
  })

/** What a lost or refused connection means to callers (503 or a wrong configuration); other errors are answered as they are. */
export function describeConnection(error: unknown): unknown {
  if (isSovraError(error)) return error
  const [first] = chain(error)
  const code = String(first?.code ?? 'connection lost')
  if (REFUSED.has(first?.code)) return fail('metadata_refused', { reason: code }, { cause: error })
  return isConnectionLoss(error) ? unavailable(code, error) : error
}

export const unavailable = (reason: string, cause: unknown): SovraError =>
  fail('metadata_unavailable', { reason }, { cause, headers: RETRY_AFTER })
