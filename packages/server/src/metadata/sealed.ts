import type { TSchema } from 'typebox'
import type { Vault } from '../base/crypto.ts'

/** A secret leaf as it is stored. */
interface Sealed {
  readonly $sealed: string
}
/** What stands for a secret in answers. */
export const HIDDEN = '[set]'

type Leaf = (value: unknown, path: string) => unknown

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const isSealed = (value: unknown): value is Sealed => isObject(value) && typeof value.$sealed === 'string'

/** Schema of a member: named properties first, then a record's pattern. */
function memberOf(schema: Record<string, unknown>, name: string): unknown {
  const properties = schema.properties as Record<string, unknown> | undefined
  if (properties && Object.hasOwn(properties, name)) return properties[name]
  const patterns = schema.patternProperties as Record<string, unknown> | undefined
  return patterns && Object.values(patterns)[0]
}

/** The value with each leaf changed that the schema marks as secret; objects, records and arrays are followed. */
function mapSecrets(schema: unknown, value: unknown, change: Leaf, path = ''): unknown {
  if (!isObject(schema) || value === undefined || value === null) return value
  if (schema.secret === true) return change(value, path)
  if (Array.isArray(value)) return value.map((item, at) => mapSecrets(schema.items, item, change, `${path}/${at}`))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, mapSecrets(memberOf(schema, name), member, change, `${path}/${name}`)]),
  )
}

export const sealSecrets = (schema: TSchema, value: unknown, vault: Vault, context: string): unknown =>
  mapSecrets(schema, value, (leaf, path) => (typeof leaf === 'string' ? { $sealed: vault.seal(leaf, context + path) } : leaf))

export const openSecrets = (schema: TSchema, value: unknown, vault: Vault, context: string): unknown =>
  mapSecrets(schema, value, (leaf, path) => (isSealed(leaf) ? vault.open(leaf.$sealed, context + path) : leaf))

/** The same with every leaf sealed by the current key. */
export const resealSecrets = (schema: TSchema, value: unknown, vault: Vault, context: string): unknown =>
  mapSecrets(schema, value, (leaf, path) => {
    if (!isSealed(leaf) || vault.isCurrent(leaf.$sealed)) return leaf
    return { $sealed: vault.seal(vault.open(leaf.$sealed, context + path), context + path) }
  })

/** What is left when no key opens its secrets, and where those were. */
export function withoutSecrets(schema: TSchema, value: unknown): { readonly value: unknown; readonly gone: readonly string[] } {
  const gone: string[] = []
  const left = mapSecrets(schema, value, (leaf, path) => {
    if (!isSealed(leaf)) return leaf
    gone.push(path.slice(1))
    return undefined
  })
  return { value: left, gone }
}

/** For answers and logs: whether a secret is set, never what it is. */
export const hideSecrets = (schema: TSchema, value: unknown): unknown => mapSecrets(schema, value, () => HIDDEN)
