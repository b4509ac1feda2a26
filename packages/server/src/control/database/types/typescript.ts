import {
  type Field,
  type Model,
  type ModelColumn,
  type ModelFunction,
  type ModelSchema,
  type ModelTable,
  readType,
  resolveDomains,
  splitType,
} from './model.ts'
import { HELPERS } from './typescript-helpers.ts'

/** Of values as JSON, which is how they reach a client. */
const SCALARS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(['smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric', 'oid'].map((name) => [name, 'number'])),
  boolean: 'boolean',
  json: 'Json',
  jsonb: 'Json',
  void: 'undefined',
  record: 'Record<string, unknown>',
}
/** Others of pg_catalog and of extensions are text in JSON; those of which nobody can say are unknown. */
const UNKNOWN = new Set(['any', 'anyelement', 'anyarray', 'anynonarray', 'anycompatible', 'anycompatiblearray', 'internal', '"any"'])
/** What a body may be to a function whose single argument has no name. */
const BODIES = new Set(['json', 'jsonb', 'text', 'xml', 'bytea'])
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/
/** What the server's REST dialect is: typed clients enable features by it. */
const DIALECT = '14'

const key = (name: string): string => (IDENTIFIER.test(name) ? name : JSON.stringify(name))
const text = (value: string): string => JSON.stringify(value)
const indent = (lines: string, by = 2): string => lines.replace(/^(?=.)/gm, ' '.repeat(by))
const block = (lines: readonly string[]): string =>
  lines.length === 0 ? '{\n  [_ in never]: never\n}' : `{\n${indent(lines.join('\n'))}\n}`

type TypeOf = (type: string) => string

function typeOf(model: Model): TypeOf {
  const here = new Map(model.schemas.map((schema) => [schema.name, schema]))
  function named(base: string): string {
    const labels = model.enums.get(base)
    const at = splitType(base)
    if (!at) return SCALARS[base] ?? (UNKNOWN.has(base) ? 'unknown' : 'string')
    const schema = here.get(at.schema)
    const within = (kind: string) => `Database[${text(at.schema)}][${text(kind)}][${text(at.name)}]`
    if (labels) return schema ? within('Enums') : labels.map(text).join(' | ') || 'never'
    if (schema?.composites.some(({ name }) => name === at.name)) return within('CompositeTypes')
    if (schema?.tables.some(({ name }) => name === at.name)) return `${within('Tables')}["Row"]`
    if (schema?.views.some(({ name }) => name === at.name)) return `${within('Views')}["Row"]`
    // Of an extension: vector, citext, ltree. hstore is an object.
    return at.name === 'hstore' ? 'Json' : 'string'
  }
  return (type) => {
    const { base, array } = resolveDomains(model, readType(type))
    const one = named(base)
    return array ? (one.includes(' | ') ? `(${one})[]` : `${one}[]`) : one
  }
}

const rowLine =
  (of: TypeOf) =>
  ({ name, type, nullable }: Field & { nullable: boolean }): string =>
    `${key(name)}: ${of(type)}${nullable ? ' | null' : ''}`

const writeLine =
  (of: TypeOf, insert: boolean) =>
  ({ name, type, nullable, optional, fixed }: ModelColumn): string =>
    fixed ? `${key(name)}?: never` : `${key(name)}${insert && !optional ? '' : '?'}: ${of(type)}${nullable ? ' | null' : ''}`

const list = (items: readonly string[]): string => `[${items.map(text).join(', ')}]`

/** Only what can be embedded: a table of another schema cannot, and one of the same name here would be taken for it. */
const relationships = ({ schema: own, relationships: found }: ModelTable): string => {
  const all = found.filter(({ schema }) => schema === own)
  return all.length === 0
    ? 'Relationships: []'
    : `Relationships: [\n${all
        .map(({ name, columns, unique, relation, foreignColumns }) =>
          indent(
            `${block([
              `foreignKeyName: ${text(name)}`,
              `columns: ${list(columns)}`,
              `isOneToOne: ${unique}`,
              `referencedRelation: ${text(relation)}`,
              `referencedColumns: ${list(foreignColumns)}`,
            ])},`,
          ),
        )
        .join('\n')}\n]`
}

function relation(of: TypeOf, table: ModelTable, view: boolean): string {
  const row = [...table.columns.map(rowLine(of)), ...table.computed.map((field) => rowLine(of)({ ...field, nullable: true }))]
  const lines = [`Row: ${block(row)}`]
  if (!view || table.insertable) lines.push(`Insert: ${block(table.columns.map(writeLine(of, true)))}`)
  if (!view || table.updatable) lines.push(`Update: ${block(table.columns.map(writeLine(of, false)))}`)
  return `${key(table.name)}: ${block([...lines, relationships(table)])}`
}

function setOptions(routine: ModelFunction): string[] {
  if (!routine.relation) return []
  return [
    `SetofOptions: ${block([
      `from: ${text(routine.of?.name ?? '*')}`,
      `to: ${text(routine.relation.name)}`,
      `isOneToOne: ${!routine.set || routine.rows === 1}`,
      `isSetofReturn: ${routine.set}`,
    ])}`,
  ]
}

function signature(of: TypeOf, routine: ModelFunction): string {
  const args = routine.args.map(({ name, type, optional }) => `${name === '' ? '""' : key(name)}${optional ? '?' : ''}: ${of(type)}`)
  const returns =
    routine.columns.length > 1 || (routine.columns.length === 1 && readType(routine.returns).base === 'record')
      ? block(routine.columns.map(({ name, type }) => `${key(name)}: ${of(type)}`))
      : of(routine.returns)
  const one = returns.includes(' | ') && !returns.startsWith('{') ? `(${returns})` : returns
  return block([
    `Args: ${args.length === 0 ? 'never' : `{ ${args.join('; ')} }`}`,
    `Returns: ${routine.set ? `${one}[]` : returns}`,
    ...setOptions(routine),
  ])
}

/** The API gives arguments by name, or the whole body to a single one without; a row is the argument of a computed column. */
const callable = ({ args, of }: ModelFunction): boolean =>
  args.every(({ name }) => name !== '') || (args.length === 1 && (of !== null || BODIES.has(args[0]?.type ?? '')))

function functions(of: TypeOf, all: readonly ModelFunction[]): string[] {
  const known = all.filter(callable)
  const names = [...new Set(known.map(({ name }) => name))].toSorted()
  return names.map((name) => {
    const forms = known.filter((routine) => routine.name === name).map((routine) => signature(of, routine))
    return forms.length === 1 ? `${key(name)}: ${forms[0]}` : `${key(name)}:\n${indent(forms.map((form) => `| ${form}`).join('\n'))}`
  })
}

function schemaBlock(of: TypeOf, schema: ModelSchema): string {
  return `${key(schema.name)}: ${block([
    `Tables: ${block(schema.tables.map((table) => relation(of, table, false)))}`,
    `Views: ${block(schema.views.map((view) => relation(of, view, true)))}`,
    `Functions: ${block(functions(of, schema.functions))}`,
    `Enums: ${block(schema.enums.map(({ name, labels }) => `${key(name)}: ${labels.map(text).join(' | ') || 'never'}`))}`,
    `CompositeTypes: ${block(
      schema.composites.map(
        ({ name, fields }) => `${key(name)}: ${block(fields.map((field) => rowLine(of)({ ...field, nullable: true })))}`,
      ),
    )}`,
  ])}`
}

const constants = ({ schemas }: Model): string =>
  `export const Constants = {\n${schemas
    .map(({ name, enums }) => {
      const values = enums.map((type) => `      ${key(type.name)}: ${list(type.labels)},`)
      return `  ${key(name)}: {\n    Enums: {${values.length === 0 ? '' : `\n${values.join('\n')}\n    `}},\n  },`
    })
    .join('\n')}\n} as const`

/** The module that `createClient<Database>()` of supabase-js is typed with. */
export function typescript(model: Model): string {
  const of = typeOf(model)
  const internals = `// The dialect that the server speaks: clients enable features by it\n__InternalSupabase: {\n  PostgrestVersion: ${text(DIALECT)}\n}`
  const database = block([internals, ...model.schemas.map((schema) => schemaBlock(of, schema))])
  const json = 'export type Json =\n  | string\n  | number\n  | boolean\n  | null\n  | { [key: string]: Json | undefined }\n  | Json[]'
  return `${[json, `export type Database = ${database}`, HELPERS, constants(model)].join('\n\n')}\n`
}
