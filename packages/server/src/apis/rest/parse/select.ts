import type { Aggregate, SelectField, SelectItem } from './ast.ts'
import { Cursor } from './cursor.ts'
import { LIMITS } from './limits.ts'
import { cast, jsonPath, name, tryName } from './names.ts'

const AGGREGATE = /\.(count|sum|avg|min|max)\(\)/y
const COUNT = /count\(\)/y

/** `select=` → items. Pure; PGRST100 where it is not well formed. */
export function parseSelect(text: string): readonly SelectItem[] {
  const cursor = new Cursor(text, 'select parameter')
  if (text === '') return []
  const items = list(cursor, 0)
  // What follows an embedded resource without a comma is not looked at, as in PostgREST.
  if (!cursor.end && items.at(-1)?.kind !== 'embed') throw cursor.error('"," or end of input')
  return items
}

function list(cursor: Cursor, depth: number): SelectItem[] {
  if (depth > LIMITS.depth) throw cursor.error(`at most ${LIMITS.depth} levels`)
  const items: SelectItem[] = []
  do {
    cursor.spaces()
    items.push(item(cursor, depth))
    cursor.spaces()
  } while (cursor.take(','))
  return items
}

function item(cursor: Cursor, depth: number): SelectItem {
  const start = cursor.at
  const dots = cursor.take('...') || cursor.take('..')
  if (dots) return embed(cursor, name(cursor), null, true, depth)
  if (cursor.take('*')) return end(cursor, column('*'), '")", "," or end of input')
  if (cursor.match(COUNT)) return end(cursor, counted(cursor, null))
  const first = tryName(cursor)
  if (first === null) throw cursor.error('field name (* or [a..z0..9_$])')
  let alias: string | null = null
  let target = first
  if (cursor.peek(':') && !cursor.peek('::')) {
    cursor.at++
    alias = first
    cursor.spaces()
    if (cursor.match(COUNT)) return end(cursor, counted(cursor, alias))
    target = name(cursor)
  }
  if (cursor.peek('(') || cursor.peek('!')) return embed(cursor, target, alias, false, depth, start)
  return end(cursor, plain(cursor, target, alias))
}

const column = (text: string): SelectField => ({
  kind: 'field',
  field: { name: text, path: [] },
  alias: null,
  cast: null,
  aggregate: null,
  aggregateCast: null,
})

function counted(cursor: Cursor, alias: string | null): SelectField {
  return { ...column('*'), alias, aggregate: 'count', aggregateCast: cursor.take('::') ? cast(cursor) : null }
}

function plain(cursor: Cursor, target: string, alias: string | null): SelectField {
  const path = jsonPath(cursor)
  const type = cursor.take('::') ? cast(cursor) : null
  const aggregate = (cursor.match(AGGREGATE)?.[1] ?? null) as Aggregate | null
  const aggregateCast = aggregate !== null && cursor.take('::') ? cast(cursor) : null
  return { kind: 'field', field: { name: target, path }, alias, cast: type, aggregate, aggregateCast }
}

const AFTER_FIELD = 'letter, digit, "-", "->>", "->", "::", ".", ")", "," or end of input'

function end<T>(cursor: Cursor, value: T, expected = AFTER_FIELD): T {
  cursor.spaces()
  if (!cursor.end && !cursor.peek(',') && !cursor.peek(')')) throw cursor.stray(expected)
  return value
}

function embed(cursor: Cursor, target: string, alias: string | null, spread: boolean, depth: number, start = cursor.at): SelectItem {
  let hint: string | null = null
  let join: 'inner' | 'left' | null = null
  for (let left = 2; left > 0 && cursor.take('!'); left--) {
    const word = name(cursor, 'hint, "inner" or "left"')
    if (word === 'inner' || word === 'left') join = word
    else hint = word
  }
  if (!cursor.take('(')) {
    // Not followed by a list, it is no embedded resource: then the mark is what cannot be.
    const mark = spread ? -1 : cursor.text.indexOf('!', start)
    if (mark < 0) throw cursor.error('"!" or "("')
    cursor.at = mark
    throw cursor.stray(AFTER_FIELD)
  }
  cursor.spaces()
  const select = cursor.peek(')') ? [] : list(cursor, depth + 1)
  if (!cursor.take(')')) throw cursor.error('"," or ")"')
  return { kind: 'embed', name: target, alias, hint, join, spread, select }
}
