import { fail } from '../../../base/errors.ts'
import type { Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import type { Condition, Field, Filter, Operator, TextSearch } from '../parse/ast.ts'
import { ident, type Params } from './sql.ts'
import type { Node } from './tree.ts'

const OPERATORS: Readonly<Record<Operator, string>> = {
  eq: '=',
  neq: '<>',
  gt: '>',
  gte: '>=',
  lt: '<',
  lte: '<=',
  like: 'like',
  ilike: 'ilike',
  match: '~',
  imatch: '~*',
  cs: '@>',
  cd: '<@',
  ov: '&&',
  sl: '<<',
  sr: '>>',
  nxr: '&<',
  nxl: '&>',
  adj: '-|-',
}
const SEARCHES: Readonly<Record<TextSearch, string>> = {
  fts: 'to_tsquery',
  plfts: 'plainto_tsquery',
  phfts: 'phraseto_tsquery',
  wfts: 'websearch_to_tsquery',
}
const IS = { null: 'null', not_null: 'not null', true: 'true', false: 'false', unknown: 'unknown' } as const

const typeOf = (table: Table | null, name: string): string | null => {
  const column = table?.columns.get(name)
  return column === undefined ? null : (column.base ?? column.type)
}

/** A column, or the place inside it that a JSON path leads to. */
export function fieldSql(field: Field, alias: string, table: Table | null, params: Params): string {
  const column = `${ident(alias)}.${ident(field.name)}`
  if (field.path.length === 0) return column
  const type = typeOf(table, field.name)
  // json columns keep their own operators, so that an index on the expression is used.
  const base = type === 'json' || type === 'jsonb' ? column : `to_jsonb(${column})`
  return (
    base + field.path.map(({ text, key }) => `${text ? '->>' : '->'}${typeof key === 'number' ? `(${key})` : params.text(key)}`).join('')
  )
}

/** What a field is called in the answer when it has no alias. */
export function fieldName(field: Field): string {
  for (let i = field.path.length - 1; i >= 0; i--) {
    const { key } = field.path[i]!
    if (typeof key === 'string') return key
  }
  return field.name
}

/** The cast that a value is given through where the column is of a domain with one; a pattern is not a value. */
function castOf({ field, operation }: Filter, table: Table | null): string | null {
  if (field.path.length > 0 || (operation.kind === 'compare' && /^i?like$/.test(operation.operator))) return null
  return table?.columns.get(field.name)?.casts?.fromText ?? null
}

/** A value of the query string, through the cast of a domain where the column is of one. */
function valueSql(filter: Filter, value: string, table: Table | null): string {
  const parse = castOf(filter, table)
  return parse ? `${parse}(${value}::text)` : value
}

/** The same for each of an array. */
function valuesSql(filter: Filter, values: string, table: Table | null): string {
  const parse = castOf(filter, table)
  return parse ? `array(select ${parse}("_sovra_v") from unnest(${values}::text[]) as "_sovra_v")` : values
}

function operationSql(filter: Filter, left: string, table: Table | null, params: Params): string {
  const { operation } = filter
  switch (operation.kind) {
    case 'compare': {
      const value = params.value(operation.value)
      return `${left} ${OPERATORS[operation.operator]} ${
        operation.quantifier === null ? valueSql(filter, value, table) : `${operation.quantifier}(${valuesSql(filter, value, table)})`
      }`
    }
    case 'in':
      return `${left} = any(${valuesSql(filter, params.value(operation.value), table)})`
    case 'is':
      return `${left} is ${IS[operation.is]}`
    case 'distinct':
      return `${left} is distinct from ${valueSql(filter, params.value(operation.value), table)}`
    case 'search': {
      const language = operation.language === null ? '' : `${params.text(operation.language)}::regconfig, `
      const type = typeOf(table, filter.field.name)
      const vector = filter.field.path.length === 0 && (type === null || type === 'tsvector') ? left : `to_tsvector(${language}${left})`
      return `${vector} @@ ${SEARCHES[operation.operator]}(${language}${params.value(operation.value)})`
    }
  }
}

/** How a condition on a whole embedded resource (`child=not.is.null`) is said: differs between reading and counting. */
export type EmbedTest = (child: Node, isNull: boolean) => string

function filterSql(filter: Filter, node: Node, params: Params, embedTest: EmbedTest): string {
  const child = filter.field.path.length === 0 ? node.children.find(({ name }) => name === filter.field.name) : undefined
  const { operation } = filter
  const onNull = operation.kind === 'is' && (operation.is === 'null' || operation.is === 'not_null')
  // A column of the same name is meant by every other operator.
  if (child && (onNull || !node.table?.columns.has(filter.field.name))) {
    if (!onNull) {
      throw fail('PGRST120', { name: child.name }, { details: 'Only is null or not is null filters are allowed on embedded resources' })
    }
    return embedTest(child, (operation.is === 'null') !== filter.not)
  }
  const sql = operationSql(filter, fieldSql(filter.field, node.alias, node.table, params), node.table, params)
  return filter.not ? `not (${sql})` : sql
}

export function conditionSql(condition: Condition, node: Node, params: Params, embedTest: EmbedTest): string {
  if (condition.kind === 'filter') return filterSql(condition, node, params, embedTest)
  const inner = condition.terms.map((term) => conditionSql(term, node, params, embedTest)).join(` ${condition.kind} `)
  return `${condition.not ? 'not ' : ''}(${inner})`
}
