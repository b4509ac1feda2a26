/** What a project's cluster holds, as one immutable value. A new one replaces it: whoever keeps things derived from it keys them by the object. */
export interface Catalogue {
  /** Text of the digest that the cluster computed of it: two catalogues with one digest are equal. */
  readonly digest: string
  /** 180004 */
  readonly version: number
  readonly schemas: ReadonlyMap<string, Schema>
  /** Qualified name as PostgreSQL prints it → labels in order. */
  readonly enums: ReadonlyMap<string, readonly string[]>
  /** Qualified name as PostgreSQL prints it → base type. */
  readonly domains: ReadonlyMap<string, string>
  /** `alter role authenticator set pgrst.…`: name with its prefix → value. */
  readonly settings: Readonly<Record<string, string>>
  /** What makes a media type of rows or of a function's value: `handlerKey` → handler. */
  readonly handlers: ReadonlyMap<string, MediaHandler>
  /** Schema of PostGIS's st_asgeojson(record); null without it. */
  readonly geoJson: string | null
  /** Role that requests may have, and `authenticator` → `alter role … set …` of it. */
  readonly roleSettings: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** It is too large to be held: nothing of it is here. */
  readonly cut: boolean
}

/** An aggregate over a table's rows, or a function whose value is of a domain that is called like a media type. */
export interface MediaHandler {
  readonly schema: string
  readonly name: string
  readonly aggregate: boolean
  /** Name of the domain: "text/html", or any type. */
  readonly type: string
  /** Its value is bytea. */
  readonly binary: boolean
}

/** Of a table's, view's or function's handler; without schema and name of one for all rows. */
export const handlerKey = (type: string, schema = '*', name = '*'): string => `${schema}\0${name}\0${type}`

export interface Schema {
  readonly name: string
  /** Which of anon, authenticated, service_role may use it. */
  readonly usage: readonly string[]
  readonly comment: string | null
  readonly tables: ReadonlyMap<string, Table>
  /** Name → overloads. */
  readonly functions: ReadonlyMap<string, readonly Routine[]>
}

/** A table, view, materialized view or foreign table. */
export interface Table {
  readonly schema: string
  readonly name: string
  /** r table, p partitioned, v view, m materialized view, f foreign table */
  readonly kind: string
  readonly columns: ReadonlyMap<string, Column>
  /** Of a view: the columns that show the primary keys of its tables. */
  readonly primaryKey: readonly string[]
  /** Column lists of the other unique indexes (not partial, no expressions). */
  readonly uniques: readonly (readonly string[])[]
  /** Foreign keys of this table, and those of others that point to it; those that views have by their tables too. */
  readonly references: readonly ForeignKey[]
  readonly referencedBy: readonly ForeignKey[]
  readonly rowSecurity: boolean
  readonly rowSecurityForced: boolean
  readonly policies: readonly Policy[]
  /** Role (anon, authenticated, service_role) → letters of what it may do: r read, a insert, w update, d delete. */
  readonly grants: Readonly<Record<string, string>>
  readonly insertable: boolean
  readonly updatable: boolean
  readonly deletable: boolean
  readonly comment: string | null
}

export interface Column {
  readonly name: string
  /** As PostgreSQL prints it, with its modifier: "character varying(20)", "public.mood". */
  readonly type: string
  readonly notNull: boolean
  /** SQL expression; nextval(…) of an identity column. */
  readonly default: string | null
  readonly generated: boolean
  /** '' none, 'a' always, 'd' by default */
  readonly identity: string
  /** Base type of a domain. */
  readonly base: string | null
  /** How its domain is shown and read, where there are casts for it. */
  readonly casts: DomainCasts | null
  /** Key in Catalogue.enums. */
  readonly enum: string | null
  readonly comment: string | null
}

/** Functions (qualified, quoted) of implicit casts of a domain. */
export interface DomainCasts {
  readonly toJson: string | null
  readonly fromJson: string | null
  readonly fromText: string | null
}

export interface ForeignKey {
  readonly name: string
  readonly schema: string
  readonly table: string
  readonly columns: readonly string[]
  readonly foreignSchema: string
  readonly foreignTable: string
  readonly foreignColumns: readonly string[]
  /** No two rows of its table have the same columns: the relation is one to one. */
  readonly unique: boolean
  /** Not a constraint: one end at least is a view that shows the columns of one. */
  readonly traced: boolean
}

export interface Policy {
  readonly name: string
  /** r select, a insert, w update, d delete, * all */
  readonly command: string
  readonly roles: readonly string[]
}

export interface Routine {
  readonly schema: string
  readonly name: string
  readonly args: readonly Argument[]
  readonly volatility: 'immutable' | 'stable' | 'volatile'
  readonly returns: 'void' | 'scalar' | 'composite'
  /** Schema and name of the type that it returns (the element's, for a set). */
  readonly returnSchema: string
  readonly returnType: string
  readonly returnsSet: boolean
  /** PostgreSQL's estimate (`rows n`); 0 when it returns no set. */
  readonly rows: number
  /** Which of anon, authenticated, service_role may call it. */
  readonly execute: readonly string[]
  readonly comment: string | null
  /** What it sets for itself, but for its role. */
  readonly settings: Readonly<Record<string, string>> | null
}

export interface Argument {
  /** '' for an unnamed one. */
  readonly name: string
  readonly type: string
  readonly optional: boolean
  readonly variadic: boolean
}
