import { fail } from '../../../base/errors.ts'
import type { Catalogue, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import type { Condition, OrderTerm, Path, Query, Rows, SelectEmbed, SelectField, SelectItem, Slot } from '../parse/ast.ts'
import { LIMITS } from '../parse/limits.ts'
import { findRelation, type Relation } from './relations.ts'
import { tooLarge } from './sql.ts'

/** One resource of a request: the root, or an embedded one, with what applies to it. */
export interface Node {
  /** As it is called in the answer. */
  readonly name: string
  /** Null where a function returns rows of no table. */
  readonly table: Table | null
  /** Its rows are called so in SQL. */
  readonly alias: string
  /** Its aggregate is called so in its parent's SQL; '' for the root. */
  readonly aggregate: string
  /** Alias of the rows that it is embedded in; '' for the root. */
  readonly parent: string
  /** Alias of the junction of a many-to-many relation, else ''. */
  readonly junction: string
  readonly relation: Relation | null
  readonly embed: SelectEmbed | null
  readonly fields: readonly SelectField[]
  readonly children: readonly Node[]
  readonly conditions: Condition[]
  order: readonly OrderTerm[]
  limit: Rows | null
  offset: Slot | null
}

export interface TreeOptions {
  readonly catalogue: Catalogue
  readonly schema: string
  readonly table: Table | null
  /** Name of the root where there is no table: the function's. */
  readonly name: string
  readonly aggregates: boolean
}

/** PostgreSQL cuts longer names off: two aliases could become one. */
const MAX_NAME = 63

class Names {
  readonly #taken = new Set<string>()

  #resources = 0

  /** One more resource. */
  count(): void {
    if (++this.#resources > LIMITS.resources) throw tooLarge(`it has more than ${LIMITS.resources} resources`)
  }

  take(wanted: string): string {
    let name = Buffer.byteLength(wanted) > MAX_NAME ? `_${this.#taken.size}` : wanted
    while (this.#taken.has(name)) name = `_${this.#taken.size}_${name.slice(0, 40)}`
    this.#taken.add(name)
    return name
  }
}

/** Pure: joins what was asked with what there is. Throws PGRST108, 123, 200, 201. */
export function buildTree(query: Query, options: TreeOptions): Node {
  const names = new Names()
  const name = options.table?.name ?? options.name
  const root = grow(
    query.select,
    { name, alias: names.take(name), aggregate: '', parent: '', junction: '', table: options.table, relation: null, embed: null },
    1,
    names,
    options,
  )
  for (const { path, condition } of query.conditions) at(root, path).conditions.push(condition)
  for (const { path, terms } of query.order) at(root, path).order = terms
  for (const { path, value } of query.limit) at(root, path).limit = value
  for (const { path, value } of query.offset) at(root, path).offset = value
  return root
}

type Self = Pick<Node, 'name' | 'alias' | 'aggregate' | 'parent' | 'junction' | 'table' | 'relation' | 'embed'>

function grow(select: readonly SelectItem[], self: Self, depth: number, names: Names, options: TreeOptions): Node {
  const fields: SelectField[] = []
  const children: Node[] = []
  for (const item of select) {
    if (item.kind === 'field') {
      if (item.aggregate !== null && !options.aggregates) throw fail('PGRST123')
      fields.push(item)
      continue
    }
    names.count()
    const relation = findRelation(options.catalogue, self.table, self.table?.name ?? self.name, options.schema, item.name, item.hint)
    const name = item.alias ?? item.name
    const alias = names.take(`${relation.target.name}_${depth}`)
    const aggregate = names.take(`${relation.source.name}_${name}_${depth}`)
    const junction = relation.junction ? names.take(`${relation.junction.table.name}_${depth}`) : ''
    const child = { name, alias, aggregate, parent: self.alias, junction, table: relation.target, relation, embed: item }
    children.push(grow(item.select, child, depth + 1, names, options))
  }
  return { ...self, fields, children, conditions: [], order: [], limit: null, offset: null }
}

function at(root: Node, path: Path): Node {
  let node = root
  for (const step of path) {
    const child = node.children.find(({ name, embed }) => name === step || embed?.name === step)
    if (!child) throw fail('PGRST108', { name: step })
    node = child
  }
  return node
}

/** All nodes, the root first. */
export function* nodesOf(root: Node): Generator<Node> {
  yield root
  for (const child of root.children) yield* nodesOf(child)
}
