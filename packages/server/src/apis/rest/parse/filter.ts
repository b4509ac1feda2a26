import type { Condition, Filter, Is, Logic, Operation, Operator, TextSearch } from './ast.ts'
import { Cursor } from './cursor.ts'
import { LIMITS } from './limits.ts'
import { LOGIC, notIs, notOperator, notTerm } from './mistakes.ts'
import { FIELD, field, quoted } from './names.ts'

/** Takes values out of what is parsed: `slot` keeps one and returns its place. */
export interface Values {
  readonly list: string[]
  conditions: number
  /** What a value stands for, where it is no value itself; `list`: it may stand for several. */
  readonly meaning: Meaning | undefined
}
export type Meaning = (value: string, list: boolean) => readonly string[]
export const newValues = (meaning?: Meaning): Values => ({ list: [], conditions: 0, meaning })
/** One value, as it is meant. */
export const meant = ({ meaning }: Values, value: string): string => (meaning === undefined ? value : (meaning(value, false)[0] ?? ''))
export const slot = (values: Values, value: string): number => values.list.push(value) - 1

const QUANTIFIED = new Set(['eq', 'gt', 'gte', 'lt', 'lte', 'like', 'ilike', 'match', 'imatch'])
const COMPARE = new Set([...QUANTIFIED, 'neq', 'cs', 'cd', 'ov', 'sl', 'sr', 'nxr', 'nxl', 'adj'])
const SEARCH = new Set(['fts', 'plfts', 'phfts', 'wfts'])
const HEAD = /(not\.)?([a-z]+)(?:\(([^().]+)\))?\./y
const IS = /(null|not_null|true|false|unknown)/iy

/** Whether a value of the query string is a filter, and not the argument of a function. */
export function isOperation(text: string): boolean {
  HEAD.lastIndex = 0
  const word = HEAD.exec(text)?.[2]
  return word !== undefined && (COMPARE.has(word) || SEARCH.has(word) || word === 'in' || word === 'is' || word === 'isdistinct')
}

interface Parsed {
  readonly not: boolean
  readonly operation: Operation
  /** The operation with its value taken out: never holds anything of the value. */
  readonly shape: string
}

/** `not.eq.1`, `in.(1,2)`, `fts(english).cat`. `value` reads the value of a plain operator: the rest, or up to the next comma in a tree. */
function operation(cursor: Cursor, values: Values, value: (cursor: Cursor) => string): Parsed {
  const start = cursor.at
  const head = cursor.match(HEAD)
  if (!head) throw notOperator(cursor)
  const [, negation, word = '', extra] = head
  const not = negation !== undefined
  const done = (made: Operation): Parsed => ({ not, operation: made, shape: head[0] })
  if (++values.conditions > LIMITS.conditions) throw cursor.error(`at most ${LIMITS.conditions} conditions`)
  if (word === 'in' && extra === undefined) return done({ kind: 'in', value: slot(values, arrayLiteral(listOf(cursor, values))) })
  if (word === 'is' && extra === undefined) {
    const found = cursor.match(IS)
    if (!found) throw notIs(cursor)
    const is = found[0].toLowerCase() as Is
    return { not, operation: { kind: 'is', is }, shape: head[0] + is }
  }
  if (word === 'isdistinct' && extra === undefined) return done({ kind: 'distinct', value: slot(values, meant(values, value(cursor))) })
  if (SEARCH.has(word)) {
    return done({
      kind: 'search',
      operator: word as TextSearch,
      language: extra ?? null,
      value: slot(values, meant(values, value(cursor))),
    })
  }
  const quantifier = extra === undefined ? null : extra
  if (COMPARE.has(word) && (quantifier === null || (QUANTIFIED.has(word) && (quantifier === 'any' || quantifier === 'all')))) {
    const text = value(cursor)
    const pattern = word === 'like' || word === 'ilike' ? text.replaceAll('*', '%') : text
    return done({
      kind: 'compare',
      operator: word as Operator,
      quantifier: quantifier as 'any' | 'all' | null,
      value: slot(values, meant(values, pattern)),
    })
  }
  cursor.at = start
  throw notOperator(cursor)
}

/** The operation of a whole parameter of the query string. */
export function parseOperation(text: string, values: Values): Parsed {
  const cursor = new Cursor(text, 'filter')
  const parsed = operation(cursor, values, (rest) => {
    const value = rest.text.slice(rest.at)
    rest.at = rest.text.length
    return value
  })
  if (!cursor.end) throw cursor.error('end of input')
  return parsed
}

const UNQUOTED = /[^,)]*/y
const ARRAY = /\{[^{}]*\}/y

/** Up to the next comma or closing parenthesis; quoted or an array literal, these may be inside. */
function termValue(cursor: Cursor): string {
  const start = cursor.at
  const text = quoted(cursor)
  if (text !== null && (cursor.end || cursor.peek(',') || cursor.peek(')'))) return text
  cursor.at = start
  const array = cursor.match(ARRAY)
  if (array) return array[0]
  return cursor.match(UNQUOTED)?.[0] ?? ''
}

function listOf(cursor: Cursor, { meaning }: Values): string[] {
  cursor.spaces()
  if (!cursor.take('(')) throw cursor.error('"("')
  cursor.spaces()
  const items: string[] = []
  do {
    const start = cursor.at
    const text = quoted(cursor)
    if (text !== null && (cursor.peek(',') || cursor.peek(')'))) items.push(text)
    else {
      cursor.at = start
      items.push(cursor.match(UNQUOTED)?.[0] ?? '')
    }
  } while (cursor.take(','))
  if (!cursor.take(')')) throw cursor.error('"," or ")"')
  cursor.spaces()
  return meaning === undefined ? items : items.flatMap((item) => meaning(item, true))
}

/** PostgreSQL's text form of an array; `in.()` is the empty one. */
function arrayLiteral(items: readonly string[]): string {
  if (items.length === 1 && items[0] === '') return '{}'
  return `{${items.map((item) => `"${item.replace(/[\\"]/g, '\\$&')}"`).join(',')}}`
}

const CLOSED = /[) \t]*$/y
const TREE = /(not\.)?(and|or)(?=[ \t]*\()/y

/** A tree of conditions; `text` begins with its operator: `and(a.eq.1,or(b.is.null,not.and(…)))`. */
export function parseLogic(text: string, shown: string, values: Values): { condition: Logic; shape: string } {
  const cursor = new Cursor(text, 'logic tree', shown)
  const shape: string[] = []
  const tree = logic(cursor, values, shape, 0)
  if (tree === null) throw notTerm(cursor, cursor.error(LOGIC))
  // One parenthesis too many does no harm, and clients of PostgREST send it.
  if (!cursor.match(CLOSED)) throw cursor.error('end of input')
  return { condition: tree, shape: shape.join('') }
}

function logic(cursor: Cursor, values: Values, shape: string[], depth: number): Logic | null {
  const head = cursor.match(TREE)
  if (!head) return null
  if (depth > LIMITS.depth) throw cursor.error(`at most ${LIMITS.depth} levels`)
  cursor.spaces()
  cursor.at++
  shape.push(head[0], '(')
  const terms: Condition[] = []
  do {
    cursor.spaces()
    terms.push(logic(cursor, values, shape, depth + 1) ?? term(cursor, values, shape))
    cursor.spaces()
    shape.push(',')
  } while (cursor.take(','))
  if (!cursor.take(')')) throw cursor.error('"," or ")"')
  cursor.spaces()
  shape.push(')')
  return { kind: head[2] as 'and' | 'or', not: head[1] !== undefined, terms }
}

function term(cursor: Cursor, values: Values, shape: string[]): Filter {
  const start = cursor.at
  try {
    return filterTerm(cursor, values, shape)
  } catch (error) {
    const reached = cursor.at
    cursor.at = start
    throw reached === start ? cursor.error(`${FIELD}, negation operator (not) or ${LOGIC}`) : notTerm(cursor, error)
  }
}

function filterTerm(cursor: Cursor, values: Values, shape: string[]): Filter {
  const start = cursor.at
  const target = field(cursor)
  const written = cursor.text.slice(start, cursor.at)
  cursor.spaces()
  if (!cursor.take('.')) throw cursor.error('delimiter (.)')
  const { not, operation: made, shape: operator } = operation(cursor, values, termValue)
  // The field as it was written, its length before it: a quoted name may hold anything.
  shape.push(String(written.length), ':', written, operator)
  return { kind: 'filter', field: target, not, operation: made }
}
