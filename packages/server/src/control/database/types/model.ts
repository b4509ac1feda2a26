/** What a database offers to programs, in one shape for all languages. Types are PostgreSQL's names, qualified outside pg_catalog. */
export interface Model {
  readonly schemas: readonly ModelSchema[]
  /** Qualified name → labels, of all schemas. */
  readonly enums: ReadonlyMap<string, readonly string[]>
  /** Qualified name → base type. */
  readonly domains: ReadonlyMap<string, string>
}

export interface ModelSchema {
  readonly name: string
  readonly tables: readonly ModelTable[]
  readonly views: readonly ModelTable[]
  readonly functions: readonly ModelFunction[]
  readonly enums: readonly { readonly name: string; readonly labels: readonly string[] }[]
  readonly composites: readonly { readonly name: string; readonly fields: readonly Field[] }[]
}

export interface Field {
  readonly name: string
  /** As PostgreSQL prints it: "character varying(20)", "public.mood", "text[]". */
  readonly type: string
}

export interface ModelColumn extends Field {
  readonly nullable: boolean
  /** It may be left out of an INSERT. */
  readonly optional: boolean
  /** Nobody but the database writes it. */
  readonly fixed: boolean
}

export interface Relationship {
  readonly name: string
  readonly columns: readonly string[]
  readonly unique: boolean
  readonly schema: string
  readonly relation: string
  readonly foreignColumns: readonly string[]
}

export interface ModelTable {
  readonly schema: string
  readonly name: string
  readonly columns: readonly ModelColumn[]
  /** Functions that take a row of it and are read as if they were columns. */
  readonly computed: readonly Field[]
  readonly relationships: readonly Relationship[]
  readonly insertable: boolean
  readonly updatable: boolean
}

export interface ModelFunction {
  readonly name: string
  readonly args: readonly (Field & { readonly optional: boolean })[]
  readonly set: boolean
  /** Estimated rows of a set. */
  readonly rows: number
  readonly returns: string
  /** Columns of `returns table (…)` and of out parameters; empty for others. */
  readonly columns: readonly Field[]
  /** The table or view whose row it returns. */
  readonly relation: { readonly schema: string; readonly name: string } | null
  /** The table or view whose row is its only, unnamed argument. */
  readonly of: { readonly schema: string; readonly name: string } | null
}

/** What a type's name says. */
export interface TypeName {
  /** Without array and modifier: "character varying", "public.mood". */
  readonly base: string
  readonly array: boolean
}

/** Of a name as PostgreSQL prints it: "numeric(10,2)[]", "timestamp(3) with time zone". */
export function readType(text: string): TypeName {
  const array = text.endsWith('[]')
  const one = array ? text.slice(0, -2) : text
  return { base: one.startsWith('"') ? one : one.replace(/\(.*?\)/, ''), array }
}

/** Schema and name of a qualified type, unquoted; null for one of pg_catalog. */
export function splitType(base: string): { schema: string; name: string } | null {
  const found = /^("(?:[^"]|"")*"|[^".]+)\.("(?:[^"]|"")*"|[^".]+)$/.exec(base)
  const bare = (part = '') => (part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part)
  return found ? { schema: bare(found[1]), name: bare(found[2]) } : null
}

/** Follows domains to what they hold; an array of a domain is an array of its base. */
export function resolveDomains(model: Pick<Model, 'domains'>, type: TypeName): TypeName {
  let { base, array } = type
  for (let steps = 0; steps < 32; steps++) {
    const under = model.domains.get(base)
    if (under === undefined) break
    const next = readType(under)
    base = next.base
    array ||= next.array
  }
  return { base, array }
}

export const sorted = <T extends { name: string }>(items: Iterable<T>): T[] =>
  [...items].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
