import { fail } from '../../../base/errors.ts'

const BOOL = 16
const INTEGERS: ReadonlySet<number> = new Set([20, 21, 23, 26])
const FLOATS: ReadonlySet<number> = new Set([700, 701])
const JSONS: ReadonlySet<number> = new Set([114, 3802])

/** PostgreSQL's text as JSON: numbers where no digit is lost, booleans, JSON itself; all else stays text. */
export function jsonOf(text: string | null, type: number): unknown {
  if (text === null) return null
  if (type === BOOL) return text === 't'
  if (JSONS.has(type)) return JSON.parse(text)
  if (INTEGERS.has(type) || FLOATS.has(type)) {
    const number = Number(text)
    return Number.isFinite(number) && (FLOATS.has(type) || Number.isSafeInteger(number)) ? number : text
  }
  return text
}

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`

function arrayOf(list: readonly unknown[], depth = 0): string {
  if (depth > 6) throw fail('invalid_request', { reason: 'a list in `params` is nested too deeply' })
  const members = list.map((member) => {
    if (member === null) return 'NULL'
    return Array.isArray(member) ? arrayOf(member, depth + 1) : quoted(textOf(member) ?? '')
  })
  return `{${members.join(',')}}`
}

/** A parameter as PostgreSQL reads it. */
export function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (Array.isArray(value)) return arrayOf(value)
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
