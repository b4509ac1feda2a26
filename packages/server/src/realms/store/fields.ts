import { type RawBuilder, sql } from 'kysely'
import type { Json } from './types.ts'

/**
 * How a database writes times: bigint ms in metadata, `timestamptz` in a cluster. All else is the same text on the way in; on the way out a
 * cluster's driver answers what metadata would (ms, 0/1, JSON as text), so that one store reads both.
 */
export interface Codec {
  at(ms: number): number
  /**
   * Users of no SSO provider: said in the text, never by a parameter, since an index on those alone is not found by a plan that is made for any
   * value.
   */
  readonly ofNoProvider: RawBuilder<boolean>
  /** Columns that the database computes there and takes from us here. */
  readonly writesIdentityEmail: boolean
  /** Whether one statement takes from a bucket that may not be there. */
  readonly upserts: boolean
  /** Whether its people's own functions can be called there. */
  readonly callsFunctions: boolean
}

/** Metadata. */
export const PLAIN: Codec = {
  at: (ms) => ms,
  ofNoProvider: sql`is_sso_user = 0`,
  writesIdentityEmail: true,
  upserts: false,
  callsFunctions: false,
}
/** A project's cluster. The text stands where the type says number: the driver sends parameters as text, and PostgreSQL reads a time. */
export const CLUSTER: Codec = {
  at: (ms) => new Date(ms).toISOString() as unknown as number,
  ofNoProvider: sql`is_sso_user = false`,
  writesIdentityEmail: false,
  upserts: true,
  callsFunctions: true,
}

type Kind = 'text' | 'number' | 'time' | 'bool' | 'json'
/** Property → [column, kind]. */
export type Fields<T> = { readonly [K in keyof T]-?: readonly [column: string, kind: Kind] }

function write(kind: Kind, value: unknown, codec: Codec): unknown {
  if (value === null) return null
  if (kind === 'time') return codec.at(value as number)
  if (kind === 'bool') return value ? 1 : 0
  return kind === 'json' ? JSON.stringify(value) : value
}

function read(kind: Kind, value: unknown): unknown {
  if (kind === 'json') return value === null || value === undefined ? {} : (JSON.parse(value as string) as Json)
  if (kind === 'bool') return value === 1
  return value ?? null
}

/** The columns of what is given; absent properties are left alone. */
export function rowOf<T extends object>(fields: Fields<T>, value: Partial<T>, codec: Codec): never {
  const row: Record<string, unknown> = {}
  for (const [name, given] of Object.entries(value)) {
    const field = (fields as Record<string, readonly [string, Kind]>)[name]
    if (field && given !== undefined) row[field[0]] = write(field[1], given, codec)
  }
  return row as never
}

export function fromRow<T>(fields: Fields<T>, row: object): T {
  const from = row as Record<string, unknown>
  const value: Record<string, unknown> = {}
  for (const [name, [column, kind]] of Object.entries(fields) as [string, readonly [string, Kind]][]) value[name] = read(kind, from[column])
  return value as T
}
