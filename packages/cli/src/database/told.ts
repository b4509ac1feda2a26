import { CliError } from '../terminal/errors.ts'
import { excerpt } from './sql.ts'

interface SqlDetails {
  readonly statement?: number
  readonly place?: { readonly line: number; readonly column: number }
  readonly detail?: string
  readonly where?: string
}

/** What the control API says of SQL that failed, with lines for people: the place as psql shows it, and what PostgreSQL adds. */
export async function showingWhere<R>(answer: Promise<R>, where: (details: SqlDetails) => readonly string[]): Promise<R> {
  try {
    return await answer
  } catch (error) {
    if (!(error instanceof CliError) || error.shown.code !== 'sql_failed') throw error
    const details = (error.shown.details ?? {}) as SqlDetails
    const lines = [...where(details), ...(['detail', 'where'] as const).flatMap((key) => (details[key] ? [`${key}: ${details[key]}`] : []))]
    throw new CliError(error.shown, 400, { cause: error, lines })
  }
}

/** Of the text that was sent. */
export const inText =
  (sql: string) =>
  ({ place }: SqlDetails): readonly string[] => {
    const text = place === undefined ? undefined : sql.split('\n')[place.line - 1]
    return place === undefined || text === undefined ? [] : excerpt({ ...place, text })
  }
