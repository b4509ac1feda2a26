import { fail } from '../../../base/errors.ts'

export interface Preferences {
  readonly resolution: 'merge-duplicates' | 'ignore-duplicates' | null
  readonly return: 'representation' | 'minimal' | 'headers-only' | null
  readonly count: 'exact' | 'planned' | 'estimated' | null
  readonly tx: 'commit' | 'rollback' | null
  readonly missing: 'default' | 'null' | null
  readonly handling: 'strict' | 'lenient' | null
  readonly timezone: string | null
  readonly maxAffected: number | null
  /** What was not understood. */
  readonly unknown: readonly string[]
}

const CHOICES: Readonly<Record<string, { readonly field: string; readonly values: readonly string[] }>> = {
  resolution: { field: 'resolution', values: ['merge-duplicates', 'ignore-duplicates'] },
  return: { field: 'return', values: ['representation', 'minimal', 'headers-only'] },
  count: { field: 'count', values: ['exact', 'planned', 'estimated'] },
  tx: { field: 'tx', values: ['commit', 'rollback'] },
  missing: { field: 'missing', values: ['default', 'null'] },
  handling: { field: 'handling', values: ['strict', 'lenient'] },
}

export const NO_PREFERENCES: Preferences = {
  resolution: null,
  return: null,
  count: null,
  tx: null,
  missing: null,
  handling: null,
  timezone: null,
  maxAffected: null,
  unknown: [],
}

/** Time zones of one header that are looked up, which is dear. */
const LOOKED_UP = 4

/** `Prefer` (RFC 7240). Of each preference the first counts. Throws PGRST122 for unknown ones with handling=strict. */
export function parsePrefer(header: string | undefined, allowTx: boolean, timezones = true): Preferences {
  if (header === undefined || header === '') return NO_PREFERENCES
  const found: Record<string, unknown> = { ...NO_PREFERENCES }
  const unknown: string[] = []
  let zones = 0
  for (const part of header.split(',')) {
    const text = part.trim()
    const equals = text.indexOf('=')
    const key = equals < 0 ? text : text.slice(0, equals)
    const value = equals < 0 ? '' : text.slice(equals + 1)
    const choice = Object.hasOwn(CHOICES, key) ? CHOICES[key] : undefined
    if (choice?.values.includes(value)) {
      if (key !== 'tx' || allowTx) found[choice.field] ??= value
    } else if (key === 'timezone' && timezones && zones++ < LOOKED_UP && isTimeZone(value)) found.timezone ??= value
    else if (key === 'max-affected' && /^\d{1,15}$/.test(value)) found.maxAffected ??= Number(value)
    else if (key !== 'max-affected' && text !== '') unknown.push(text)
  }
  found.unknown = unknown
  if (found.handling === 'strict' && unknown.length > 0)
    throw fail('PGRST122', {}, { details: `Invalid preferences: ${unknown.join(', ')}` })
  return found as unknown as Preferences
}

function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][\w+-]*(\/[\w+-]+)*$/.test(name)) return false
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** `Range: 0-9`, `5-`. Anything else asks for everything. Throws PGRST103 where the end lies before the start. */
export function parseRange(header: string | undefined): { first: number; last: number | null } | null {
  const found = header === undefined ? null : /^(\d{1,15})-(\d{1,15})?$/.exec(header.trim())
  if (!found) return null
  const first = Number(found[1])
  const last = found[2] === undefined ? null : Number(found[2])
  if (last !== null && last < first) {
    throw fail('PGRST103', {}, { details: 'The lower boundary must be lower than or equal to the upper boundary in the Range header.' })
  }
  return { first, last }
}
