/** What a request asks for, values taken out: a `Slot` is an index into the request's list of values. */
export type Slot = number

export interface JsonStep {
  /** `->` gives json, `->>` text. */
  readonly text: boolean
  readonly key: string | number
}
export interface Field {
  readonly name: string
  readonly path: readonly JsonStep[]
}

export type Aggregate = 'count' | 'sum' | 'avg' | 'min' | 'max'
export interface SelectField {
  readonly kind: 'field'
  /** `*` for all columns; of `count()` without a column too. */
  readonly field: Field
  readonly alias: string | null
  readonly cast: string | null
  readonly aggregate: Aggregate | null
  readonly aggregateCast: string | null
}
export interface SelectEmbed {
  readonly kind: 'embed'
  readonly name: string
  readonly alias: string | null
  readonly hint: string | null
  readonly join: 'inner' | 'left' | null
  readonly spread: boolean
  readonly select: readonly SelectItem[]
}
export type SelectItem = SelectField | SelectEmbed

export type Is = 'null' | 'not_null' | 'true' | 'false' | 'unknown'
/** Operators as they are written, without fts. */
export type Operator =
  | 'eq'
  | 'neq'
  | 'gt'
  | 'gte'
  | 'lt'
  | 'lte'
  | 'like'
  | 'ilike'
  | 'match'
  | 'imatch'
  | 'cs'
  | 'cd'
  | 'ov'
  | 'sl'
  | 'sr'
  | 'nxr'
  | 'nxl'
  | 'adj'
export type TextSearch = 'fts' | 'plfts' | 'phfts' | 'wfts'
export type Operation =
  | { readonly kind: 'compare'; readonly operator: Operator; readonly quantifier: 'any' | 'all' | null; readonly value: Slot }
  | { readonly kind: 'in'; readonly value: Slot }
  | { readonly kind: 'is'; readonly is: Is }
  | { readonly kind: 'distinct'; readonly value: Slot }
  | { readonly kind: 'search'; readonly operator: TextSearch; readonly language: string | null; readonly value: Slot }

export interface Filter {
  readonly kind: 'filter'
  readonly field: Field
  readonly not: boolean
  readonly operation: Operation
}
export interface Logic {
  readonly kind: 'and' | 'or'
  readonly not: boolean
  readonly terms: readonly Condition[]
}
export type Condition = Filter | Logic

export interface OrderTerm {
  /** The embedded resource whose column it is. */
  readonly relation: string | null
  readonly field: Field
  readonly descending: boolean | null
  readonly nulls: 'first' | 'last' | null
}

/**
 * How many rows at most: a small number is part of the shape, since PostgreSQL plans an unknown LIMIT as a tenth of all rows and then walks
 * a whole index; a large one is a value.
 */
export type Rows = Slot | { readonly rows: number }

/** Names of embedded resources from the root. */
export type Path = readonly string[]
export interface Query {
  readonly select: readonly SelectItem[]
  readonly conditions: readonly { readonly path: Path; readonly condition: Condition }[]
  readonly order: readonly { readonly path: Path; readonly terms: readonly OrderTerm[] }[]
  readonly limit: readonly { readonly path: Path; readonly value: Rows }[]
  readonly offset: readonly { readonly path: Path; readonly value: Slot }[]
  /** columns=: which keys of the body are written. */
  readonly columns: readonly string[] | null
  readonly onConflict: readonly string[] | null
  /** What is no filter: arguments of a function called by GET. A name may come more than once (variadic). */
  readonly args: readonly { readonly name: string; readonly value: Slot }[]
}
