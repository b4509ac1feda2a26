import type { CustomTypesConfig, DatabaseError, FieldDef, Client as PgClient, QueryArrayResult } from 'pg'
import type { Connection } from '../api/find.ts'
import { stop } from '../terminal/errors.ts'
import { type Cell, count, plain, table, width } from '../terminal/output.ts'

/** ms: connecting wakes the project, which may have to wait for a place. */
const CONNECT_LIMIT = 90_000

/** What one statement answered. */
export interface Result {
  /** `SELECT`, `INSERT` …; null for an empty statement. */
  readonly command: string | null
  readonly rowCount: number | null
  readonly fields: readonly FieldDef[]
  /** PostgreSQL's own text of each value. */
  readonly rows: readonly (readonly (string | null)[])[]
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message || String((error as { code?: string }).code) : String(error)

/** Notices go to `note`. Rejects with `sql_failed` (the listener's refusal) or `server_unreachable`. */
export async function connect(at: Connection, note: (text: string) => void): Promise<PgClient> {
  const { default: pg } = await import('pg')
  const { host, port, user, password, database } = at
  const client = new pg.Client({ host, port, user, password, database, application_name: 'sovra', connectionTimeoutMillis: CONNECT_LIMIT })
  client.on('notice', (notice) => note(`${notice.severity ?? 'NOTICE'}: ${plain(notice.message ?? '')}`))
  // The statement that runs is told of a lost connection too; alone it must not end the process.
  client.on('error', () => {})
  try {
    await client.connect()
  } catch (error) {
    if (isDatabaseError(error)) throw sqlError(error, '')
    throw stop('server_unreachable', { url: `${host}:${port}`, reason: reasonOf(error) }, { cause: error })
  }
  return client
}

/** A connection for as long as `work` takes. */
export async function withClient<R>(at: Connection, note: (text: string) => void, work: (client: PgClient) => Promise<R>): Promise<R> {
  const client = await connect(at, note)
  try {
    return await work(client)
  } catch (error) {
    // Queries of our own: what people's SQL did wrong is told with its place before.
    throw isDatabaseError(error) ? sqlError(error, '') : error
  } finally {
    await client.end().catch(() => {})
  }
}

export const isDatabaseError = (error: unknown): error is DatabaseError => error instanceof Error && 'severity' in error && 'code' in error

export interface Place {
  /** Both count from 1, columns in characters. */
  readonly line: number
  readonly column: number
  /** The whole line. */
  readonly text: string
}

/** The line of a place in a text, and where in it. */
export function placeOf(sql: string, at: number): Place {
  const start = sql.lastIndexOf('\n', at - 1) + 1
  const end = sql.indexOf('\n', at)
  return {
    line: sql.slice(0, start).split('\n').length,
    column: [...sql.slice(start, at)].length + 1,
    text: sql.slice(start, end === -1 ? sql.length : end),
  }
}

const EXCERPT = 200

/** The line with a mark below the place, as psql shows it. */
export function excerpt({ line, column, text }: Place): string[] {
  const label = `LINE ${line}: `
  const from = Math.max(0, column - EXCERPT / 2)
  const shown = [...text]
    .slice(from, from + EXCERPT)
    .join('')
    .trimEnd()
  return [`${label}${shown}`, `${' '.repeat(label.length + width(shown.slice(0, column - 1 - from)))}^`]
}

function sqlError(error: DatabaseError, sql: string) {
  const { code = '', detail, hint, position, where, constraint, table: relation, column, schema } = error
  const lines: string[] = []
  const details: Record<string, unknown> = { sqlstate: code, detail, hint, position, where, constraint, schema, table: relation, column }
  if (position !== undefined && sql !== '') {
    // PostgreSQL counts characters, from 1.
    const place = placeOf(sql, [...sql].slice(0, Number(position) - 1).join('').length)
    details.line = place.line
    details.column = place.column
    lines.push(...excerpt(place))
  }
  if (detail) lines.push(`detail: ${detail}`)
  if (where) lines.push(`where: ${where}`)
  return stop('sql_failed', { message: error.message, sqlstate: code, hint: hint ?? '' }, { details, cause: error, lines })
}

const TEXT: CustomTypesConfig = { getTypeParser: () => (text: string) => text }

/** One or more statements as one message: without BEGIN of their own they are one transaction. */
export async function run(client: PgClient, sql: string): Promise<Result[]> {
  try {
    const answer: unknown = await client.query<(string | null)[]>({ text: sql, rowMode: 'array', types: TEXT })
    const results = (Array.isArray(answer) ? answer : [answer]) as QueryArrayResult<(string | null)[]>[]
    return results.map(({ command, rowCount, fields, rows }) => ({ command, rowCount, fields, rows }))
  } catch (error) {
    if (isDatabaseError(error)) throw sqlError(error, sql)
    throw stop('connection_lost', { reason: reasonOf(error) }, { cause: error })
  }
}

const BOOL = 16
const INTEGERS = new Set([20, 21, 23, 26])
const FLOATS = new Set([700, 701])
const JSONS = new Set([114, 3802])

/** As JSON: numbers where none of their digits is lost; times, numerics and the rest as PostgreSQL's text. */
function jsonOf(text: string | null, { dataTypeID }: FieldDef): unknown {
  if (text === null) return null
  if (dataTypeID === BOOL) return text === 't'
  if (JSONS.has(dataTypeID)) return JSON.parse(text)
  if (INTEGERS.has(dataTypeID) || FLOATS.has(dataTypeID)) {
    const number = Number(text)
    return Number.isFinite(number) && (FLOATS.has(dataTypeID) || Number.isSafeInteger(number)) ? number : text
  }
  return text
}

/** Rows as objects; a column whose name comes again is numbered. */
export function objects({ fields, rows }: Result): Record<string, unknown>[] {
  const names: string[] = []
  for (const { name } of fields) {
    let free = name
    for (let n = 2; names.includes(free); n++) free = `${name}_${n}`
    names.push(free)
  }
  return rows.map((row) => Object.fromEntries(fields.map((field, i) => [names[i], jsonOf(row[i] ?? null, field)])))
}

const NUMERIC = 1700
const isNumber = ({ dataTypeID }: FieldDef) => INTEGERS.has(dataTypeID) || FLOATS.has(dataTypeID) || dataTypeID === NUMERIC

/** The rows under their columns, or what was done. */
export function render({ command, rowCount, fields, rows }: Result): string {
  if (fields.length === 0) return [command, rowCount].filter((part) => part !== null).join(' ')
  const cells = rows.map((row) => row.map((cell): Cell => cell ?? 'NULL'))
  const numeric = new Set(fields.flatMap((field, i) => (isNumber(field) ? [i] : [])))
  const heads = fields.map(({ name }) => plain(name))
  return `${table(heads, cells, numeric)}\n(${count(rows.length, 'row')})`
}
