import { fail } from '../../../base/errors.ts'
import { formFields } from '../../../base/form.ts'

/** A request's body, ready to be a parameter: JSON text and what must be known of it to plan. */
export interface Payload {
  /** JSON text; of a function with one unnamed parameter, the body as it came. */
  readonly text: string
  readonly isArray: boolean
  /** Keys that every object of it has, sorted; of very many, more than anything that could take them. */
  readonly keys: readonly string[]
  /** type without parameters: application/json */
  readonly type: string
}

export interface BodyOptions {
  /** columns= was given: the keys are those, the text is not read. */
  readonly columns: boolean
  readonly rpc: boolean
}

/** Where a form's body, made into JSON, has all values of a field. */
export const eachOf = (key: string): string => `each ${key}`

export const FORM_TYPE = 'application/x-www-form-urlencoded'

const OBJECT = /^[ \t\r\n]*\{/
export const mediaType = (header: string | undefined): string =>
  (header ?? 'application/json').split(';', 1)[0]!.trim().toLowerCase() || 'application/json'

/** Pure; throws PGRST102. */
export function parseBody(body: string, header: string | undefined, options: BodyOptions): Payload {
  const type = mediaType(header)
  switch (type) {
    case 'application/json':
    case 'application/vnd.pgrst.object+json':
    case 'application/vnd.pgrst.array+json':
      return options.columns ? { text: body, isArray: !OBJECT.test(body), keys: [], type } : json(body, type, options.rpc)
    case 'text/csv':
      return csv(body)
    case FORM_TYPE:
      return form(body, type, options.rpc)
    case 'text/plain':
    case 'text/xml':
    case 'application/octet-stream':
      if (options.rpc) return { text: body, isArray: false, keys: [], type }
  }
  throw fail('PGRST102', { reason: `Content-Type not acceptable: ${type}` })
}

function json(body: string, type: string, rpc: boolean): Payload {
  if (rpc && body === '') return { text: '{}', isArray: false, keys: [], type }
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    throw fail('PGRST102', { reason: 'Empty or invalid json' })
  }
  if (Array.isArray(value)) return { text: body, isArray: true, keys: rpc && !isUniform(value) ? [] : uniformKeys(value), type }
  if (typeof value === 'object' && value !== null) return { text: body, isArray: false, keys: sorted(Object.keys(value)), type }
  // Anything else holds no row.
  return { text: rpc ? body : '[]', isArray: true, keys: [], type }
}

/** More than any table has columns, or any function arguments: of a body with more keys, some are in any case of neither. */
const MAX_KEYS = 2_000
const sorted = (keys: readonly string[]): string[] => keys.slice(0, MAX_KEYS).sort()

/** A function with one json parameter takes any array. */
function isUniform(rows: readonly unknown[]): boolean {
  try {
    return uniformKeys(rows).length >= 0
  } catch {
    return false
  }
}

function uniformKeys(rows: readonly unknown[]): string[] {
  const mismatch = () => fail('PGRST102', { reason: 'All object keys must match' })
  if (rows.length === 0) return []
  const [first] = rows
  if (typeof first !== 'object' || first === null) throw mismatch()
  const keys = Object.keys(first)
  for (const row of rows) {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) throw mismatch()
    let count = 0
    for (const key in row) {
      count++
      if (!Object.hasOwn(first, key)) throw mismatch()
    }
    if (count !== keys.length) throw mismatch()
  }
  return sorted(keys)
}

/** Of a field that comes more than once the last counts; `eachOf` has all, for a variadic argument. */
function form(body: string, type: string, rpc: boolean): Payload {
  const fields = new Map<string, string>()
  const lists = new Map<string, string[]>()
  for (const [key, value] of formFields(body)) {
    fields.set(key, value)
    if (fields.size > MAX_KEYS) throw fail('PGRST102', { reason: `A form has at most ${MAX_KEYS} fields` })
    if (!rpc) continue
    const name = eachOf(key)
    const list = lists.get(name)
    if (list) list.push(value)
    else lists.set(name, [value])
  }
  const text = JSON.stringify({ ...Object.fromEntries(fields), ...Object.fromEntries(lists) })
  return { text, isArray: false, keys: sorted([...fields.keys()]), type }
}

/** What CSV may grow to: JSON says each name of the header again in each line. */
const CSV_GROWTH = 32
const CSV_ROOM = 1 << 20
const CSV_MAX = 64 << 20

function checkGrowth(body: string, header: readonly string[], lines: number): void {
  const names = header.reduce((sum, key) => sum + key.length, 0)
  const limit = Math.min(CSV_MAX, CSV_ROOM + CSV_GROWTH * body.length)
  if (names * lines > limit)
    throw fail('PGRST102', { reason: `The names in the header, said in each line, are longer than ${limit} characters` })
}

/** CSV with a header line (RFC 4180) → JSON; the word NULL is null. */
function csv(body: string): Payload {
  const [header, ...lines] = records(body)
  if (header === undefined) throw fail('PGRST102', { reason: 'Empty or invalid csv' })
  checkGrowth(body, header, lines.length)
  const rows = lines.map((line) => {
    if (line.length !== header.length) throw fail('PGRST102', { reason: 'All lines must have same number of fields' })
    return Object.fromEntries(header.map((key, i) => [key, line[i] === 'NULL' ? null : line[i]]))
  })
  return { text: JSON.stringify(rows), isArray: true, keys: sorted(header), type: 'text/csv' }
}

function records(text: string): string[][] {
  const lines: string[][] = []
  let line: string[] = []
  let at = 0
  while (at < text.length) {
    const [value, next] = text[at] === '"' ? quotedField(text, at) : plainField(text, at)
    line.push(value)
    at = next
    if (text[at] === ',') {
      at++
      if (at >= text.length) line.push('')
      continue
    }
    if (text[at] === '\r') at++
    if (text[at] === '\n') at++
    else if (at < text.length) throw fail('PGRST102', { reason: 'CSV is not well formed' })
    lines.push(line)
    line = []
  }
  if (line.length > 0) lines.push(line)
  return lines
}

function plainField(text: string, start: number): [string, number] {
  let at = start
  while (at < text.length && text[at] !== ',' && text[at] !== '\n' && text[at] !== '\r') at++
  return [text.slice(start, at), at]
}

function quotedField(text: string, start: number): [string, number] {
  let value = ''
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] !== '"') value += text[at]
    else if (text[at + 1] === '"') value += text[at++]
    else return [value, at + 1]
  }
  throw fail('PGRST102', { reason: 'CSV is not well formed' })
}
