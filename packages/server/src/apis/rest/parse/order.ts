import type { OrderTerm } from './ast.ts'
import { Cursor } from './cursor.ts'
import { field, name } from './names.ts'

/** `order=` → terms. Pure. */
export function parseOrder(text: string): readonly OrderTerm[] {
  const cursor = new Cursor(text, 'order')
  const terms: OrderTerm[] = []
  do {
    cursor.spaces()
    terms.push(related(cursor) ?? plain(cursor))
    cursor.spaces()
  } while (cursor.take(','))
  return terms
}

/** `clients(name).desc`; null, and nothing taken, for anything else. */
function related(cursor: Cursor): OrderTerm | null {
  const start = cursor.at
  try {
    const relation = name(cursor)
    if (cursor.take('(')) {
      cursor.spaces()
      const inner = field(cursor)
      cursor.spaces()
      if (cursor.take(')')) return { relation, field: inner, ...direction(cursor) }
    }
  } catch {
    // Said of the whole term, below.
  }
  cursor.at = start
  return null
}

function plain(cursor: Cursor): OrderTerm {
  const target = field(cursor)
  if (target.path.length === 0 && !cursor.end && !cursor.peek('.') && !cursor.peek(',') && !cursor.peek(' ') && !cursor.peek('\t'))
    throw cursor.stray('letter, digit, "-", "->>", "->", delimiter (.), "," or end of input')
  return { relation: null, field: target, ...direction(cursor) }
}

function direction(cursor: Cursor): Pick<OrderTerm, 'descending' | 'nulls'> {
  let descending: boolean | null = null
  let nulls: 'first' | 'last' | null = null
  if (cursor.take('.asc')) descending = false
  else if (cursor.take('.desc')) descending = true
  if (cursor.take('.nullsfirst')) nulls = 'first'
  else if (cursor.take('.nullslast')) nulls = 'last'
  cursor.spaces()
  if (cursor.end || cursor.peek(',')) return { descending, nulls }
  if (nulls !== null) throw cursor.stray('"," or end of input')
  if (!cursor.take('.')) throw cursor.stray('delimiter (.), "," or end of input')
  if (descending !== null) throw cursor.error('"nullsfirst" or "nullslast"', cursor.common('nullsfirst'))
  throw cursor.error('"asc", "desc", "nullsfirst" or "nullslast"', cursor.common('asc'))
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
