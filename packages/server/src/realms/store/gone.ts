import { isForeignKeyViolation } from '../../base/db/errors.ts'
import { isSovraError } from '../../base/errors.ts'

const FOREIGN_KEY = '23503'

/** Whose row was to be written was removed since it was read: the person or the session. Keys of the project's own tables are none of ours. */
export function isGone(error: unknown): boolean {
  if (!isSovraError(error, 'database_error')) return isForeignKeyViolation(error)
  const { sqlstate, schema } = error.details as { sqlstate?: string; schema?: string | null }
  return sqlstate === FOREIGN_KEY && schema === 'auth'
}
