import { fail } from '../../../base/errors.ts'

/** A number that JavaScript cannot hold stays the text that it was: see `parseJson`. */
export type Json = null | boolean | number | string | RawNumber | readonly Json[] | { readonly [name: string]: Json }

/** What JSON.rawJSON makes: printed by JSON.stringify as it was written. */
export interface RawNumber {
  readonly rawJSON: string
}

/** ECMAScript's "JSON.parse source text access", of which TypeScript knows nothing yet. */
const Exact = JSON as unknown as {
  parse(text: string, reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown): Json
  rawJSON(text: string): RawNumber
  isRawJSON(value: unknown): value is RawNumber
}

export const isRaw = (value: unknown): value is RawNumber => Exact.isRawJSON(value)

/** Like JSON.parse, but 9007199254740993 and 1.10 stay what they are. Throws PGRST102. */
export function parseJson(text: string): Json {
  try {
    return Exact.parse(text, (_key, value, { source }) =>
      typeof value === 'number' && source !== undefined && String(value) !== source ? Exact.rawJSON(source) : value,
    )
  } catch (error) {
    throw fail('PGRST102', { reason: error instanceof RangeError ? 'The json is nested too deep' : 'Empty or invalid json' })
  }
}

/** Levels of a body of a batch. */
const DEPTH = 100

/** The same value with each text in it made anew. */
export function mapTexts(value: Json, map: (text: string) => Json, depth = 0): Json {
  if (typeof value === 'string') return map(value)
  if (typeof value !== 'object' || value === null || isRaw(value)) return value
  if (depth >= DEPTH) throw fail('PGRST102', { reason: `The json is nested deeper than ${DEPTH} levels` })
  if (Array.isArray(value)) return value.map((item: Json) => mapTexts(item, map, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, mapTexts(item as Json, map, depth + 1)]))
}
