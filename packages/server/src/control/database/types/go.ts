import { type Field, type Model, type ModelColumn, type ModelTable, readType, resolveDomains, splitType } from './model.ts'
import { distinct, pascal, typeNames } from './names.ts'

/** Of values as JSON. Numerics keep all of their digits. */
const SCALARS: Readonly<Record<string, string>> = {
  smallint: 'int16',
  integer: 'int32',
  bigint: 'int64',
  oid: 'uint32',
  real: 'float32',
  'double precision': 'float64',
  numeric: 'json.Number',
  boolean: 'bool',
  json: 'json.RawMessage',
  jsonb: 'json.RawMessage',
}

interface Line {
  readonly name: string
  readonly type: string
  readonly tag: string
}

/** As gofmt writes it: columns aligned. */
function struct(name: string, lines: readonly Line[]): string {
  if (lines.length === 0) return `type ${name} struct{}`
  const free = distinct()
  const named = lines.map((line) => ({ ...line, name: free(line.name) }))
  const [names, types] = [Math.max(...named.map((line) => line.name.length)), Math.max(...named.map(({ type }) => type.length))]
  return `type ${name} struct {\n${named.map((line) => `\t${line.name.padEnd(names)} ${line.type.padEnd(types)} ${line.tag}`).join('\n')}\n}`
}

/** A backtick would end the tag; a quote or a comma the name in it. */
const tagged = (name: string, omit: boolean): string =>
  /^[^"`\\,\n]+$/.test(name) ? `\`json:"${name}${omit ? ',omitempty' : ''}"\`` : '`json:"-"`'

function goType(model: Model, names: ReturnType<typeof typeNames>) {
  return (type: string): string => {
    const { base, array } = resolveDomains(model, readType(type))
    const at = splitType(base)
    const one = at ? (names.of(at.schema, at.name) ?? (at.name === 'hstore' ? 'json.RawMessage' : 'string')) : (SCALARS[base] ?? 'string')
    return array ? `[]${one}` : one
  }
}

/** Package `database`: a struct for each table's rows, inserts and updates, for views and composite types; a string type for each enum. */
export function go(model: Model): string {
  const names = typeNames(model.schemas)
  const of = goType(model, names)
  const field = ({ name, type }: Field, nullable: boolean, omit: boolean): Line => {
    const plain = of(type)
    return { name: pascal(name), type: (nullable || omit) && plain !== 'json.RawMessage' ? `*${plain}` : plain, tag: tagged(name, omit) }
  }
  const writable = ({ columns }: ModelTable) => columns.filter(({ fixed }) => !fixed)
  const row = (column: ModelColumn) => field(column, column.nullable, false)
  const parts: string[] = []
  for (const { name: schema, enums, composites } of model.schemas) {
    for (const { name, labels } of enums) {
      const type = names.of(schema, name) ?? ''
      const constants = labels.map((label) => ({ name: names.free(pascal(type, label)), label }))
      const widest = Math.max(0, ...constants.map((constant) => constant.name.length))
      parts.push(`type ${type} string`)
      if (constants.length > 0)
        parts.push(
          `const (\n${constants.map((each) => `\t${each.name.padEnd(widest)} ${type} = ${JSON.stringify(each.label)}`).join('\n')}\n)`,
        )
    }
    for (const { name, fields } of composites)
      parts.push(
        struct(
          names.of(schema, name) ?? '',
          fields.map((each) => field(each, true, false)),
        ),
      )
  }
  for (const { name: schema, tables, views } of model.schemas)
    for (const table of [...tables, ...views]) {
      const type = names.free(pascal(schema, table.name))
      parts.push(struct(type, table.columns.map(row)))
      if (table.insertable)
        parts.push(
          struct(
            names.free(`${type}Insert`),
            writable(table).map((each) => field(each, each.nullable, each.optional)),
          ),
        )
      if (table.updatable)
        parts.push(
          struct(
            names.free(`${type}Update`),
            writable(table).map((each) => field(each, each.nullable, true)),
          ),
        )
    }
  const body = parts.join('\n\n')
  const head = ['package database', ...(/\bjson\.(Number|RawMessage)/.test(body) ? ['import "encoding/json"'] : [])]
  return `${[...head, ...(body === '' ? [] : [body])].join('\n\n')}\n`
}
