import type { OrderTerm } from './ast.ts'
import { Cursor } from './cursor.ts'
import { field, name } from './names.ts'

/** `order=` → terms. Pure. */
export function parseOrder(text: string): readonly OrderTerm[] {
  const cursor = new Cursor(text, 'order')
  const terms: OrderTerm[] = []
  do {
    cursor.spaces()
    terms.push(term(cursor))
    cursor.spaces()
  } while (cursor.take(','))
  if (!cursor.end) throw cursor.error('delimiter (.), "," or end of input')
  return terms
}

function term(cursor: Cursor): OrderTerm {
  const target = field(cursor)
  let relation: string | null = null
  let inner = target
  if (target.path.length === 0 && cursor.take('(')) {
    relation = target.name
    cursor.spaces()
    inner = field(cursor)
    cursor.spaces()
    if (!cursor.take(')')) throw cursor.error('"->>", "->" or ")"')
  }
  let descending: boolean | null = null
  let nulls: 'first' | 'last' | null = null
  if (cursor.take('.asc')) descending = false
  else if (cursor.take('.desc')) descending = true
  if (cursor.take('.nullsfirst')) nulls = 'first'
  else if (cursor.take('.nullslast')) nulls = 'last'
  cursor.spaces()
  if (!cursor.end && !cursor.peek(',')) {
    if (descending === null && nulls === null && cursor.take('.')) throw cursor.error('"asc", "desc", "nullsfirst" or "nullslast"')
    if (nulls === null && cursor.take('.')) throw cursor.error('"nullsfirst" or "nullslast"')
    throw cursor.error('delimiter (.), "," or end of input')
  }
  return { relation, field: inner, descending, nulls }
}

/** `columns=`, `on_conflict=` → names. */
export function parseNames(text: string, what: string): readonly string[] {
  const cursor = new Cursor(text, what)
  const names: string[] = []
  do {
    cursor.spaces()
    names.push(name(cursor))
    cursor.spaces()
  } while (cursor.take(','))
  if (!cursor.end) throw cursor.error('"," or end of input')
  return names
}
