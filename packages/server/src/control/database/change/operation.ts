import { type Static, type TObject, type TProperties, Type } from 'typebox'
import { nodePg } from '../../../base/later.ts'

/** One kind of change: what it takes, and the statements that it is. */
export interface Operation {
  readonly schema: TObject
  /** Pure; `change` fits the schema. Names are quoted; fragments (types, expressions, bodies) are the caller's SQL. */
  sql(change: never): readonly string[]
}

/** With the types of its own properties. */
export const operation = <P extends TProperties>(properties: P, sql: (change: Static<TObject<P>>) => readonly string[]): Operation => ({
  schema: Type.Object({ op: Type.String(), ...properties }, { additionalProperties: false }),
  sql: sql as (change: never) => readonly string[],
})

export const Name = Type.String({ minLength: 1, maxLength: 63 })
export const Names = Type.Array(Name, { minItems: 1, maxItems: 64 })
/** A piece of SQL. */
export const Fragment = Type.String({ minLength: 1, maxLength: 1_000_000 })
export const Flag = Type.Optional(Type.Boolean())
export const Comment = Type.Optional(Type.Union([Type.String({ maxLength: 10_000 }), Type.Null()]))
/** `public` when left out. */
export const Schema = Type.Optional(Name)
export const cascade = { cascade: Flag }

export const ident = (name: string): string => nodePg().escapeIdentifier(name)
export const literal = (text: string): string => nodePg().escapeLiteral(text)
export const list = (names: readonly string[]): string => names.map(ident).join(', ')
export const named = ({ schema = 'public', name }: { schema?: string | undefined; name: string }): string =>
  `${ident(schema)}.${ident(name)}`
export const ending = ({ cascade: all }: { cascade?: boolean }): string => (all ? ' cascade' : '')

export const commentOn = (what: string, comment: string | null | undefined): string[] =>
  comment === undefined ? [] : [`comment on ${what} is ${comment === null ? 'null' : literal(comment)}`]

/** Words that are roles of SQL itself stay words. */
export const grantee = (role: string): string =>
  /^(public|current_user|session_user|current_role)$/i.test(role) ? role.toLowerCase() : ident(role)
export const grantees = (roles: readonly string[]): string => roles.map(grantee).join(', ')
