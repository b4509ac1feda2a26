import { LIMIT_DEFAULT, LIMIT_MAX } from '@sovrabase/contract/common'
import { fail } from '../base/errors.ts'

export interface PageOptions {
  readonly limit?: number
  readonly cursor?: string
}

export const limitOf = ({ limit }: PageOptions): number => Math.min(limit ?? LIMIT_DEFAULT, LIMIT_MAX)

/** The values of the sort columns of the last row of a page. */
export type Position = readonly (string | number)[]

const encode = (position: Position): string => Buffer.from(JSON.stringify(position)).toString('base64url')

/** As the database takes it: a whole number for a time, a text without zero characters for a name. */
const fits = (value: unknown, type: 'string' | 'number' | undefined): boolean =>
  type === 'number' ? Number.isSafeInteger(value) : typeof value === 'string' && !value.includes('\0')

/** Where the next page begins; undefined: at the first row. `invalid_request` for a cursor that is not ours. */
export function positionOf({ cursor }: PageOptions, columns: readonly ('string' | 'number')[]): Position | undefined {
  if (cursor === undefined) return undefined
  try {
    const position: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (Array.isArray(position) && position.length === columns.length && position.every((value, at) => fits(value, columns[at])))
      return position as Position
  } catch {
    // Falls through: not ours.
  }
  throw fail('invalid_request', { reason: 'the cursor is not one of next_cursor' })
}

/** Makes a page of rows that were read with `limit + 1`. */
export function pageOf<Row, Item>(rows: readonly Row[], limit: number, position: (row: Row) => Position, item: (row: Row) => Item) {
  const more = rows.length > limit
  const shown = more ? rows.slice(0, limit) : rows
  const last = shown.at(-1)
  return { items: shown.map(item), next_cursor: more && last !== undefined ? encode(position(last)) : null }
}

export const time = (ms: number): string => new Date(ms).toISOString()
export const timeOrNull = (ms: number | null): string | null => (ms === null ? null : time(ms))
