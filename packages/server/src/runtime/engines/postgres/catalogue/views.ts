import type { ForeignKey } from './types.ts'

/** A view's columns that are columns of a relation, as they are: [view's schema, view, [column, schema, relation, column][]]. */
export type RawView = [schema: string, name: string, columns: [name: string, schema: string, table: string, column: string][]]

/** Columns of a view by the column of a table that they show: one of the table may be shown more than once. */
type Shown = Map<string, string[]>

export interface TracedView {
  readonly schema: string
  readonly name: string
  /** By `keyOf` of the table, through views of views. */
  readonly tables: ReadonlyMap<string, Shown>
}

/** Relations of a foreign key that are made of its views, at most: a key of columns that are shown many times would have very many. */
const MAX_COMBINATIONS = 16

export const keyOf = (schema: string, name: string): string => `${schema}\0${name}`

/** Pure: follows each column through views of views down to tables. */
export function traceViews(raw: readonly RawView[]): TracedView[] {
  const views = new Map(raw.map((view) => [keyOf(view[0], view[1]), view]))
  const origins = new Map<string, Map<string, [table: string, column: string]>>()
  const originOf = (view: string, column: string, seen: readonly string[]): [string, string] | null => {
    const found = views.get(view)?.[2].find(([name]) => name === column)
    if (!found) return null
    const table = keyOf(found[1], found[2])
    if (!views.has(table)) return [table, found[3]]
    return seen.includes(table) ? null : (origins.get(table)?.get(found[3]) ?? originOf(table, found[3], [...seen, table]))
  }
  return raw.map(([schema, name, columns]) => {
    const own = new Map<string, [string, string]>()
    const tables = new Map<string, Shown>()
    const view = keyOf(schema, name)
    for (const [column] of columns) {
      const origin = originOf(view, column, [view])
      if (origin === null) continue
      own.set(column, origin)
      const shown: Shown = tables.get(origin[0]) ?? new Map()
      tables.set(origin[0], shown)
      shown.set(origin[1], [...(shown.get(origin[1]) ?? []), column])
    }
    origins.set(view, own)
    return { schema, name, tables }
  })
}

/** Each way to say `columns` of a table in a view's own columns; none where the view lacks one of them. */
function combinations(shown: Shown | undefined, columns: readonly string[]): string[][] {
  let ways: string[][] = [[]]
  for (const column of columns) {
    const names = shown?.get(column) ?? []
    ways = ways.flatMap((way) => names.map((name) => [...way, name])).slice(0, MAX_COMBINATIONS)
  }
  return ways
}

/** The foreign keys that views have by those of their tables: view to table, table to view and view to view. Pure. */
export function tracedKeys(keys: readonly ForeignKey[], views: readonly TracedView[]): ForeignKey[] {
  const showing = new Map<string, TracedView[]>()
  for (const view of views)
    for (const table of view.tables.keys()) {
      const list = showing.get(table)
      if (list) list.push(view)
      else showing.set(table, [view])
    }
  const ends = (schema: string, table: string, columns: readonly string[]) => {
    const key = keyOf(schema, table)
    return (showing.get(key) ?? []).flatMap((view) =>
      combinations(view.tables.get(key), columns).map((names) => ({ schema: view.schema, table: view.name, columns: names })),
    )
  }
  return keys.flatMap((key) => {
    const own = [{ schema: key.schema, table: key.table, columns: key.columns }, ...ends(key.schema, key.table, key.columns)]
    const foreign = [
      { schema: key.foreignSchema, table: key.foreignTable, columns: key.foreignColumns },
      ...ends(key.foreignSchema, key.foreignTable, key.foreignColumns),
    ]
    const made = own.flatMap((from) =>
      foreign.map((to) => ({
        ...key,
        ...from,
        foreignSchema: to.schema,
        foreignTable: to.table,
        foreignColumns: to.columns,
        traced: true,
      })),
    )
    // The first pair is the key itself.
    return made.slice(1)
  })
}

/** Columns of a view that stand for the primary keys of its tables, where all columns of one are shown. Pure. */
export function tracedPrimaryKey(view: TracedView, primaryKeyOf: (table: string) => readonly string[]): string[] {
  return [...view.tables].flatMap(([table, shown]) => combinations(shown, primaryKeyOf(table))[0] ?? [])
}
