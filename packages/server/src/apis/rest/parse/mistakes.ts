import type { SovraError } from '../../../base/errors.ts'
import type { Cursor } from './cursor.ts'

/** Of what is not well formed: the place and the words that PostgREST's parser gives, since its users look them up. */
const OPERATOR = 'operator (eq, gt, ...)'
export const LOGIC = 'logic operator (and, or)'
const ARGUMENTS = /(?:(?:eq|gte?|lte?|i?like|i?match|(?:pl|ph|w)?fts)(?=\())\(/y
const WORD = /neq|cs|cd|ov|sl|sr|nxr|nxl|adj|isdistinct|in|is/y

/** `cursor` stands before what is no operation. */
export function notOperator(cursor: Cursor): SovraError {
  const not = cursor.take('not.')
  if (cursor.match(ARGUMENTS)) return cursor.error(OPERATOR)
  const start = cursor.at
  if (cursor.match(WORD) && cursor.peek('(')) return cursor.error(OPERATOR)
  cursor.at = start
  return not ? cursor.error(OPERATOR, cursor.common('in')) : cursor.error(`"not" or ${OPERATOR}`, cursor.common('not'))
}

const IS = ['null', 'not_null', 'true', 'false', 'unknown']

export function notIs(cursor: Cursor): SovraError {
  cursor.at += Math.max(...IS.map((word) => cursor.common(word)))
  return cursor.error('isVal: (null, not_null, true, false, unknown)')
}

/** `cursor` stands before a term of a tree that is no filter (`wrong` says why) and no tree. */
export function notTerm(cursor: Cursor, wrong: unknown): unknown {
  const not = cursor.take('not.')
  if (cursor.take('and') || cursor.take('or')) {
    cursor.spaces()
    return cursor.error('"("')
  }
  if (not) return cursor.error(LOGIC)
  return cursor.peek('o') ? cursor.error(LOGIC, 1) : wrong
}
