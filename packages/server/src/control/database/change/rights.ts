import { Type } from 'typebox'
import {
  cascade,
  ending,
  Flag,
  Fragment,
  grantees,
  ident,
  list,
  Name,
  Names,
  named,
  type Operation,
  operation,
  Schema,
} from './operation.ts'

const Policy = { schema: Schema, table: Name, name: Name }
const Condition = { using: Type.Optional(Fragment), check: Type.Optional(Fragment) }
const onTable = ({ schema, table, name }: { schema?: string; table: string; name: string }): string =>
  `policy ${ident(name)} on ${named({ schema, name: table })}`
const conditions = ({ using, check }: { using?: string; check?: string }): string =>
  `${using ? ` using (${using})` : ''}${check ? ` with check (${check})` : ''}`

const Thing = Type.Object(
  {
    kind: Type.Enum(['table', 'sequence', 'schema', 'function', 'type', 'all tables', 'all sequences', 'all functions']),
    schema: Schema,
    name: Type.Optional(Name),
    arguments: Type.Optional(Type.String({ maxLength: 10_000, description: 'Of a function whose name is not the only one' })),
  },
  { additionalProperties: false },
)
const PRIVILEGES = [
  'select',
  'insert',
  'update',
  'delete',
  'truncate',
  'references',
  'trigger',
  'maintain',
  'usage',
  'create',
  'execute',
  'all',
] as const
const Grant = {
  privileges: Type.Array(Type.Enum([...PRIVILEGES]), { minItems: 1 }),
  columns: Type.Optional(Names),
  on: Thing,
}
type Thing = { kind: string; schema?: string; name?: string; arguments?: string }

function thing({ kind, schema, name = '', arguments: args }: Thing): string {
  if (kind.startsWith('all ')) return `${kind} in schema ${ident(schema ?? 'public')}`
  if (kind === 'schema') return `schema ${ident(name)}`
  return `${kind} ${named({ schema, name })}${args === undefined ? '' : `(${args})`}`
}
const privileges = (words: readonly string[], columns?: readonly string[]): string =>
  words.map((word) => (columns ? `${word} (${list(columns)})` : word)).join(', ')

const Tables = Type.Array(Type.Object({ schema: Schema, name: Name }, { additionalProperties: false }), { minItems: 1, maxItems: 1000 })
const tables = (found: readonly { schema?: string; name: string }[]): string => found.map(named).join(', ')

export const RIGHTS: Readonly<Record<string, Operation>> = {
  create_policy: operation(
    {
      ...{ ...Policy, ...Condition, permissive: Flag, roles: Type.Optional(Names) },
      command: Type.Optional(Type.Enum(['all', 'select', 'insert', 'update', 'delete'])),
    },
    (change) => {
      const { command = 'all', roles = ['public'], permissive = true } = change
      return [`create ${onTable(change)}${permissive ? '' : ' as restrictive'} for ${command} to ${grantees(roles)}${conditions(change)}`]
    },
  ),
  alter_policy: operation({ ...Policy, ...Condition, roles: Type.Optional(Names), rename: Type.Optional(Name) }, (change) => {
    const { roles, using, check, rename } = change
    return [
      ...(roles || using || check ? [`alter ${onTable(change)}${roles ? ` to ${grantees(roles)}` : ''}${conditions(change)}`] : []),
      ...(rename ? [`alter ${onTable(change)} rename to ${ident(rename)}`] : []),
    ]
  }),
  drop_policy: operation(Policy, (change) => [`drop ${onTable(change)}`]),
  create_role: operation(
    { name: Name, inherit: Flag, bypass_rls: Flag, for_tokens: Flag },
    ({ name, inherit = true, bypass_rls, for_tokens }) => [
      `create role ${ident(name)} nologin${inherit ? '' : ' noinherit'}${bypass_rls ? ' bypassrls' : ''}`,
      ...(for_tokens ? [`grant ${ident(name)} to authenticator`] : []),
    ],
  ),
  drop_role: operation({ name: Name }, ({ name }) => [`drop role ${ident(name)}`]),
  grant_role: operation({ role: Name, to: Names }, ({ role, to }) => [`grant ${ident(role)} to ${grantees(to)}`]),
  revoke_role: operation({ role: Name, from: Names }, ({ role, from }) => [`revoke ${ident(role)} from ${grantees(from)}`]),
  grant: operation({ ...Grant, to: Names }, ({ privileges: words, columns, on, to }) => [
    `grant ${privileges(words, columns)} on ${thing(on)} to ${grantees(to)}`,
  ]),
  revoke: operation({ ...Grant, from: Names, ...cascade }, (change) => [
    `revoke ${privileges(change.privileges, change.columns)} on ${thing(change.on)} from ${grantees(change.from)}${ending(change)}`,
  ]),
  create_extension: operation({ name: Name, schema: Schema }, ({ name, schema = 'extensions' }) => [
    `create extension ${ident(name)} schema ${ident(schema)}`,
  ]),
  update_extension: operation({ name: Name }, ({ name }) => [`alter extension ${ident(name)} update`]),
  drop_extension: operation({ name: Name, ...cascade }, (change) => [`drop extension ${ident(change.name)}${ending(change)}`]),
  create_publication: operation(
    {
      name: Name,
      tables: Type.Optional(Tables),
      publish: Type.Optional(Type.Array(Type.Enum(['insert', 'update', 'delete', 'truncate']), { minItems: 1 })),
    },
    ({ name, tables: of, publish }) => [
      `create publication ${ident(name)}${of ? ` for table ${tables(of)}` : ''}${publish ? ` with (publish = '${publish.join(', ')}')` : ''}`,
    ],
  ),
  alter_publication: operation({ name: Name, add: Type.Optional(Tables), remove: Type.Optional(Tables) }, ({ name, add, remove }) => [
    ...(add ? [`alter publication ${ident(name)} add table ${tables(add)}`] : []),
    ...(remove ? [`alter publication ${ident(name)} drop table ${tables(remove)}`] : []),
  ]),
  drop_publication: operation({ name: Name }, ({ name }) => [`drop publication ${ident(name)}`]),
}
