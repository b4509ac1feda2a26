import { type TSchema, Type } from 'typebox'
import { DURATION_PATTERN, SIZE_PATTERN } from './units.ts'

/**
 * Builders for the keys of a configuration file: JSON Schema as editors read it, with a few `x-` words that say how the text becomes a
 * value. The TypeScript type is that of the value: milliseconds, bytes, absolute paths.
 */
export interface Key {
  readonly type?: string | readonly string[]
  readonly enum?: readonly string[]
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
  /** A relative path counts from the file's folder. */
  readonly 'x-path'?: boolean
  readonly 'x-secret'?: boolean
}

interface About {
  readonly description: string
  readonly format?: string
}

export const text = (value: string, about: About) => Type.String({ default: value, ...about })

export const optionalText = (about: About & { readonly minLength?: number; readonly 'x-secret'?: boolean }) =>
  Type.Unsafe<string | null>({ type: ['string', 'null'], default: null, ...about })

/** The value is an absolute path. */
export const path = (value: string, description: string) =>
  Type.Unsafe<string>({ type: 'string', default: value, description, 'x-path': true })

export const optionalPath = (description: string) =>
  Type.Unsafe<string | null>({ type: ['string', 'null'], default: null, description, 'x-path': true })

export const whole = (value: number, description: string, range: { minimum?: number; maximum?: number } = {}) =>
  Type.Integer({ default: value, minimum: 0, description, ...range })

/** The value is in ms. */
export const duration = (value: string, description: string) =>
  Type.Unsafe<number>({ type: 'string', pattern: DURATION_PATTERN, default: value, description, 'x-unit': 'duration' })

/** The value is in ms; `off` gives 0. */
export const durationOrOff = (value: string, description: string) =>
  Type.Unsafe<number>({
    type: 'string',
    pattern: `${DURATION_PATTERN}|^off$`,
    default: value,
    description,
    'x-unit': 'duration',
    'x-off': 0,
  })

/** The value is in bytes. */
export const bytes = (value: string, description: string) =>
  Type.Unsafe<number>({ type: 'string', pattern: SIZE_PATTERN, default: value, description, 'x-unit': 'bytes' })

/** The value is in bytes; `off` gives 0. */
export const bytesOrOff = (value: string, description: string) =>
  Type.Unsafe<number>({ type: 'string', pattern: `${SIZE_PATTERN}|^off$`, default: value, description, 'x-unit': 'bytes', 'x-off': 0 })

export const choice = <const T extends string>(values: readonly T[], value: NoInfer<T>, description: string) =>
  Type.Unsafe<T>({ type: 'string', enum: [...values], default: value, description })

export const list = (value: readonly string[], about: About) =>
  Type.Array(Type.String(about.format === undefined ? {} : { format: about.format }), {
    default: [...value],
    description: about.description,
  })

export const switchOrAuto = (description: string) =>
  Type.Unsafe<boolean | 'auto'>({
    type: ['boolean', 'string'],
    enum: [true, false, 'auto'],
    default: 'auto',
    description,
    'x-words': ['auto'],
  })

export const portOrAuto = (description: string) =>
  Type.Unsafe<number | 'auto'>({
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
