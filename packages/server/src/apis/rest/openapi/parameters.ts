import type { Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import type { Json } from './schemas.ts'

export const ref = (name: string): Json => ({ $ref: `#/parameters/${name}` })

const text = (name: string, description: string, place: 'query' | 'header' = 'query', more: Json = {}): Json => ({
  name,
  description,
  required: false,
  in: place,
  type: 'string',
  ...more,
})
const prefer = (...values: string[]): Json => text('Prefer', 'Preference', 'header', values.length === 0 ? {} : { enum: values })

const RETURN = ['return=representation', 'return=minimal', 'return=none']

/** Those that many paths have. */
const COMMON: Json = {
  preferParams: prefer(),
  preferReturn: prefer(...RETURN),
  preferCount: prefer('count=none'),
  preferPost: prefer(...RETURN, 'resolution=ignore-duplicates', 'resolution=merge-duplicates'),
  select: text('select', 'Filtering Columns'),
  on_conflict: text('on_conflict', 'On Conflict'),
  order: text('order', 'Ordering'),
  range: text('Range', 'Limiting and Pagination', 'header'),
  rangeUnit: text('Range-Unit', 'Limiting and Pagination', 'header', { default: 'items' }),
  offset: text('offset', 'Limiting and Pagination'),
  limit: text('limit', 'Limiting and Pagination'),
}

const body = ({ name }: Table): Json => ({
  name,
  description: name,
  required: false,
  in: 'body',
  schema: { $ref: `#/definitions/${name}` },
})

const filter = (name: string, comment: string | null): Json => ({
  name,
  ...(comment === null ? {} : { description: comment }),
  required: false,
  in: 'query',
  type: 'string',
})

export function parametersOf(tables: readonly Table[]): Json {
  const own = tables.flatMap((table) => [
    [`body.${table.name}`, body(table)] as const,
    ...[...table.columns.values()].map(({ name, comment }) => [`rowFilter.${table.name}.${name}`, filter(name, comment)] as const),
  ])
  return { ...COMMON, ...Object.fromEntries(own) }
}
