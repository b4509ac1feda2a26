import type { SelectType } from 'kysely'
import { type Kind, type Migration, type TableShape, table } from '../../base/db/schema.ts'
import type { Tables } from '../tables.ts'

type NullableKind = `${Kind}?`

/** Every column of tables.ts, nullable exactly where that says so; but those that a later migration adds. */
type Columns<Name extends keyof Tables, Later extends keyof Tables[Name]> = {
  readonly [Column in Exclude<keyof Tables[Name], Later>]: null extends SelectType<Tables[Name][Column]> ? NullableKind : Kind
}

/** `table()`, held to tables.ts by the compiler. */
export const metadataTable = <Name extends keyof Tables & string, Later extends keyof Tables[Name] = never>(
  name: Name,
  shape: Omit<TableShape, 'columns'> & { readonly columns: Columns<Name, Later> },
): Migration => table(name, shape as unknown as TableShape)
