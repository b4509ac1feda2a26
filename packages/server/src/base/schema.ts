import type { TSchema } from 'typebox'
import { later } from './later.ts'

/** The first thing that is wrong with a value, and where (a JSON pointer); null: nothing. */
export function wrongWith(schema: TSchema, value: unknown): { readonly instancePath: string; readonly message: string } | null {
  const { Check, Errors } = later<typeof import('typebox/value')>('typebox/value')
  return Check(schema, value) ? null : (Errors(schema, value)[0] ?? { instancePath: '', message: 'does not match its schema' })
}
