import { type Static, Type } from 'typebox'
import {
  Comment,
  cascade,
  commentOn,
  ending,
  Flag,
  Fragment,
  grantee,
  ident,
  list,
  Name,
  Names,
  named,
  type Operation,
  operation,
  Schema,
} from './operation.ts'

const Act = Type.Optional(Type.Enum(['no action', 'restrict', 'cascade', 'set null', 'set default']))
const References = Type.Object(
  { schema: Schema, table: Name, columns: Type.Optional(Names), on_delete: Act, on_update: Act },
  { additionalProperties: false },
)
const Column = Type.Object(
  {
    name: Name,
    type: Fragment,
    nullable: Flag,
    default: Type.Optional(Fragment),
    identity: Type.Optional(Type.Enum(['always', 'by default'])),
    generated: Type.Optional(Fragment),
    unique: Flag,
    primary_key: Flag,
    check: Type.Optional(Fragment),
    references: Type.Optional(References),
    comment: Comment,
  },
  { additionalProperties: false },
)

const referencesSql = ({ schema, table, columns, on_delete, on_update }: Static<typeof References>): string =>
  [
    `references ${named({ schema, name: table })}${columns ? ` (${list(columns)})` : ''}`,
    ...(on_delete ? [`on delete ${on_delete}`] : []),
    ...(on_update ? [`on update ${on_update}`] : []),
  ].join(' ')

function columnSql(column: Static<typeof Column>): string {
  const { name, type, nullable = true, identity, generated, unique, primary_key, check, references } = column
  return [
    `${ident(name)} ${type}`,
    ...(identity ? [`generated ${identity} as identity`] : []),
    ...(generated ? [`generated always as (${generated}) stored`] : []),
    ...(column.default === undefined ? [] : [`default ${column.default}`]),
    ...(nullable ? [] : ['not null']),
    ...(primary_key ? ['primary key'] : []),
    ...(unique ? ['unique'] : []),
    ...(check ? [`check (${check})`] : []),
    ...(references ? [referencesSql(references)] : []),
  ].join(' ')
}

const Privilege = Type.Enum(['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger', 'maintain', 'all'])
const Of = { schema: Schema, table: Name }
const of = ({ schema, table }: { schema?: string; table: string }): string => named({ schema, name: table })

/** Row-level security is on unless said otherwise; `anon` gets nothing, whatever the default privileges are, unless it is named. */
const createTable = operation(
  {
    ...{ schema: Schema, name: Name, columns: Type.Array(Column, { maxItems: 1600 }), primary_key: Type.Optional(Names), comment: Comment },
    rls: Flag,
    grants: Type.Optional(Type.Record(Name, Type.Array(Privilege, { minItems: 1 }), { description: 'By role' })),
  },
  ({ schema, name, columns, primary_key, comment, rls = true, grants = {} }) => {
    const table = named({ schema, name })
    const parts = [...columns.map(columnSql), ...(primary_key ? [`primary key (${list(primary_key)})`] : [])]
    return [
      `create table ${table} (${parts.length > 0 ? `\n  ${parts.join(',\n  ')}\n` : ''})`,
      ...(rls ? [`alter table ${table} enable row level security`] : []),
      ...(Object.hasOwn(grants, 'anon') ? [] : [`revoke all on table ${table} from anon`]),
      ...Object.entries(grants).map(([role, privileges]) => `grant ${privileges.join(', ')} on table ${table} to ${grantee(role)}`),
      ...commentOn(`table ${table}`, comment),
      ...columns.flatMap((column) => commentOn(`column ${table}.${ident(column.name)}`, column.comment)),
    ]
  },
)

const alterTable = operation(
  { schema: Schema, name: Name, rename: Type.Optional(Name), move: Type.Optional(Name), comment: Comment, rls: Flag, force_rls: Flag },
  ({ schema, name, rename, move, comment, rls, force_rls }) => {
    const table = named({ schema, name })
    return [
      ...commentOn(`table ${table}`, comment),
      ...(rls === undefined ? [] : [`alter table ${table} ${rls ? 'enable' : 'disable'} row level security`]),
      ...(force_rls === undefined ? [] : [`alter table ${table} ${force_rls ? '' : 'no '}force row level security`]),
      ...(move ? [`alter table ${table} set schema ${ident(move)}`] : []),
      ...(rename ? [`alter table ${named({ schema: move ?? schema, name })} rename to ${ident(rename)}`] : []),
    ]
  },
)

const alterColumn = operation(
  {
    ...{ ...Of, name: Name, rename: Type.Optional(Name), type: Type.Optional(Fragment), using: Type.Optional(Fragment), nullable: Flag },
    ...{ default: Type.Optional(Type.Union([Fragment, Type.Null()], { description: 'null: none' })), comment: Comment },
  },
  (change) => {
    const { name, rename, type, using, nullable, comment } = change
    const column = `alter table ${of(change)} alter column ${ident(name)}`
    return [
      ...(change.default === null ? [`${column} drop default`] : []),
      ...(type ? [`${column} type ${type}${using ? ` using ${using}` : ''}`] : []),
      ...(typeof change.default === 'string' ? [`${column} set default ${change.default}`] : []),
      ...(nullable === undefined ? [] : [`${column} ${nullable ? 'drop' : 'set'} not null`]),
      ...commentOn(`column ${of(change)}.${ident(name)}`, comment),
      ...(rename ? [`alter table ${of(change)} rename column ${ident(name)} to ${ident(rename)}`] : []),
    ]
  },
)

const addConstraint = operation(
  {
    ...{
      ...Of,
      name: Type.Optional(Name),
      kind: Type.Enum(['primary key', 'unique', 'foreign key', 'check']),
      columns: Type.Optional(Names),
    },
    ...{ references: Type.Optional(References), expression: Type.Optional(Fragment), deferrable: Flag, not_valid: Flag },
  },
  (change) => {
    const { name, kind, columns = [], references, expression, deferrable, not_valid } = change
    const what = kind === 'check' ? `check (${expression ?? ''})` : `${kind} (${list(columns)})`
    const parts = [
      `alter table ${of(change)} add${name ? ` constraint ${ident(name)}` : ''} ${what}`,
      ...(references ? [referencesSql(references)] : []),
      ...(deferrable ? ['deferrable'] : []),
      ...(not_valid ? ['not valid'] : []),
    ]
    return [parts.join(' ')]
  },
)

const createIndex = operation(
  {
    ...{
      ...Of,
      name: Type.Optional(Name),
      columns: Type.Optional(Names),
      expressions: Type.Optional(Type.Array(Fragment, { maxItems: 32 })),
    },
    ...{ unique: Flag, method: Type.Optional(Name), include: Type.Optional(Names), where: Type.Optional(Fragment) },
  },
  (change) => {
    const { name, columns = [], expressions = [], unique, method, include, where } = change
    const keys = [...columns.map(ident), ...expressions.map((expression) => `(${expression})`)].join(', ')
    const parts = [
      `create ${unique ? 'unique ' : ''}index ${name ? `${ident(name)} ` : ''}on ${of(change)}${method ? ` using ${ident(method)}` : ''} (${keys})`,
      ...(include ? [`include (${list(include)})`] : []),
      ...(where ? [`where ${where}`] : []),
    ]
    return [parts.join(' ')]
  },
)

export const TABLES: Readonly<Record<string, Operation>> = {
  create_schema: operation({ name: Name, comment: Comment }, ({ name, comment }) => [
    `create schema ${ident(name)}`,
    ...commentOn(`schema ${ident(name)}`, comment),
  ]),
  rename_schema: operation({ name: Name, rename: Name }, ({ name, rename }) => [`alter schema ${ident(name)} rename to ${ident(rename)}`]),
  drop_schema: operation({ name: Name, ...cascade }, (change) => [`drop schema ${ident(change.name)}${ending(change)}`]),
  create_table: createTable,
  alter_table: alterTable,
  drop_table: operation({ schema: Schema, name: Name, ...cascade }, (change) => [`drop table ${named(change)}${ending(change)}`]),
  add_column: operation({ ...Of, column: Column }, (change) => [
    `alter table ${of(change)} add column ${columnSql(change.column)}`,
    ...commentOn(`column ${of(change)}.${ident(change.column.name)}`, change.column.comment),
  ]),
  alter_column: alterColumn,
  drop_column: operation({ ...Of, name: Name, ...cascade }, (change) => [
    `alter table ${of(change)} drop column ${ident(change.name)}${ending(change)}`,
  ]),
  add_constraint: addConstraint,
  validate_constraint: operation({ ...Of, name: Name }, (change) => [
    `alter table ${of(change)} validate constraint ${ident(change.name)}`,
  ]),
  drop_constraint: operation({ ...Of, name: Name, ...cascade }, (change) => [
    `alter table ${of(change)} drop constraint ${ident(change.name)}${ending(change)}`,
  ]),
  create_index: createIndex,
  drop_index: operation({ schema: Schema, name: Name, ...cascade }, (change) => [`drop index ${named(change)}${ending(change)}`]),
}
