import { fail } from '../../../base/errors.ts'
import type { Condition, Query, Rows, SelectItem } from './ast.ts'
import { decode } from './canonical.ts'
import { Cursor, syntaxError } from './cursor.ts'
import { isOperation, type Meaning, meant, newValues, parseLogic, parseOperation, slot } from './filter.ts'
import { name, treePath } from './names.ts'
import { parseNames, parseOrder } from './order.ts'
import { parseSelect } from './select.ts'

/**
 * A query string with its values taken out. Two requests of one `shape` differ in `values` alone, so one plan serves both;
 * `parse` (the expensive half) is called for a new shape only.
 */
export interface Shaped {
  /** Injective: no value can make the shape of another request (its separator is NUL, which is refused in names). */
  readonly shape: string
  readonly values: readonly string[]
  /** columns= was given. */
  readonly columns: boolean
  parse(): Query
}

export interface ShapeOptions {
  /** A parameter without operator is an argument of the function; on a table it is an error. */
  readonly arguments: boolean
  /** Range header, first and last row; it narrows limit and offset. */
  readonly range?: { readonly first: number; readonly last: number | null } | null
  /** Of a batch: its references. */
  readonly meaning?: Meaning | undefined
}

type Part = (query: MutableQuery) => void
interface MutableQuery {
  select: readonly SelectItem[] | null
  conditions: Query['conditions'][number][]
  order: Query['order'][number][]
  limit: Query['limit'][number][]
  offset: Query['offset'][number][]
  columns: readonly string[] | null
  onConflict: readonly string[] | null
  args: Query['args'][number][]
}

const EVERYTHING: readonly SelectItem[] = [
  { kind: 'field', field: { name: '*', path: [] }, alias: null, cast: null, aggregate: null, aggregateCast: null },
]

/** Pure; throws PGRST100 (or 103 for a negative limit) where it is not well formed. */
export function shapeQuery(raw: string, options: ShapeOptions): Shaped {
  const values = newValues(options.meaning)
  const parts: Part[] = []
  let shape = ''
  let columns = false
  let window: Window = {}
  for (const pair of raw === '' ? [] : raw.split('&')) {
    const equals = pair.indexOf('=')
    if (equals < 0) continue
    const key = decode(pair.slice(0, equals))
    const value = decode(pair.slice(equals + 1))
    const kind = kindOf(key)
    if (key.includes('\0') || (VERBATIM.has(kind) && value.includes('\0')))
      throw syntaxError('"failed to parse query"', 'unexpected "\\u0000"')
    if (key === 'limit' || key === 'offset') {
      window = { ...window, [key]: wholeNumber(value, key) ?? window[key] }
      continue
    }
    if (kind === 'columns') columns = true
    const made = partOf(kind, key, value, values, options)
    if (made === null) continue
    shape += `${key}\0${made.shape}\0`
    parts.push(made.part)
  }
  if (options.range) window = narrow(window, options.range)
  const root: Pick<MutableQuery, 'limit' | 'offset'> = { limit: [], offset: [] }
  for (const side of ['limit', 'offset'] as const) {
    const value = window[side]
    if (value === undefined || (side === 'offset' && value === 0n)) continue
    if (side === 'limit') {
      const rows = rowsOf(value, values)
      shape += `limit\0${rows.shape}\0`
      root.limit.push({ path: [], value: rows.value })
      continue
    }
    shape += 'offset\0'
    root.offset.push({ path: [], value: slot(values, String(value)) })
  }
  return { shape, values: values.list, columns, parse: () => build(parts, root) }
}

function build(parts: readonly Part[], root: Pick<MutableQuery, 'limit' | 'offset'>): Query {
  const query: MutableQuery = {
    select: null,
    conditions: [],
    order: [],
    limit: [...root.limit],
    offset: [...root.offset],
    columns: null,
    onConflict: null,
    args: [],
  }
  for (const part of parts) part(query)
  // An empty one asks for everything as well.
  return { ...query, select: query.select === null || query.select.length === 0 ? EVERYTHING : query.select }
}

interface Window {
  limit?: bigint
  offset?: bigint
}

const below = () => fail('PGRST103', {}, { details: 'Limit should be greater than or equal to zero.' })

/** Both what the query string and what the header ask for. Throws PGRST103 where no row can be in both. */
function narrow(window: Window, range: { first: number; last: number | null }): Window {
  const offset = window.offset ?? 0n
  const first = BigInt(range.first)
  const from = first > offset ? first : offset
  const ends = [window.limit === undefined ? null : offset + window.limit, range.last === null ? null : BigInt(range.last) + 1n].filter(
    (x) => x !== null,
  )
  if (ends.length === 0) return { offset: from }
  const [end = from] = ends.sort((a, b) => (a < b ? -1 : 1))
  if (end <= from && window.limit !== 0n) throw below()
  return { offset: from, limit: end > from ? end - from : 0n }
}

type Kind = 'select' | 'columns' | 'on_conflict' | 'order' | 'limit' | 'offset' | 'logic' | 'filter'
const RESERVED: Readonly<Record<string, Kind>> = { select: 'select', columns: 'columns', on_conflict: 'on_conflict' }
const LAST: Readonly<Record<string, Kind>> = { order: 'order', limit: 'limit', offset: 'offset', and: 'logic', or: 'logic' }
const VERBATIM: ReadonlySet<Kind> = new Set(['select', 'columns', 'on_conflict', 'order', 'logic'])

function kindOf(key: string): Kind {
  if (Object.hasOwn(RESERVED, key)) return RESERVED[key]!
  const last = key.slice(key.lastIndexOf('.') + 1)
  return Object.hasOwn(LAST, last) ? LAST[last]! : 'filter'
}

interface Made {
  readonly shape: string
  readonly part: Part
}
type Values = ReturnType<typeof newValues>

function partOf(kind: Kind, key: string, value: string, values: Values, options: ShapeOptions): Made | null {
  switch (kind) {
    // Of a parameter that may come once, the first counts.
    case 'select':
      return {
        shape: value,
        part: (query) => {
          query.select ??= parseSelect(value)
        },
      }
    case 'columns':
      return {
        shape: value,
        part: (query) => {
          query.columns ??= parseNames(value, 'columns parameter')
        },
      }
    case 'on_conflict':
      return {
        shape: value,
        part: (query) => {
          query.onConflict ??= parseNames(value, 'on_conflict parameter')
        },
      }
    case 'order':
      return {
        shape: value,
        part: (query) => {
          query.order.push({ path: embedPath(key), terms: parseOrder(value) })
        },
      }
    case 'limit':
      return limit(key, value, values)
    case 'offset':
      return offset(key, value, values)
    case 'logic':
      return tree(key, value, values)
    case 'filter':
      return filter(key, value, values, options)
  }
}

/** Up to this many rows a limit is part of the shape: one shape for each would be too many. */
const SHAPED_LIMIT = 1_000n

function rowsOf(limit: bigint, values: Values): { shape: string; value: Rows } {
  if (limit <= SHAPED_LIMIT) return { shape: String(limit), value: { rows: Number(limit) } }
  return { shape: '', value: slot(values, String(limit)) }
}

function limit(key: string, value: string, values: Values): Made | null {
  const number = wholeNumber(value, 'limit')
  if (number === undefined) return null
  const rows = rowsOf(number, values)
  return {
    shape: rows.shape,
    part: (query) => {
      query.limit.push({ path: embedPath(key), value: rows.value })
    },
  }
}

function offset(key: string, value: string, values: Values): Made | null {
  const number = wholeNumber(value, 'offset')
  if (number === undefined) return null
  const place = slot(values, String(number))
  return {
    shape: '',
    part: (query) => {
      query.offset.push({ path: embedPath(key), value: place })
    },
  }
}

function filter(key: string, value: string, values: Values, options: ShapeOptions): Made {
  if (options.arguments && !key.includes('.') && !isOperation(value)) {
    const place = slot(values, meant(values, value))
    return {
      shape: '',
      part: (query) => {
        query.args.push({ name: key, value: place })
      },
    }
  }
  const { not, operation, shape } = parseOperation(value, values)
  const part: Part = (query) => {
    const cursor = new Cursor(key, 'tree path')
    const { path, field } = treePath(cursor)
    if (!cursor.end) throw cursor.error('"->>", "->", delimiter (.) or end of input')
    query.conditions.push({ path, condition: { kind: 'filter', field, not, operation } })
  }
  return { shape, part }
}

function tree(key: string, value: string, values: Values): Made {
  const cursor = new Cursor(key, 'logic path')
  const words = [name(cursor)]
  while (cursor.take('.')) words.push(name(cursor))
  const operator = words.pop() ?? ''
  const { condition, shape } = parseLogic(`${words.includes('not') ? 'not.' : ''}${operator}${value}`, value, values)
  const path = words.filter((word) => word !== 'not')
  const made: Condition = condition
  return {
    shape,
    part: (query) => {
      query.conditions.push({ path, condition: made })
    },
  }
}

/** `child.order` → ['child'] */
function embedPath(key: string): string[] {
  const cursor = new Cursor(key, 'tree path')
  return treePath(cursor).path
}

/** Undefined for what is no whole number: it is ignored, as PostgREST does, but for a limit below nothing. */
function wholeNumber(text: string, side: 'limit' | 'offset'): bigint | undefined {
  if (side === 'limit' && /^-\d+$/.test(text)) throw below()
  return /^\d{1,18}$/.test(text) ? BigInt(text) : undefined
}
