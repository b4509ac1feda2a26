import type { Argument, Catalogue, Routine, Schema, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { parametersOf, ref } from './parameters.ts'
import { type Json, tableSchema, typeOf, valueSchema } from './schemas.ts'

export interface DocumentOptions {
  readonly catalogue: Catalogue
  readonly schema: Schema
  /** Whose privileges count; null: nobody's, all is shown. */
  readonly role: string | null
  readonly url: URL
  /** The address is not ours but a proxy's: its port is said in any case, as the reference does. */
  readonly proxied: boolean
  /** Whether it says how to sign in. */
  readonly security: boolean
}

/** Roles whose grants the catalogue holds; another role sees everything that is exposed. */
const mayUse = (table: Table, role: string | null, letter: string) => role === null || (table.grants[role]?.includes(letter) ?? true)

const OK = { 200: { description: 'OK' } }

/** The first line of a comment, and what follows it. */
function summaryOf(comment: string | null): Json {
  if (comment === null) return {}
  const [summary = '', ...more] = comment.split('\n')
  const description = more.join('\n').replace(/^\n+/, '')
  return { summary, ...(description === '' ? {} : { description }) }
}

function tablePaths(table: Table, role: string | null): Json {
  const { name } = table
  const about = { tags: [name], ...summaryOf(table.comment) }
  const filters = [...table.columns.keys()].map((column) => ref(`rowFilter.${name}.${column}`))
  const refs = (...names: string[]) => names.map(ref)
  const allowed = (letter: string, possible: boolean) => possible && mayUse(table, role, letter)
  const get = {
    ...about,
    parameters: [...filters, ...refs('select', 'order', 'range', 'rangeUnit', 'offset', 'limit', 'preferCount')],
    responses: {
      200: { description: 'OK', schema: { type: 'array', items: { $ref: `#/definitions/${name}` } } },
      206: { description: 'Partial Content' },
    },
  }
  const post = { ...about, parameters: refs(`body.${name}`, 'select', 'preferPost'), responses: { 201: { description: 'Created' } } }
  const none = { 204: { description: 'No Content' } }
  const patch = { ...about, parameters: [...filters, ...refs(`body.${name}`, 'preferReturn')], responses: none }
  return {
    ...(allowed('r', true) ? { get } : {}),
    ...(allowed('a', table.insertable) ? { post } : {}),
    ...(allowed('w', table.updatable) ? { patch } : {}),
    ...(allowed('d', table.deletable) ? { delete: { ...about, parameters: [...filters, ...refs('preferReturn')], responses: none } } : {}),
  }
}

/** A type of the function's own schema goes by its bare name. */
const argumentType = ({ type }: Argument, { schema }: Routine) => (type.startsWith(`${schema}.`) ? type.slice(schema.length + 1) : type)

function queryParameter(argument: Argument, routine: Routine): Json {
  const type = argumentType(argument, routine)
  const common = { name: argument.name, required: !argument.optional, in: 'query' }
  if (argument.variadic) {
    const item = type.replace(/\[\]$/, '')
    return { ...common, type: 'array', items: { type: typeOf(item) ?? 'string', format: item }, collectionFormat: 'multi' }
  }
  // An array is written as PostgreSQL writes it, and any JSON as text.
  const found = typeOf(type)
  return { ...common, type: found === null || found === 'array' ? 'string' : found, format: type }
}

const JSON_TYPES = ['application/json', 'application/vnd.pgrst.object+json;nulls=stripped', 'application/vnd.pgrst.object+json']

function routinePaths(routine: Routine): Json {
  const { args, comment } = routine
  const about = { tags: [`(rpc) ${routine.name}`], ...summaryOf(comment), produces: JSON_TYPES }
  const required = args.filter(({ optional }) => !optional).map(({ name }) => name)
  const schema = {
    ...(required.length === 0 ? {} : { required }),
    ...(comment === null ? {} : { description: comment }),
    type: 'object',
    ...(args.length === 0
      ? {}
      : { properties: Object.fromEntries(args.map((argument) => [argument.name, valueSchema(argumentType(argument, routine))])) }),
  }
  const parameters = args.length === 0 ? {} : { parameters: args.map((argument) => queryParameter(argument, routine)) }
  return {
    // What may write is not to be had with GET.
    ...(routine.volatility === 'volatile' ? {} : { get: { ...about, ...parameters, responses: OK } }),
    post: { ...about, parameters: [{ name: 'args', required: true, in: 'body', schema }, ref('preferParams')], responses: OK },
  }
}

const ROOT = {
  get: {
    tags: ['Introspection'],
    summary: 'OpenAPI description (this document)',
    produces: ['application/openapi+json', 'application/json'],
    responses: OK,
  },
}
const SECURITY = {
  securityDefinitions: {
    JWT: { type: 'apiKey', name: 'Authorization', in: 'header', description: 'Add the token prepending "Bearer " (without quotes) to it' },
  },
  security: [{ JWT: [] }],
}

/** Columns of a table, and labels of their enums, which each of them says. */
function shownOf({ columns }: Table, { enums }: Catalogue): number {
  let size = columns.size
  for (const column of columns.values()) if (column.enum !== null) size += enums.get(column.enum)?.length ?? 0
  return size
}

/** Columns, and arguments, that are described: the document of a huge schema would be made for minutes, and nobody could read it. */
const DESCRIBED = 10_000

function within<T>(items: readonly T[], sizeOf: (item: T) => number): readonly T[] {
  let size = 0
  const end = items.findIndex((item) => {
    size += 1 + sizeOf(item)
    return size > DESCRIBED
  })
  return end < 0 ? items : items.slice(0, end)
}

/** The root document: OpenAPI 2.0 of what the role may use of one schema, as PostgREST's clients read it. Pure. */
export function openApi({ catalogue, schema, role, url, proxied, security }: DocumentOptions): Json {
  const usable = [...schema.tables.values()].filter((table) => [...'rawd'].some((letter) => mayUse(table, role, letter)))
  const tables = within(usable, (table) => shownOf(table, catalogue))
  const known = role !== null && ['anon', 'authenticated', 'service_role'].includes(role)
  const callable = [...schema.functions.values()].flatMap((overloads) => {
    const first = overloads.find(({ execute }) => !known || execute.includes(role))
    return first ? [first] : []
  })
  const routines = within(callable, ({ args }) => args.length)
  const { summary = 'REST API', description: said = 'The data of this project, described from its database' } = summaryOf(schema.comment)
  const left = usable.length - tables.length + callable.length - routines.length
  const description = left === 0 ? said : `${said}\n\n${left} more tables, views and functions are not shown here.`
  return {
    swagger: '2.0',
    info: { title: summary, description, version: '14' },
    externalDocs: { description: 'PostgREST Documentation', url: 'https://postgrest.org/en/v14/references/api.html' },
    host: proxied && url.port === '' ? `${url.host}:${url.protocol === 'https:' ? 443 : 80}` : url.host,
    basePath: url.pathname,
    schemes: [url.protocol.replace(':', '')],
    consumes: [...JSON_TYPES, 'text/csv'],
    produces: [...JSON_TYPES, 'text/csv'],
    paths: {
      '/': ROOT,
      ...Object.fromEntries(tables.map((table) => [`/${table.name}`, tablePaths(table, role)])),
      ...Object.fromEntries(routines.map((routine) => [`/rpc/${routine.name}`, routinePaths(routine)])),
    },
    definitions: Object.fromEntries(tables.map((table) => [table.name, tableSchema(table, catalogue)])),
    parameters: parametersOf(tables),
    ...(security ? SECURITY : {}),
  }
}
