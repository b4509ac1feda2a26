import { createRequire } from 'node:module'
import type { Ajv, Options, ValidateFunction } from 'ajv'
import type { FastifySchemaCompiler, FastifyServerOptions } from 'fastify'
import type { FastifySerializerCompiler } from 'fastify/types/schema.js'

type Schema = Record<string, unknown>
type Factory = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>

const require_ = createRequire(import.meta.url)

/** Query strings and path parameters are text: there (and only there) '5' may be the number 5, and one value a list of one. */
const COERCED = new Set(['querystring', 'query', 'params'])
const COMMON: Options = { useDefaults: true, removeAdditional: false, allErrors: false, strict: false, allowUnionTypes: true }

function makeAjv(options: Options, shared: unknown): Ajv {
  // Loaded at the first request that needs it: a start need not pay for it.
  const { Ajv: Class } = require_('ajv') as typeof import('ajv')
  const ajv = new Class({ ...COMMON, ...options })
  const addFormats = (require_('ajv-formats') as { default: (ajv: Ajv) => void }).default
  addFormats(ajv)
  for (const schema of Object.values((shared ?? {}) as Record<string, Schema>)) ajv.addSchema(schema)
  return ajv
}

/** A validator that is compiled when its first request comes. */
function buildValidator(shared: unknown): FastifySchemaCompiler<Schema> {
  let coercing: Ajv | undefined
  let strict: Ajv | undefined
  const ajvFor = (part: string | undefined): Ajv => {
    if (COERCED.has(part ?? '')) {
      coercing ??= makeAjv({ coerceTypes: 'array' }, shared)
      return coercing
    }
    strict ??= makeAjv({ coerceTypes: false }, shared)
    return strict
  }
  return ({ schema, httpPart }) => {
    let compiled: ValidateFunction | undefined
    const validate = (data: unknown): boolean => {
      compiled ??= ajvFor(httpPart).compile(schema)
      const good = compiled(data) as boolean
      validate.errors = compiled.errors ?? null
      return good
    }
    validate.errors = null as ValidateFunction['errors']
    return validate as ReturnType<FastifySchemaCompiler<Schema>>
  }
}

/** A serialiser that is compiled when its first answer goes. Fields that the schema does not declare never leave. */
function buildSerializer(shared: unknown): FastifySerializerCompiler<Schema> {
  return ({ schema }) => {
    let compiled: ((data: unknown) => string) | undefined
    return (data: unknown) => {
      if (!compiled) {
        const build = require_('fast-json-stringify') as (schema: Schema, options: object) => (data: unknown) => string
        compiled = build(schema, { schema: shared, ajv: { formats: {} } })
      }
      return compiled(data)
    }
  }
}

/** 100 routes are ready in under a second with these, and in several when everything is compiled at the start. */
export const lazyCompilers = { buildValidator, buildSerializer } as unknown as Factory
