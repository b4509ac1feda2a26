import { readFileSync } from 'node:fs'
import type { Catalogue, Column, ForeignKey, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import type { Cluster } from '../../../runtime/engines/postgres/cluster.ts'
import {
  type Field,
  type Model,
  type ModelColumn,
  type ModelFunction,
  type ModelSchema,
  type ModelTable,
  type Relationship,
  sorted,
} from './model.ts'

const QUERY = readFileSync(new URL('functions.sql', import.meta.url), 'utf8')
const VIEWS = new Set(['v', 'm'])

interface Found {
  readonly functions:
    | readonly (Omit<ModelFunction, 'args' | 'columns'> & {
        schema: string
        args: ModelFunction['args'] | null
        columns: readonly Field[] | null
      })[]
    | null
  readonly composites: readonly { schema: string; name: string; fields: readonly Field[] | null }[] | null
  readonly enums: readonly { schema: string; name: string; type: string; labels: readonly string[] | null }[] | null
}

const columnOf = (column: Column, view: boolean): ModelColumn => ({
  name: column.name,
  type: column.type,
  nullable: view || !column.notNull,
  optional: view || !column.notNull || column.default !== null || column.identity !== '',
  fixed: column.generated || column.identity === 'a',
})

const relationshipOf = (key: ForeignKey): Relationship => ({
  name: key.name,
  columns: key.columns,
  unique: key.unique,
  schema: key.foreignSchema,
  relation: key.foreignTable,
  foreignColumns: key.foreignColumns,
})

const takesRowOf =
  (table: Table) =>
  ({ of }: ModelFunction): boolean =>
    of?.schema === table.schema && of.name === table.name

function tableOf(table: Table, functions: readonly ModelFunction[]): ModelTable {
  const view = VIEWS.has(table.kind)
  // A function that answers rows of a table is a relationship, no column.
  const computed = functions.filter(takesRowOf(table)).filter(({ set, relation }) => !set && relation === null)
  return {
    schema: table.schema,
    name: table.name,
    columns: sorted([...table.columns.values()].map((column) => columnOf(column, view))),
    computed: sorted(computed.map(({ name, returns }) => ({ name, type: returns }))),
    relationships: sorted(table.references.map(relationshipOf)),
    insertable: table.insertable,
    updatable: table.updatable,
  }
}

function schemaOf(name: string, catalogue: Catalogue, found: Found): ModelSchema {
  const functions = (found.functions ?? [])
    .filter(({ schema }) => schema === name)
    .map((routine): ModelFunction => ({ ...routine, args: routine.args ?? [], columns: routine.columns ?? [] }))
  const tables = [...(catalogue.schemas.get(name)?.tables.values() ?? [])]
  const made = (view: boolean) => sorted(tables.filter(({ kind }) => VIEWS.has(kind) === view).map((table) => tableOf(table, functions)))
  return {
    name,
    tables: made(false),
    views: made(true),
    functions,
    enums: (found.enums ?? [])
      .filter(({ schema }) => schema === name)
      .map(({ name: type, labels }) => ({ name: type, labels: labels ?? [] })),
    composites: (found.composites ?? [])
      .filter(({ schema }) => schema === name)
      .map(({ name: type, fields }) => ({ name: type, fields: sorted(fields ?? []) })),
  }
}

/** The model of these schemas, as they are now. */
export async function introspect(cluster: Cluster, schemas: readonly string[]): Promise<Model> {
  await cluster.catalogue.fresh(cluster.catalogue.current)
  const catalogue = cluster.catalogue.current
  const found = await cluster.admin(async (client) => (await client.query<{ found: Found }>(QUERY, [schemas])).rows[0]?.found)
  const seen = found ?? { functions: null, composites: null, enums: null }
  return {
    schemas: schemas.map((name) => schemaOf(name, catalogue, seen)),
    enums: new Map((seen.enums ?? []).map(({ type, labels }) => [type, labels ?? []])),
    domains: catalogue.domains,
  }
}
