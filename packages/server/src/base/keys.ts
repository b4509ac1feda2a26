import type { TObject, TProperties, TSchema, TUnsafe } from 'typebox'
import { DURATION_PATTERN, SIZE_PATTERN } from './units.ts'

/**
 * Builders for the keys of a configuration file: JSON Schema as editors read it, with a few `x-` words that say how the text becomes a
 * value. The TypeScript type is that of the value: milliseconds, bytes, absolute paths. Plain objects: who only reads a configuration (the
 * keeper) does not load the library whose types they have.
 */
export interface Key {
  readonly type?: string | readonly string[]
  readonly items?: { readonly type: string; readonly format?: string }
  readonly pattern?: string
  readonly enum?: readonly (string | number | boolean | null)[]
  readonly default: unknown
  readonly description: string
  readonly format?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  /** Words that are accepted beside the type, as they are. */
  readonly 'x-words'?: readonly (string | boolean)[]
  readonly 'x-unit'?: 'duration' | 'bytes'
  /** What the word `off` becomes. */
  readonly 'x-off'?: number
  /** With its unit, as in the file. */
  readonly 'x-least'?: string
  /** A relative path counts from the file's folder. */
  readonly 'x-path'?: boolean
  /** A path, or s3://bucket/prefix. */
  readonly 'x-place'?: boolean
  readonly 'x-secret'?: boolean
}

interface About {
  readonly description: string
  readonly format?: string
}

/** A key whose value is a T. */
const key = <T>(schema: Key) => schema as unknown as TUnsafe<T>

export const section = <const P extends TProperties>(description: string, properties: P) =>
  ({ type: 'object', required: Object.keys(properties), properties, description, additionalProperties: false }) as unknown as TObject<P>

export const text = (value: string, about: About) => key<string>({ type: 'string', default: value, ...about })

export const optionalText = (about: About & { readonly minLength?: number; readonly 'x-secret'?: boolean }) =>
  key<string | null>({ type: ['string', 'null'], default: null, ...about })

/** The value is an absolute path. */
export const path = (value: string, description: string) => key<string>({ type: 'string', default: value, description, 'x-path': true })

export const optionalPath = (description: string) =>
  key<string | null>({ type: ['string', 'null'], default: null, description, 'x-path': true })

/** A path, or s3://bucket/prefix. */
export const optionalPlace = (description: string) =>
  key<string | null>({ type: ['string', 'null'], default: null, description, 'x-path': true, 'x-place': true })

export const whole = (value: number, description: string, range: { minimum?: number; maximum?: number } = {}) =>
  key<number>({ type: 'integer', default: value, minimum: 0, description, ...range })

export const optionalChoice = <const T extends number>(values: readonly T[], description: string) =>
  key<T | null>({ type: ['integer', 'null'], enum: [...values, null], default: null, description })

const leastOf = (least: string | undefined) => (least === undefined ? {} : { 'x-least': least })

/** The value is in ms. */
export const duration = (value: string, description: string, least?: string) =>
  key<number>({ type: 'string', pattern: DURATION_PATTERN, default: value, description, 'x-unit': 'duration', ...leastOf(least) })

/** The value is in ms; `off` gives 0. */
export const durationOrOff = (value: string, description: string) =>
  key<number>({
    type: 'string',
    pattern: `${DURATION_PATTERN}|^off$`,
    default: value,
    description,
    'x-unit': 'duration',
    'x-off': 0,
  })

/** The value is in bytes. */
export const bytes = (value: string, description: string) =>
  key<number>({ type: 'string', pattern: SIZE_PATTERN, default: value, description, 'x-unit': 'bytes' })

/** The value is in bytes; `off` gives 0. */
export const bytesOrOff = (value: string, description: string, least?: string) =>
  key<number>({
    type: 'string',
    pattern: `${SIZE_PATTERN}|^off$`,
    default: value,
    description,
    'x-unit': 'bytes',
    'x-off': 0,
    ...leastOf(least),
  })

export const choice = <const T extends string>(values: readonly T[], value: NoInfer<T>, description: string) =>
  key<T>({ type: 'string', enum: [...values], default: value, description })

export const list = (value: readonly string[], about: About) =>
  key<string[]>({
    type: 'array',
    items: { type: 'string', ...(about.format === undefined ? {} : { format: about.format }) },
    default: [...value],
    description: about.description,
  })

export const switchOrAuto = (description: string) =>
  key<boolean | 'auto'>({
    type: ['boolean', 'string'],
    enum: [true, false, 'auto'],
    default: 'auto',
    description,
    'x-words': ['auto'],
  })

export const portOrAuto = (description: string) =>
  key<number | 'auto'>({
    type: ['integer', 'string'],
    minimum: 0,
    maximum: 65535,
    pattern: '^auto$',
    default: 'auto',
    description,
    'x-words': ['auto'],
  })

export interface NamedKey {
  /** 'api.port' */
  readonly path: string
  /** 'SOVRABASE_API_PORT' */
  readonly variable: string
  readonly key: Key
}

interface Section {
  readonly description?: string
  readonly properties: Readonly<Record<string, TSchema>>
}

export const isSection = (schema: unknown): schema is Section & TSchema =>
  typeof schema === 'object' && schema !== null && 'properties' in schema

export const variableOf = (prefix: string, path: string): string => `${prefix}${path.replaceAll('.', '_').toUpperCase()}`

/** Every key of a schema with its path, in the order of the schema. */
export function keysOf(schema: TSchema, prefix: string, above = ''): NamedKey[] {
  if (!isSection(schema)) return []
  return Object.entries(schema.properties).flatMap(([name, inner]) => {
    const path = above + name
    return isSection(inner)
      ? keysOf(inner, prefix, `${path}.`)
      : [{ path, variable: variableOf(prefix, path), key: inner as unknown as Key }]
  })
}
