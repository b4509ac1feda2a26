import { substituteOf } from '@sovrabase/contract/extensions'
import type { DatabaseError } from 'pg'
import { fail, type SovraError } from '../../base/errors.ts'

/** Where a statement lies in the text that people sent. */
export interface Place {
  readonly sql: string
  /** Offset of the statement in `sql`. */
  readonly start: number
  readonly statement: number
  /** Characters that we put before it. */
  readonly before?: number
}

/** PostgreSQL counts characters from 1; line and column likewise. */
function positionIn({ sql, start, before = 0 }: Place, position: number) {
  const lead = [...sql.slice(0, start)].length
  const at = lead + position - before
  const lines = [...sql]
    .slice(0, at - 1)
    .join('')
    .split('\n')
  return { position: at, line: lines.length, column: [...(lines.at(-1) ?? '')].length + 1 }
}

const READ_ONLY = '25006'
const MAKE_ROOM =
  'Where nobody asked for read-only, the project has used up its disk quota: begin with `set default_transaction_read_only = off;` and DELETE, TRUNCATE or DROP.'

const EXTENSION = /^extension "([^"]+)" is not available$/

/** What PostgreSQL said, with its place in the text as people sent it. */
export function sqlError(error: DatabaseError, place?: Place): SovraError {
  const { code: sqlstate = '', detail, hint, where, schema, table, column, constraint, internalQuery: internal_query } = error
  const position = Number(error.position ?? 0)
  const details = {
    sqlstate,
    ...(place && { statement: place.statement }),
    ...(place && position > (place.before ?? 0) ? { place: positionIn(place, position) } : {}),
    ...{ detail, where, schema, table, column, constraint, internal_query },
  }
  const name = EXTENSION.exec(error.message)?.[1]
  const substitute = name === undefined ? undefined : substituteOf(name)
  if (name !== undefined && substitute !== undefined) return fail('extension_unavailable', { name, substitute }, { details, cause: error })
  return fail(
    'sql_failed',
    { message: error.message, sqlstate, hint: hint ?? (sqlstate === READ_ONLY ? MAKE_ROOM : '') },
    { details, cause: error },
  )
}
