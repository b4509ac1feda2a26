import { type Field, type Model, type ModelTable, readType, resolveDomains, splitType } from './model.ts'
import { pascal, typeNames } from './names.ts'

/** Of values as JSON. */
const SCALARS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(['smallint', 'integer', 'bigint', 'oid'].map((name) => [name, 'int'])),
  ...Object.fromEntries(['real', 'double precision', 'numeric'].map((name) => [name, 'float'])),
  boolean: 'bool',
  json: 'Any',
  jsonb: 'Any',
}
const IDENTIFIER = /^[A-Za-z_]\w*$/
const KEYWORDS = new Set(
  'False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield'.split(
    ' ',
  ),
)

interface Line {
  readonly name: string
  readonly type: string
}

const plain = (name: string): boolean => IDENTIFIER.test(name) && !KEYWORDS.has(name) && !name.startsWith('__')

/** By class where all names allow it, else by a call. */
function typedDict(name: string, lines: readonly Line[]): string {
  if (lines.every((line) => plain(line.name)))
    return `class ${name}(TypedDict):\n${lines.length === 0 ? '    pass' : lines.map((line) => `    ${line.name}: ${line.type}`).join('\n')}`
  return `${name} = TypedDict(\n    "${name}",\n    {\n${lines.map((line) => `        ${JSON.stringify(line.name)}: ${line.type},`).join('\n')}\n    },\n)`
}

function pythonType(model: Model, names: ReturnType<typeof typeNames>) {
  return (type: string): string => {
    const { base, array } = resolveDomains(model, readType(type))
    const at = splitType(base)
    const one = at ? (names.of(at.schema, at.name) ?? (at.name === 'hstore' ? 'Any' : 'str')) : (SCALARS[base] ?? 'str')
    return array ? `List[${one}]` : one
  }
}

/** A module of TypedDicts for rows, inserts and updates, and of Literals for enums. Standard library only, Python 3.11 or newer. */
export function python(model: Model): string {
  const names = typeNames(model.schemas)
  const of = pythonType(model, names)
  const line = ({ name, type }: Field, nullable: boolean, leaves: boolean): Line => {
    const value = nullable ? `Optional[${of(type)}]` : of(type)
    return { name, type: leaves ? `NotRequired[${value}]` : value }
  }
  const writable = ({ columns }: ModelTable) => columns.filter(({ fixed }) => !fixed)
  const parts = ['# Made from the database: `sovra gen types`.\nfrom typing import Any, List, Literal, NotRequired, Optional, TypedDict']
  for (const { name: schema, enums } of model.schemas)
    for (const { name, labels } of enums)
      parts.push(
        `${names.of(schema, name)} = ${labels.length === 0 ? 'str' : `Literal[${labels.map((label) => JSON.stringify(label)).join(', ')}]`}`,
      )
  // Of one another in any order: named, not looked up.
  for (const { name: schema, composites } of model.schemas)
    for (const { name, fields } of composites)
      parts.push(
        typedDict(
          names.of(schema, name) ?? '',
          fields.map((field) => ({ name: field.name, type: JSON.stringify(`Optional[${of(field.type)}]`) })),
        ),
      )
  for (const { name: schema, tables, views } of model.schemas)
    for (const table of [...tables, ...views]) {
      const type = names.free(pascal(schema, table.name))
      parts.push(
        typedDict(
          type,
          table.columns.map((column) => line(column, column.nullable, false)),
        ),
      )
      if (table.insertable)
        parts.push(
          typedDict(
            names.free(`${type}Insert`),
            writable(table).map((column) => line(column, column.nullable, column.optional)),
          ),
        )
      if (table.updatable)
        parts.push(
          typedDict(
            names.free(`${type}Update`),
            writable(table).map((column) => line(column, column.nullable, true)),
          ),
        )
    }
  return `${parts.join('\n\n\n')}\n`
}
