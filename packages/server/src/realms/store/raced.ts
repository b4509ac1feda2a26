import { isForeignKeyViolation, isUniqueViolation } from '../../base/db/errors.ts'
import { isSovraError } from '../../base/errors.ts'

const FOREIGN_KEY = '23503'
const UNIQUE = '23505'
/** Deadlock, serialisation failure. */
const CONFLICTS = new Set<unknown>(['40P01', '40001'])
const MOST_ATTEMPTS = 4

/** What a project's cluster says of a key of the realm's own tables; keys of the project's are none of ours. */
function keyOf(error: unknown): string | null {
  if (!isSovraError(error, 'database_error')) return null
  const { sqlstate, schema } = error.details as { sqlstate?: string; schema?: string | null }
  return schema === 'auth' ? (sqlstate ?? null) : null
}

/** Whose row was to be written was removed since it was read: the person or the session. */
export const isGone = (error: unknown): boolean => keyOf(error) === FOREIGN_KEY || isForeignKeyViolation(error)

/** Another transaction was there between our look and our write; all of ours was rolled back, and another look finds what it left. */
function isRaced(error: unknown): boolean {
  if (isGone(error) || keyOf(error) === UNIQUE || isUniqueViolation(error)) return true
  return isSovraError(error, 'database_error') && CONFLICTS.has((error.details as { sqlstate?: string }).sqlstate)
}

/** Runs a whole transaction of a realm, again where it was raced: it must change nothing but the database. */
export async function unraced<R>(transaction: () => Promise<R>): Promise<R> {
  for (let tried = 1; ; tried++) {
    try {
      return await transaction()
    } catch (error) {
      if (!isRaced(error) || tried >= MOST_ATTEMPTS) throw error
    }
  }
}
