import type { Catalogue, Column, Routine, Schema, Table } from '../../runtime/engines/postgres/catalogue/types.ts'

type Json = Record<string, unknown>

/** Roles whose grants the catalogue holds; another role sees everything that is exposed. */
const mayUse = (table: Table, role: string, letter: string) => table.grants[role]?.includes(letter) ?? true

const FORMATS: readonly (readonly [RegExp, string])[] = [
  [/^(smallint|integer|bigint)$/, 'integer'],
  [/^(real|double precision|numeric)/, 'number'],
  [/^boolean$/, 'boolean'],
  [/\[\]$/, 'array'],
]

function property(column: Column, catalogue: Catalogue): Json {
  const type = column.base ?? column.type
  const found = FORMATS.find(([pattern]) => pattern.test(type))?.[1]
  const labels = column.enum === null ? undefined : catalogue.enums.get(column.enum)
  const kind = /^jsonb?$/.test(type) ? {} : { type: found ?? 'string' }
  return {
    ...kind,
    format: column.type,
    ...(found === 'array' ? { items: {} } : {}),
    ...(labels ? { enum: labels } : {}),
    ...(column.default === null ? {} : { default: column.default }),
    ...(column.comment === null ? {} : { description: column.comment }),
  }
}

function definition(table: Table, catalogue: Catalogue): Json {
  const columns = [...table.columns.values()]
  return {
    type: 'object',
    required: columns.filter((column) => column.notNull && column.default === null && !column.generated).map(({ name }) => name),
    properties: Object.fromEntries(columns.map((column) => [column.name, property(column, catalogue)])),
    ...(table.comment === null ? {} : { description: table.comment }),
  }
}

const OK = { 200: { description: 'OK' } }
const bodyOf = (name: string) => ({ in: 'body', name, schema: { $ref: `#/definitions/${name}` } })

function tablePaths(table: Table, role: string): Json {
  const filters = [...table.columns.keys()].map((name) => ({ in: 'query', name, type: 'string' }))
  const reading = ['select', 'order', 'limit', 'offset'].map((name) => ({ in: 'query', name, type: 'string' }))
  const tags = [table.name]
  return {
    ...(mayUse(table, role, 'r')
      ? {
          get: {
            tags,
            parameters: [...filters, ...reading],
            responses: {
              200: { description: 'OK', schema: { type: 'array', items: { $ref: `#/definitions/${table.name}` } } },
              206: { description: 'Partial Content' },
            },
          },
        }
      : {}),
    ...(table.insertable && mayUse(table, role, 'a')
      ? { post: { tags, parameters: [bodyOf(table.name)], responses: { 201: { description: 'Created' } } } }
      : {}),
    ...(table.updatable && mayUse(table, role, 'w')
      ? { patch: { tags, parameters: [...filters, bodyOf(table.name)], responses: { 204: { description: 'No Content' } } } }
      : {}),
    ...(table.deletable && mayUse(table, role, 'd')
      ? { delete: { tags, parameters: filters, responses: { 204: { description: 'No Content' } } } }
      : {}),
  }
}

function routinePaths(routine: Routine): Json {
  const tags = [`(rpc) ${routine.name}`]
  const required = routine.args.filter(({ optional }) => !optional).map(({ name }) => name)
  const properties = Object.fromEntries(routine.args.map(({ name, type }) => [name, { format: type, type: 'string' }]))
  const post = {
    tags,
    parameters: [{ in: 'body', name: 'args', required: true, schema: { type: 'object', required, properties } }],
    responses: OK,
  }
  if (routine.volatility === 'volatile') return { post }
  const parameters = routine.args.map(({ name, optional, type }) => ({
    in: 'query',
    name,
    required: !optional,
    type: 'string',
    format: type,
  }))
  return { get: { tags, parameters, responses: OK }, post }
}

/** The root document: OpenAPI 2.0 of what the role may use of one schema, as PostgREST's clients read it. Pure. */
export function openApi(catalogue: Catalogue, schema: Schema, role: string, url: URL): Json {
  const tables = [...schema.tables.values()].filter((table) => [...'rawd'].some((letter) => mayUse(table, role, letter)))
  const known = ['anon', 'authenticated', 'service_role'].includes(role)
  const routines = [...schema.functions.values()].flatMap(([first]) => (first && (!known || first.execute.includes(role)) ? [first] : []))
  return {
    swagger: '2.0',
    info: { title: schema.comment?.split('\n', 1)[0] ?? 'REST API', description: schema.comment ?? '', version: '14' },
    host: url.host,
    basePath: url.pathname,
    schemes: [url.protocol.replace(':', '')],
    consumes: ['application/json', 'application/vnd.pgrst.object+json', 'text/csv'],
    produces: ['application/json', 'application/vnd.pgrst.object+json', 'text/csv'],
    paths: {
      '/': {
        get: {
          tags: ['Introspection'],
          summary: 'OpenAPI description (this document)',
          produces: ['application/openapi+json', 'application/json'],
          responses: OK,
        },
      },
      ...Object.fromEntries(tables.map((table) => [`/${table.name}`, tablePaths(table, role)])),
      ...Object.fromEntries(routines.map((routine) => [`/rpc/${routine.name}`, routinePaths(routine)])),
    },
    definitions: Object.fromEntries(tables.map((table) => [table.name, definition(table, catalogue)])),
  }
}
