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

/** Ends of one foreign key in views, and keys that are made of them in all: of n views at both ends there are n² of one key. */
const MAX_ENDS = 500
const MAX_TRACED = 50_000

type End = Pick<ForeignKey, 'schema' | 'table' | 'columns'>

export const keyOf = (schema: string, name: string): string => `${schema}\0${name}`

type Origin = readonly [table: string, column: string]

/** Who knows where the columns of views come from; each step is taken once, however long the chain of views and wherever it is entered. */
function originsOf(raw: readonly RawView[]): (view: string, column: string) => Origin | null {
  const views = new Map(raw.map((view) => [keyOf(view[0], view[1]), new Map(view[2].map((shown) => [shown[0], shown]))]))
  const known = new Map<string, Origin | null>()
  return (view, column) => {
    const passed = new Set<string>()
    let origin: Origin | null = [view, column]
    while (origin !== null) {
      const columns = views.get(origin[0])
      if (columns === undefined) break
      const place: string = origin.join('\0')
      const before = known.get(place)
      // A cycle has no origin.
      if (before !== undefined || passed.has(place)) {
        origin = before ?? null
        break
      }
      passed.add(place)
      const found = columns.get(origin[1])
      origin = found ? [keyOf(found[1], found[2]), found[3]] : null
    }
    for (const place of passed) known.set(place, origin)
    return origin
  }
}

/** Pure: follows each column through views of views down to tables. */
export function traceViews(raw: readonly RawView[]): TracedView[] {
  const originOf = originsOf(raw)
  return raw.map(([schema, name, columns]) => {
    const tables = new Map<string, Shown>()
    const view = keyOf(schema, name)
    for (const [column] of columns) {
      const origin = originOf(view, column)
      if (origin === null) continue
      const shown: Shown = tables.get(origin[0]) ?? new Map()
      tables.set(origin[0], shown)
      const names = shown.get(origin[1])
      if (names) names.push(column)
      else shown.set(origin[1], [column])
    }
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
  const ends = (schema: string, table: string, columns: readonly string[]): End[] => {
    const key = keyOf(schema, table)
    const found: End[] = [{ schema, table, columns }]
    for (const view of showing.get(key) ?? []) {
      if (found.length > MAX_ENDS) break
      for (const names of combinations(view.tables.get(key), columns)) found.push({ schema: view.schema, table: view.name, columns: names })
    }
    return found
  }
  const made: ForeignKey[] = []
  for (const key of keys) {
    if (made.length >= MAX_TRACED) break
    const own = ends(key.schema, key.table, key.columns)
    const foreign = ends(key.foreignSchema, key.foreignTable, key.foreignColumns)
    // The first pair is the key itself.
    for (const [i, from] of own.entries()) for (const [j, to] of foreign.entries()) if (i + j > 0) made.push(tracedKey(key, from, to))
  }
  return made.slice(0, MAX_TRACED)
}

const tracedKey = (key: ForeignKey, from: End, to: End): ForeignKey => ({
  ...key,
  ...from,
  foreignSchema: to.schema,
  foreignTable: to.table,
  foreignColumns: to.columns,
  traced: true,
})

/** Columns of a view that stand for the primary keys of its tables, where all columns of one are shown. Pure. */
export function tracedPrimaryKey(view: TracedView, primaryKeyOf: (table: string) => readonly string[]): string[] {
  return [...view.tables].flatMap(([table, shown]) => combinations(shown, primaryKeyOf(table))[0] ?? [])
}
