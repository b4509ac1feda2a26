import { Type } from 'typebox'
import {
  Comment,
  cascade,
  commentOn,
  ending,
  Flag,
  Fragment,
  ident,
  list,
  literal,
  Name,
  Names,
  named,
  type Operation,
  operation,
  Schema,
} from './operation.ts'

/** Around a text that does not hold it. */
function dollars(text: string): string {
  let tag = '$body$'
  for (let n = 1; text.includes(tag); n++) tag = `$body${n}$`
  return `${tag}${text}${tag}`
}

const Arguments = Type.Optional(Type.String({ maxLength: 10_000, description: 'As SQL: `a integer, b text default null`' }))
const Labels = Type.Array(Type.String({ minLength: 1, maxLength: 63 }), { maxItems: 1000 })

/** A view reads with its caller's rights, so that policies hold, unless it is asked otherwise. */
const createView = operation(
  { schema: Schema, name: Name, query: Fragment, replace: Flag, materialised: Flag, security_invoker: Flag, comment: Comment },
  ({ query, replace, materialised, security_invoker = true, comment, ...at }) => {
    const kind = materialised ? 'materialized view' : 'view'
    const options = materialised || !security_invoker ? '' : ' with (security_invoker = on)'
    return [
      `create ${replace && !materialised ? 'or replace ' : ''}${kind} ${named(at)}${options} as\n${query}`,
      ...commentOn(`${kind} ${named(at)}`, comment),
    ]
  },
)

const createFunction = operation(
  {
    ...{
      schema: Schema,
      name: Name,
      arguments: Arguments,
      returns: Type.Optional(Fragment),
      language: Type.Optional(Name),
      body: Fragment,
      replace: Flag,
    },
    ...{
      volatility: Type.Optional(Type.Enum(['volatile', 'stable', 'immutable'])),
      security: Type.Optional(Type.Enum(['invoker', 'definer'])),
    },
    ...{
      search_path: Type.Optional(Type.Array(Name, { maxItems: 16, description: 'Empty: every name must be qualified' })),
      strict: Flag,
      comment: Comment,
    },
  },
  ({
    arguments: args = '',
    returns = 'void',
    language = 'sql',
    body,
    replace,
    volatility,
    security,
    search_path,
    strict,
    comment,
    ...at
  }) => {
    // A definer's function that finds names along its caller's path is a hole: it gets an empty one unless told otherwise.
    const path = search_path ?? (security === 'definer' ? [] : undefined)
    const parts = [
      `create ${replace ? 'or replace ' : ''}function ${named(at)}(${args}) returns ${returns} language ${ident(language)}`,
      ...(volatility ? [volatility] : []),
      ...(strict ? ['strict'] : []),
      ...(security ? [`security ${security}`] : []),
      ...(path ? [`set search_path = ${path.length > 0 ? list(path) : "''"}`] : []),
      `as ${dollars(body)}`,
    ]
    return [parts.join(' '), ...commentOn(`function ${named(at)}`, comment)]
  },
)

const createTrigger = operation(
  {
    ...{ schema: Schema, table: Name, name: Name, timing: Type.Enum(['before', 'after', 'instead of']), replace: Flag },
    events: Type.Array(Type.Enum(['insert', 'update', 'delete', 'truncate']), { minItems: 1, maxItems: 4 }),
    ...{ columns: Type.Optional(Names), level: Type.Optional(Type.Enum(['row', 'statement'])), when: Type.Optional(Fragment) },
    function: Type.Object({ schema: Schema, name: Name }, { additionalProperties: false }),
    arguments: Type.Optional(Type.Array(Type.String(), { maxItems: 64 })),
  },
  ({ schema, table, name, timing, replace, events, columns, level = 'row', when, function: called, arguments: args = [] }) => {
    const on = events.map((event) => (event === 'update' && columns ? `update of ${list(columns)}` : event)).join(' or ')
    const parts = [
      `create ${replace ? 'or replace ' : ''}trigger ${ident(name)} ${timing} ${on} on ${named({ schema, name: table })} for each ${level}`,
      ...(when ? [`when (${when})`] : []),
      `execute function ${named(called)}(${args.map(literal).join(', ')})`,
    ]
    return [parts.join(' ')]
  },
)

export const CODE: Readonly<Record<string, Operation>> = {
  create_view: createView,
  refresh_view: operation({ schema: Schema, name: Name }, (at) => [`refresh materialized view ${named(at)}`]),
  drop_view: operation({ schema: Schema, name: Name, materialised: Flag, ...cascade }, (change) => [
    `drop ${change.materialised ? 'materialized ' : ''}view ${named(change)}${ending(change)}`,
  ]),
  create_function: createFunction,
  drop_function: operation({ schema: Schema, name: Name, arguments: Arguments, ...cascade }, (change) => [
    `drop function ${named(change)}${change.arguments === undefined ? '' : `(${change.arguments})`}${ending(change)}`,
  ]),
  create_trigger: createTrigger,
  enable_trigger: operation({ schema: Schema, table: Name, name: Name, enabled: Type.Boolean() }, ({ schema, table, name, enabled }) => [
    `alter table ${named({ schema, name: table })} ${enabled ? 'enable' : 'disable'} trigger ${ident(name)}`,
  ]),
  drop_trigger: operation({ schema: Schema, table: Name, name: Name, ...cascade }, (change) => [
    `drop trigger ${ident(change.name)} on ${named({ schema: change.schema, name: change.table })}${ending(change)}`,
  ]),
  create_enum: operation({ schema: Schema, name: Name, labels: Labels, comment: Comment }, ({ labels, comment, ...at }) => [
    `create type ${named(at)} as enum (${labels.map(literal).join(', ')})`,
    ...commentOn(`type ${named(at)}`, comment),
  ]),
  add_enum_label: operation(
    { schema: Schema, name: Name, label: Name, before: Type.Optional(Name), after: Type.Optional(Name) },
    ({ label, before, after, ...at }) => [
      `alter type ${named(at)} add value ${literal(label)}${before ? ` before ${literal(before)}` : after ? ` after ${literal(after)}` : ''}`,
    ],
  ),
  rename_enum_label: operation({ schema: Schema, name: Name, label: Name, rename: Name }, ({ label, rename, ...at }) => [
    `alter type ${named(at)} rename value ${literal(label)} to ${literal(rename)}`,
  ]),
  drop_enum: operation({ schema: Schema, name: Name, ...cascade }, (change) => [`drop type ${named(change)}${ending(change)}`]),
}
