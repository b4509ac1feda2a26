import type { Field, JsonStep } from './ast.ts'
import type { Cursor } from './cursor.ts'

const WORD = /[\p{L}\p{N}_ $]+/uy
const INDEX = /(-?\d+)(?=->|::|[.,)]|$)/y
const CAST = /[\p{L}\p{N}_ $]+(?:\[\])?/uy

/** A name in double quotes, with `\` before a quote or backslash inside; null where there is none. */
export function quoted(cursor: Cursor): string | null {
  if (!cursor.peek('"')) return null
  let value = ''
  for (let at = cursor.at + 1; at < cursor.text.length; at++) {
    const char = cursor.text[at]!
    if (char === '"') {
      cursor.at = at + 1
      return value
    }
    if (char === '\\' && at + 1 < cursor.text.length) at++
    value += cursor.text[at]
  }
  return null
}

/** Letters, digits, `_`, `$`, inner spaces and dashes (not of an arrow), or quoted. */
export function tryName(cursor: Cursor): string | null {
  const text = quoted(cursor)
  if (text !== null) return text
  const start = cursor.at
  if (!cursor.match(WORD)) return null
  while (cursor.peek('-') && !cursor.peek('->')) {
    const dash = cursor.at++
    if (!cursor.match(WORD)) {
      cursor.at = dash
      break
    }
  }
  const name = cursor.text.slice(start, cursor.at).trim()
  if (name !== '') return name
  cursor.at = start
  return null
}

export const FIELD = 'field name (* or [a..z0..9_$])'

export function name(cursor: Cursor, expected = FIELD): string {
  const found = tryName(cursor)
  if (found === null) throw cursor.error(expected)
  return found
}

/** Anything that means nothing in a path, or quoted; dashes may be inside. */
const KEY = /[^(\-:.,>)]+(?:-(?!>)[^(\-:.,>)]+)*/uy
const MINUS = /-(\d*)/y

function jsonKey(cursor: Cursor): string {
  const key = quoted(cursor) ?? cursor.match(KEY)?.[0].trim()
  if (key !== undefined) return key
  if (!cursor.peek('-')) throw cursor.error('"-", digit or any non reserved character different from: .,>()')
  // Begun as a negative index.
  if (cursor.match(MINUS)?.[1] === '') throw cursor.error('digit')
  throw cursor.stray('digit, "->", "::", ".", "," or end of input')
}

/** `->key->>0`: as many steps as there are. */
export function jsonPath(cursor: Cursor): readonly JsonStep[] {
  const steps: JsonStep[] = []
  for (;;) {
    const text = cursor.take('->>')
    if (!text && !cursor.take('->')) return steps
    const index = cursor.match(INDEX)
    if (index) steps.push({ text, key: Number(index[1]) })
    else steps.push({ text, key: jsonKey(cursor) })
  }
}

export const field = (cursor: Cursor): Field => ({ name: name(cursor), path: jsonPath(cursor) })

/** After `::`: letters, digits, `_`, `$` and spaces only, since a type's name cannot be quoted as a whole ("double precision"). */
export function cast(cursor: Cursor): string {
  const found = cursor.match(CAST)
  if (!found || found[0].trim() === '') throw cursor.error('letter or digit')
  return found[0].trim()
}

/** `a.b.c`, for keys of the query string: embedded resources, then the field. */
export function treePath(cursor: Cursor): { path: string[]; field: Field } {
  const path = [name(cursor)]
  while (cursor.take('.')) path.push(name(cursor))
  const last = path.pop() ?? ''
  return { path, field: { name: last, path: jsonPath(cursor) } }
}
