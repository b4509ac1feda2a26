import type { TSchema } from 'typebox'
import { later } from './later.ts'

/** What a validator says of one rule. */
export interface Wrong {
  readonly keyword: string
  readonly instancePath: string
  readonly message?: string
  readonly params: object
}

/** In words of people: a rule that allows a few words is said with the words, whether it is an enum or a union of constants. */
export function saysOf(one: Wrong, all: readonly Wrong[]): string {
  const { allowedValues } = one.params as { allowedValues?: readonly unknown[] }
  const constants = all.filter(({ keyword, instancePath }) => keyword === 'const' && instancePath === one.instancePath)
  const words =
    one.keyword === 'enum' && allowedValues
      ? allowedValues
      : one.keyword === 'const'
        ? constants.map(({ params }) => (params as { allowedValue?: unknown }).allowedValue)
        : []
  if (one.message === 'schema is false') return 'there is no such key'
  return words.length === 0 ? (one.message ?? '') : `must be ${words.join(', ').replace(/, ([^,]*)$/, ' or $1')}`
}

/** The first thing that is wrong with a value, and where (a JSON pointer); null: nothing. */
export function wrongWith(schema: TSchema, value: unknown): { readonly instancePath: string; readonly message: string } | null {
  const { Check, Errors } = later<typeof import('typebox/value')>('typebox/value')
  if (Check(schema, value)) return null
  const all = [...Errors(schema, value)] as Wrong[]
  const [first] = all
  return first
    ? { instancePath: first.instancePath, message: saysOf(first, all) }
    : { instancePath: '', message: 'does not match its schema' }
}
