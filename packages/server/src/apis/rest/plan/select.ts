import { fail } from '../../../base/errors.ts'
import type { Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import type { OrderTerm, SelectField } from '../parse/ast.ts'
import { conditionSql, type EmbedTest, fieldName, fieldSql } from './fields.ts'
import { columnNames, expanded, isEmpty, isSpread, lifts, spreadColumns } from './lift.ts'
import { ident, type Params, qualified } from './sql.ts'
import type { Node } from './tree.ts'

export interface SelectOptions {
  /** Rows of each level at most. */
  readonly maxRows: number | null
  /** The root's rows come from this relation, not from its table. */
  readonly source: string | null
  /** Windows and conditions of the root are not said here (they were part of the write). */
  readonly bare: boolean
  /** A spread resource whose columns its parent groups by: json has no equality. */
  readonly groupable?: boolean
}

/** Pure: the SELECT of a tree of resources. */
export function selectSql(node: Node, params: Params, options: SelectOptions): string {
  const lifted = lifts(node)
  const grouped = !lifted && (node.fields.some(({ aggregate }) => aggregate !== null) || node.children.some(lifts))
  const grouping = grouped || lifted || options.groupable === true
  const columns = lifted
    ? expanded(node).map((field, i) => liftedSql(field, i, node, params, grouping))
    : node.fields.flatMap((field) => columnSql(field, node, params, grouping))
  const groups: string[] = []
  if (grouped) {
    let place = 0
    for (const field of grouped ? expanded(node) : []) {
      place++
      if (field.aggregate === null) groups.push(String(place))
    }
  }
  const joins: string[] = []
  for (const child of node.children) {
    joins.push(joinSql(child, params, { ...options, source: null, groupable: grouping && isSpread(child) }))
    if (lifts(child)) {
      for (const { name, lifted: field } of spreadColumns(child)) {
        const column = `${ident(child.aggregate)}.${ident(name)}`
        if (grouped && field !== null) columns.push(aggregateSql(field, column))
        else {
          columns.push(field === null ? column : `${column} as ${ident(`_sovra_${node.children.indexOf(child)}${name}`)}`)
          if (grouped) groups.push(String(columns.length))
        }
      }
      continue
    }
    for (const column of embedColumns(child, grouping)) {
      columns.push(column)
      if (grouped) groups.push(String(columns.length))
    }
  }
  const parts = [`select ${columns.join(', ')}`, `from ${fromSql(node, options)}`, ...joins]
  const where = whereSql(node, params, options, embeddedIs(params, options))
  if (where !== '') parts.push(`where ${where}`)
  if (groups.length > 0) parts.push(`group by ${groups.join(', ')}`)
  if (node.order.length > 0) parts.push(`order by ${node.order.map((term) => orderSql(term, node, params)).join(', ')}`)
  const window = options.bare && node.relation === null ? '' : windowSql(node, params, options.maxRows)
  if (window !== '') parts.push(window)
  return params.select(parts.join(' '))
}

/** Casts of what a domain with casts shows; any other is of what it stores. */
const TEXTS = new Set(['text', 'varchar', 'json', 'jsonb'])
const shows = (table: Table, name: string): string | null => table.columns.get(name)?.casts?.toJson ?? null
/** `*` has to be said column by column. */
const isSpelt = (node: Node, grouped: boolean): boolean => grouped || (node.table !== null && hasShown(node.table))

const shown = new WeakMap<Table, boolean>()
/** Whether a column of it is of a domain that is shown by a cast; looked at once, since `*` may be asked for many times. */
function hasShown(table: Table): boolean {
  let known = shown.get(table)
  if (known === undefined) {
    known = [...table.columns.values()].some(({ casts }) => casts?.toJson)
    shown.set(table, known)
  }
  return known
}

function columnSql(item: SelectField, node: Node, params: Params, grouped: boolean): string[] {
  const { field, alias, cast, aggregate, aggregateCast } = item
  if (field.name === '*' && aggregate === null) {
    const { table } = node
    if (!table || !isSpelt(node, grouped)) return [`${ident(node.alias)}.*`]
    return [...table.columns.keys()].map((one) => {
      const [plain, show] = [`${ident(node.alias)}.${ident(one)}`, shows(table, one)]
      return params.part(show === null ? plain : `${show}(${plain})${grouped ? '::jsonb' : ''} as ${ident(one)}`)
    })
  }
  let sql = field.name === '*' ? '*' : fieldSql(field, node.alias, node.table, params)
  const isShown = cast === null || TEXTS.has(cast)
  const show = node.table && field.path.length === 0 && isShown && aggregate === null ? shows(node.table, field.name) : null
  if (show !== null) sql = `${show}(${sql})${grouped && cast === null ? '::jsonb' : ''}`
  if (cast !== null) sql = `cast(${sql} as ${cast})`
  if (aggregate !== null) {
    sql = `${aggregate}(${sql})`
    if (aggregateCast !== null) sql = `cast(${sql} as ${aggregateCast})`
  }
  const name = alias ?? (aggregate === null ? fieldName(field) : aggregate)
  return [
    alias === null && cast === null && aggregate === null && show === null && field.path.length === 0 ? sql : `${sql} as ${ident(name)}`,
  ]
}

/** What an aggregate of a spread resource is made of: the value, or the row for `count()`. */
function liftedSql(item: SelectField, place: number, node: Node, params: Params, grouping: boolean): string {
  if (item.aggregate === null) return columnSql(item, node, params, grouping).join(', ')
  if (item.field.name === '*') return `${ident(node.alias)} as ${ident(`_sovra_${place}`)}`
  const sql = fieldSql(item.field, node.alias, node.table, params)
  return `${item.cast === null ? sql : `cast(${sql} as ${item.cast})`} as ${ident(`_sovra_${place}`)}`
}

function aggregateSql({ aggregate, aggregateCast, alias }: SelectField, column: string): string {
  const sql = `${aggregate}(${column})`
  return `${aggregateCast === null ? sql : `cast(${sql} as ${aggregateCast})`} as ${ident(alias ?? aggregate ?? '')}`
}

function embedColumns(child: Node, grouping: boolean): string[] {
  const aggregate = ident(child.aggregate)
  if (isEmpty(child)) return []
  if (isSpread(child)) return grouping ? columnNames(child).map((name) => `${aggregate}.${ident(name)}`) : [`${aggregate}.*`]
  const cast = grouping ? '::jsonb' : ''
  if (child.relation?.toOne) return [`row_to_json(${aggregate}.*)${cast} as ${ident(child.name)}`]
  return [`coalesce(${aggregate}.${aggregate}, '[]')${cast} as ${ident(child.name)}`]
}

/** A spread resource of many rows: one list a column, and no list of the rows. */
const isLists = (node: Node): boolean => isSpread(node) && !node.relation?.toOne && !isEmpty(node)

function joinSql(child: Node, params: Params, options: SelectOptions): string {
  const aggregate = ident(child.aggregate)
  const join = child.embed?.join === 'inner' ? 'inner' : 'left'
  const rows = selectSql(child, params, options)
  if (child.relation?.toOne) return `${join} join lateral (${rows}) as ${aggregate} on true`
  if (isLists(child)) {
    const cast = options.groupable ? '::jsonb' : ''
    const lists = columnNames(child).map((name) => `coalesce(json_agg(${aggregate}.${ident(name)}), '[]')${cast} as ${ident(name)}`)
    const on = join === 'inner' ? `exists (${selectSql(child, params, options)})` : 'true'
    return `${join} join lateral (select ${lists.join(', ')} from (${rows}) as ${aggregate}) as ${aggregate} on ${on}`
  }
  const list = `select json_agg(${aggregate}) as ${aggregate} from (${rows}) as ${aggregate}`
  return `${join} join lateral (${list}) as ${aggregate} on ${join === 'inner' ? `${aggregate}.${aggregate} is not null` : 'true'}`
}

function fromSql(node: Node, options: SelectOptions): string {
  const alias = ident(node.alias)
  const { relation, table } = node
  if (relation === null) {
    if (options.source !== null) return `${options.source} as ${alias}`
    return table === null
      ? alias
      : table.name === node.alias
        ? qualified(table.schema, table.name)
        : `${qualified(table.schema, table.name)} as ${alias}`
  }
  if (relation.routine) {
    const { routine, source } = relation
    return `${qualified(routine.schema, routine.name)}((${ident(node.parent)}.*)::${qualified(source.schema, source.name)}) as ${alias}`
  }
  const target = `${qualified(relation.target.schema, relation.target.name)} as ${alias}`
  if (!relation.junction) return target
  return `${target}, ${qualified(relation.junction.table.schema, relation.junction.table.name)} as ${ident(node.junction)}`
}

function joinConditions(node: Node): string[] {
  const { relation } = node
  if (relation === null || relation.routine) return []
  const parent = ident(node.parent)
  const own = ident(node.alias)
  if (!relation.junction) return relation.columns.map(([column, other]) => `${own}.${ident(other)} = ${parent}.${ident(column)}`)
  const junction = ident(node.junction)
  return [
    ...relation.columns.map(([column, other]) => `${junction}.${ident(other)} = ${parent}.${ident(column)}`),
    ...relation.junction.columns.map(([column, other]) => `${junction}.${ident(other)} = ${own}.${ident(column)}`),
  ]
}

/** In a reading query the joined aggregate tells; the lists of a spread are there without a row. */
const embeddedIs =
  (params: Params, options: SelectOptions): EmbedTest =>
  (child, isNull) => {
    if (isLists(child)) return existsTest(params, options)(child, isNull)
    const aggregate = ident(child.aggregate)
    const value = child.relation?.toOne ? aggregate : `${aggregate}.${aggregate}`
    return `${value} is ${isNull ? 'not ' : ''}distinct from null`
  }

const existsTest =
  (params: Params, options: SelectOptions): EmbedTest =>
  (child, isNull) =>
    `${isNull ? 'not ' : ''}exists (${countableSql(child, params, { ...options, source: null })})`

function whereSql(node: Node, params: Params, options: SelectOptions, test: EmbedTest, extra: readonly string[] = []): string {
  const conditions = options.bare && node.relation === null ? [] : node.conditions
  return [...joinConditions(node), ...conditions.map((condition) => conditionSql(condition, node, params, test)), ...extra].join(' and ')
}

function orderSql(term: OrderTerm, node: Node, params: Params): string {
  let sql: string
  if (term.relation === null) sql = fieldSql(term.field, node.alias, node.table, params)
  else {
    const child = node.children.find(({ name }) => name === term.relation)
    if (!child) throw fail('PGRST108', { name: term.relation })
    if (!child.relation?.toOne) {
      const details = `'${node.table?.name ?? node.name}' and '${child.name}' do not form a many-to-one or one-to-one relationship`
      throw fail('PGRST118', { name: child.name }, { details })
    }
    sql = fieldSql(term.field, child.aggregate, child.table, params)
  }
  const direction = term.descending === null ? '' : term.descending ? ' desc' : ' asc'
  return `${sql}${direction}${term.nulls === null ? '' : ` nulls ${term.nulls}`}`
}

function limitSql({ limit }: Node, params: Params, maxRows: number | null): string {
  if (limit === null) return maxRows === null ? '' : `limit ${maxRows}`
  if (typeof limit === 'object') return `limit ${maxRows === null ? limit.rows : Math.min(limit.rows, maxRows)}`
  return `limit ${params.limit(limit, maxRows)}`
}

export function windowSql(node: Node, params: Params, maxRows: number | null): string {
  const limit = limitSql(node, params, maxRows)
  const offset = node.offset === null ? '' : `offset ${params.value(node.offset)}`
  return [limit, offset].filter((part) => part !== '').join(' ')
}

/** The rows that the root would have without its window: for counting. Inner joins become EXISTS. */
export function countableSql(node: Node, params: Params, options: SelectOptions): string {
  const test = existsTest(params, options)
  const inner = node.children.filter(({ embed }) => embed?.join === 'inner').map((child) => test(child, false))
  const where = whereSql(node, params, options, test, inner)
  return params.select(`select 1 from ${fromSql(node, options)}${where === '' ? '' : ` where ${where}`}`)
}
