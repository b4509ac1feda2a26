import { fail, type SovraError } from '../../../base/errors.ts'
import type { Catalogue, ForeignKey, Routine, Schema, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { nearest } from './nearest.ts'

type Pair = readonly [own: string, other: string]

/** How rows of one table find rows of another. */
export interface Relation {
  readonly kind: 'many-to-one' | 'one-to-many' | 'one-to-one' | 'many-to-many' | 'computed'
  readonly toOne: boolean
  readonly source: Table
  readonly target: Table
  /** The foreign key's name; both, joined by " and ", of a many-to-many. */
  readonly constraint: string
  /** Column of the source, column of the target; of a many-to-many: column of the source, column of the junction. */
  readonly columns: readonly Pair[]
  readonly junction: { readonly table: Table; readonly constraints: readonly [string, string]; readonly columns: readonly Pair[] } | null
  /** Of a computed relation. */
  readonly routine: Routine | null
}

const memory = new WeakMap<Catalogue, Map<Table, readonly Relation[]>>()

/** Relations of a kind, and pairs of foreign keys that are tried for a junction: they grow with the square of keys. */
const MAX_RELATIONS = 10_000
const MAX_PAIRS = 100_000
/** Tables that are looked at for one that has relations, for a hint. */
const MAX_TABLES = 2_000

/** All relations of a table to tables of its schema; worked out once a catalogue and table. */
export function relationsOf(catalogue: Catalogue, table: Table): readonly Relation[] {
  let tables = memory.get(catalogue)
  if (!tables) {
    tables = new Map()
    memory.set(catalogue, tables)
  }
  let relations = tables.get(table)
  if (!relations) {
    relations = [direct, junctions, computed].flatMap((kind) => Iterator.from(kind(catalogue, table)).take(MAX_RELATIONS).toArray())
    tables.set(table, relations)
  }
  return relations
}

const find = (catalogue: Catalogue, schema: string, name: string) => catalogue.schemas.get(schema)?.tables.get(name)
/** Keys of views are traced, and go by no name but the view's. */
const isView = ({ kind }: Table) => kind === 'v' || kind === 'm'
const zip = (a: readonly string[], b: readonly string[]): Pair[] => a.map((item, i) => [item, b[i] ?? ''])

function* direct(catalogue: Catalogue, table: Table): Generator<Relation> {
  for (const key of table.references) {
    const target = find(catalogue, key.foreignSchema, key.foreignTable)
    if (target?.schema !== table.schema) continue
    const kind = key.unique ? 'one-to-one' : 'many-to-one'
    yield made(kind, true, table, target, key, zip(key.columns, key.foreignColumns))
  }
  for (const key of table.referencedBy) {
    const target = find(catalogue, key.schema, key.table)
    if (target?.schema !== table.schema) continue
    const one = key.unique
    yield made(one ? 'one-to-one' : 'one-to-many', one, table, target, key, zip(key.foreignColumns, key.columns))
  }
}

const made = (kind: Relation['kind'], toOne: boolean, source: Table, target: Table, key: ForeignKey, columns: Pair[]): Relation => ({
  kind,
  toOne,
  source,
  target,
  constraint: key.name,
  columns,
  junction: null,
  routine: null,
})

/** A junction is a table whose primary key holds both of its foreign keys. */
function* junctions(catalogue: Catalogue, table: Table): Generator<Relation> {
  let pairs = 0
  for (const near of table.referencedBy) {
    const junction = find(catalogue, near.schema, near.table)
    if (!junction || junction.schema !== table.schema) continue
    for (const far of junction.references) {
      if (++pairs > MAX_PAIRS) return
      if (
        far.name === near.name ||
        far.unique ||
        near.unique ||
        ![...near.columns, ...far.columns].every((column) => junction.primaryKey.includes(column))
      )
        continue
      const target = find(catalogue, far.foreignSchema, far.foreignTable)
      if (target?.schema !== table.schema) continue
      yield {
        kind: 'many-to-many',
        toOne: false,
        source: table,
        target,
        constraint: `${near.name} and ${far.name}`,
        columns: zip(near.foreignColumns, near.columns),
        junction: { table: junction, constraints: [near.name, far.name], columns: zip(far.foreignColumns, far.columns) },
        routine: null,
      }
    }
  }
}

const takers = new WeakMap<Schema, ReadonlyMap<string, readonly Routine[]>>()

/** By the type that they take alone: functions that answer rows. Each schema's are gone through once. */
function takersOf(schema: Schema): ReadonlyMap<string, readonly Routine[]> {
  let known = takers.get(schema)
  if (!known) {
    const made = new Map<string, Routine[]>()
    for (const overloads of schema.functions.values())
      for (const routine of overloads) {
        const [row, ...more] = routine.args
        if (row === undefined || more.length > 0 || routine.returns !== 'composite') continue
        const list = made.get(row.type)
        if (list) list.push(routine)
        else made.set(row.type, [routine])
      }
    known = made
    takers.set(schema, known)
  }
  return known
}

/** Functions that take one row of the table and return rows of a table. */
function* computed(catalogue: Catalogue, table: Table): Generator<Relation> {
  // PostgreSQL quotes what has to be.
  const spelt = (name: string) => [name, `"${name.replaceAll('"', '""')}"`]
  const types = spelt(table.schema).flatMap((schema) => spelt(table.name).map((name) => `${schema}.${name}`))
  const schema = catalogue.schemas.get(table.schema)
  if (!schema) return
  for (const type of new Set(types)) {
    for (const routine of takersOf(schema).get(type) ?? []) {
      const target = find(catalogue, routine.returnSchema, routine.returnType)
      if (!target) continue
      const toOne = !routine.returnsSet || routine.rows === 1
      yield { kind: 'computed', toOne, source: table, target, constraint: routine.name, columns: [], junction: null, routine }
    }
  }
}

const ownColumn = (relation: Relation) => (relation.columns.length === 1 && !relation.junction ? relation.columns[0]![0] : null)
const otherColumn = (relation: Relation) => (relation.columns.length === 1 && !relation.junction ? relation.columns[0]![1] : null)

function matchesSelf(relation: Relation, target: string, hint: string | null): boolean {
  // One foreign key to the table itself makes two relations: by the table's name the many, by the column's the one.
  if (hint === null) {
    if (relation.kind === 'many-to-one') return ownColumn(relation) === target
    return target === relation.target.name && relation.kind !== 'one-to-one'
  }
  if (target !== relation.target.name) return false
  if (relation.junction) return hint === relation.junction.table.name
  return relation.kind === 'one-to-many' && (otherColumn(relation) === hint || relation.constraint === hint)
}

function matches(relation: Relation, target: string, hint: string | null): boolean {
  if (relation.routine) return target === relation.routine.name
  if (relation.source === relation.target) return matchesSelf(relation, target, hint)
  if (hint === null)
    return (
      target === relation.target.name ||
      (!relation.junction && !isView(relation.target) && (target === relation.constraint || target === ownColumn(relation)))
    )
  if (target !== relation.target.name) return false
  if (relation.junction) return hint === relation.junction.table.name
  return hint === relation.constraint || hint === ownColumn(relation) || hint === otherColumn(relation)
}

/** The relation that an embed means; throws PGRST200 for none, PGRST201 for several. `parent` is the name that the request uses. */
export function findRelation(
  catalogue: Catalogue,
  source: Table | null,
  parent: string,
  schema: string,
  target: string,
  hint: string | null,
): Relation {
  const all = source === null ? [] : relationsOf(catalogue, source)
  const named = all.filter((relation) => matches(relation, target, hint))
  // A computed relation stands before a foreign key of the same name.
  const own = named.filter((relation) => relation.routine)
  const found = own.length > 0 ? own : named
  if (found.length === 1) return found[0]!
  throw found.length === 0 ? noRelation(catalogue, all, parent, schema, target, hint) : ambiguous(found, parent, target)
}

function noRelation(
  catalogue: Catalogue,
  all: readonly Relation[],
  parent: string,
  schema: string,
  child: string,
  hint: string | null,
): SovraError {
  const using = hint === null ? '' : ` using the hint '${hint}'`
  return fail(
    'PGRST200',
    { parent, child, hint: relationHint(catalogue, all, parent, schema, child) },
    {
      details: `Searched for a foreign key relationship between '${parent}' and '${child}'${using} in the schema '${schema}', but no matches were found.`,
    },
  )
}

function relationHint(catalogue: Catalogue, all: readonly Relation[], parent: string, schema: string, child: string): string {
  const tables = catalogue.schemas.get(schema)?.tables
  if (tables?.has(parent) !== true) return ''
  const meant = (name: string, candidates: Iterable<string>) => {
    const near = nearest(name, candidates, 0.33)
    return near === null ? '' : `Perhaps you meant '${near}' instead of '${name}'.`
  }
  // Without any relation it is the parent that is wrong; where the child is right, the hint is.
  if (all.length === 0) {
    const related = [...tables.values()].slice(0, MAX_TABLES).filter((table) => relationsOf(catalogue, table).length > 0)
    return meant(
      parent,
      related.map(({ name }) => name),
    )
  }
  const children = all.map(({ target }) => target.name)
  return children.includes(child) ? '' : meant(child, children)
}

const list = (columns: readonly string[]) => `(${columns.join(', ')})`

function described(relation: Relation): Record<string, string> {
  const embedding = `${relation.source.name} with ${relation.target.name}`
  const { junction } = relation
  if (junction) {
    const [near, far] = junction.constraints
    const columns = (pairs: readonly Pair[]) => list(pairs.map(([, other]) => other))
    return {
      cardinality: 'many-to-many',
      embedding,
      relationship: `${junction.table.name} using ${near}${columns(relation.columns)} and ${far}${columns(junction.columns)}`,
    }
  }
  const own = list(relation.columns.map(([column]) => column))
  const other = list(relation.columns.map(([, column]) => column))
  return {
    cardinality: relation.kind,
    embedding,
    relationship: `${relation.constraint} using ${relation.source.name}${own} and ${relation.target.name}${other}`,
  }
}

const KINDS: readonly Relation['kind'][] = ['one-to-many', 'many-to-one', 'one-to-one', 'many-to-many', 'computed']
/** The order in which PostgREST names them. */
const rank = (relation: Relation): string =>
  [relation.target.name, KINDS.indexOf(relation.kind), relation.junction?.table.name ?? '', relation.constraint, relation.columns].join(
    '\0',
  )

function ambiguous(unsorted: readonly Relation[], parent: string, child: string): SovraError {
  const found = [...unsorted].sort((a, b) => (rank(a) < rank(b) ? -1 : 1))
  const candidates = found.map((relation) => `'${relation.target.name}!${relation.junction?.table.name ?? relation.constraint}'`).join(', ')
  return fail('PGRST201', { parent, child, candidates }, { details: found.map(described) })
}
