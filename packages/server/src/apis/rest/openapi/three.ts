import type { Json } from './schemas.ts'

type Parameter = Record<string, unknown> & { readonly name: string; readonly in: string }
const METHODS = ['get', 'post', 'patch', 'delete'] as const

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Names of components hold no other characters. */
const component = (name: string) => name.replace(/[^A-Za-z0-9._-]/g, (char) => `_${(char.codePointAt(0) ?? 0).toString(16)}_`)
const DEFINITION = /^#\/definitions\/(.*)$/

/** References to definitions become those to components. */
function moved(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(moved)
  if (!isObject(value)) return value
  const to = typeof value.$ref === 'string' ? DEFINITION.exec(value.$ref)?.[1] : undefined
  if (to !== undefined) return { $ref: `#/components/schemas/${component(to)}` }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, moved(inner)]))
}

const PLACE = /^#\/parameters\/(.*)$/

function parameter({ name, description, required, in: place, collectionFormat, ...schema }: Parameter): Json {
  return {
    name,
    in: place,
    required,
    ...(description === undefined ? {} : { description }),
    ...(collectionFormat === undefined ? {} : { style: 'form', explode: true }),
    schema,
  }
}

function requestBody({ schema, required }: Parameter): Json {
  const moving = moved(schema)
  const list = { type: 'array', items: moving }
  return {
    required,
    content: { 'application/json': { schema: { anyOf: [moving, list] } }, 'text/csv': { schema: { type: 'string' } } },
  }
}

function responses(found: unknown): Json {
  return Object.fromEntries(
    Object.entries(found as Record<string, { description: string; schema?: unknown }>).map(([status, { description, schema }]) => [
      status,
      { description, ...(schema === undefined ? {} : { content: { 'application/json': { schema: moved(schema) } } }) },
    ]),
  )
}

function operation(found: Record<string, unknown>, shared: Readonly<Record<string, Parameter>>): Json {
  const { parameters = [], produces: _, responses: answers, ...about } = found
  const made: Json[] = []
  let body: Json | null = null
  for (const each of parameters as (Parameter | { readonly $ref: string })[]) {
    const name = '$ref' in each ? (PLACE.exec(each.$ref as string)?.[1] ?? '') : null
    const own = name === null ? (each as Parameter) : shared[name]
    if (own === undefined) continue
    if (own.in === 'body') body = requestBody(own)
    else made.push(name === null ? parameter(own) : { $ref: `#/components/parameters/${component(name)}` })
  }
  return { ...about, parameters: made, ...(body === null ? {} : { requestBody: body }), responses: responses(answers) }
}

/** The same document as OpenAPI 3.1. Pure. */
export function openApi31(two: Json): Json {
  const shared = two.parameters as Record<string, Parameter>
  const paths = Object.entries(two.paths as Record<string, Record<string, Record<string, unknown>>>).map(([path, item]) => [
    path,
    Object.fromEntries(METHODS.flatMap((method) => (item[method] ? [[method, operation(item[method], shared)]] : []))),
  ])
  const [scheme] = two.schemes as string[]
  const { JWT: jwt } = (two.securityDefinitions ?? {}) as Record<string, Json>
  return {
    openapi: '3.1.0',
    info: two.info,
    externalDocs: two.externalDocs,
    servers: [{ url: `${scheme}://${two.host}${String(two.basePath).replace(/\/$/, '')}` }],
    paths: Object.fromEntries(paths),
    components: {
      schemas: Object.fromEntries(Object.entries(two.definitions as Json).map(([name, found]) => [component(name), moved(found)])),
      parameters: Object.fromEntries(
        Object.entries(shared)
          .filter(([, { in: place }]) => place !== 'body')
          .map(([name, found]) => [component(name), parameter(found)]),
      ),
      ...(jwt === undefined ? {} : { securitySchemes: { JWT: jwt } }),
    },
    ...(two.security === undefined ? {} : { security: two.security }),
  }
}
