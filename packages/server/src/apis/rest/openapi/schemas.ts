import type { Catalogue, Column, ForeignKey, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'

export type Json = Readonly<Record<string, unknown>>

const TYPES: Readonly<Record<string, string | null>> = {
  boolean: 'boolean',
  smallint: 'integer',
  integer: 'integer',
  bigint: 'integer',
  numeric: 'number',
  real: 'number',
  'double precision': 'number',
  // Any JSON.
  json: null,
  jsonb: null,
}

/** JSON's type of a PostgreSQL type; null: any. */
export const typeOf = (type: string): string | null =>
  type.endsWith('[]') ? 'array' : Object.hasOwn(TYPES, type) ? TYPES[type]! : 'string'

const MODIFIER = /\([\d,]+\)/
const LENGTH = /^(?:character|bit)(?: varying)?\((\d+)\)$/

/** `type`, `items` and `format` of a value; types without their modifiers. */
export function valueSchema(type: string): Json {
  const plain = type.replace(MODIFIER, '')
  const found = typeOf(plain)
  const items = found === 'array' ? typeOf(plain.slice(0, -2)) : undefined
  return {
    ...(found === null ? {} : { type: found }),
    ...(items === undefined ? {} : { items: items === null ? {} : { type: items } }),
    format: plain,
  }
}

/** A default that is a value, as JSON; nothing for an expression that is no JSON. */
function defaultOf(type: string, expression: string | null): Json {
  if (expression === null) return {}
  const cast = `::${type}`
  const quoted = expression.endsWith(cast) ? expression.slice(0, -cast.length).replace(/^'+|'+$/g, '') : expression
  try {
    return { default: JSON.parse(typeOf(type) === 'string' ? `"${quoted}"` : expression) }
  } catch {
    return {}
  }
}

/** A table's key is named before that of a view. */
function foreignKey(column: string, table: Table, catalogue: Catalogue): ForeignKey | undefined {
  const kindOf = (key: ForeignKey) => catalogue.schemas.get(key.foreignSchema)?.tables.get(key.foreignTable)?.kind
  const keys = table.references.filter((key) => key.columns.length === 1 && key.columns[0] === column && key.foreignSchema === table.schema)
  return keys.find((key) => kindOf(key) !== 'v' && kindOf(key) !== 'm') ?? keys[0]
}

function describedAs(column: Column, table: Table, catalogue: Catalogue): string | null {
  const notes = table.primaryKey.includes(column.name) ? ['This is a Primary Key.<pk/>'] : []
  const key = foreignKey(column.name, table, catalogue)
  if (key) {
    const [to, field] = [key.foreignTable, key.foreignColumns[0]]
    notes.push(`This is a Foreign Key to \`${to}.${field}\`.<fk table='${to}' column='${field}'/>`)
  }
  if (notes.length === 0) return column.comment
  return `${column.comment === null ? '' : `${column.comment}\n\n`}Note:\n${notes.join('\n')}`
}

function property(column: Column, table: Table, catalogue: Catalogue): Json {
  const type = column.base ?? column.type
  const schema = valueSchema(type)
  const labels = column.enum === null ? undefined : catalogue.enums.get(column.enum)
  const length = LENGTH.exec(type)?.[1]
  const description = describedAs(column, table, catalogue)
  return {
    ...schema,
    ...(labels ? { enum: labels } : {}),
    ...(length === undefined ? {} : { maxLength: Number(length) }),
    ...defaultOf(String(schema.format), column.default),
    ...(description === null ? {} : { description }),
  }
}

export function tableSchema(table: Table, catalogue: Catalogue): Json {
  const columns = [...table.columns.values()]
  const required = columns.filter(({ notNull }) => notNull).map(({ name }) => name)
  return {
    ...(required.length === 0 ? {} : { required }),
    ...(table.comment === null ? {} : { description: table.comment }),
    type: 'object',
    ...(columns.length === 0
      ? {}
      : { properties: Object.fromEntries(columns.map((column) => [column.name, property(column, table, catalogue)])) }),
  }
}
