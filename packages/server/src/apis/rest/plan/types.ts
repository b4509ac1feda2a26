import type { Catalogue, Routine, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import type { Query, Slot } from '../parse/ast.ts'
import type { Preferences } from '../parse/headers.ts'
import type { Media } from '../parse/media.ts'
import type { Param } from './sql.ts'

/** Everything that a plan is made of: no values, no body, no caller. */
export interface PlanInput {
  readonly catalogue: Catalogue
  readonly schema: string
  readonly query: Query
  readonly media: Media
  readonly prefer: Preferences
  readonly head: boolean
  readonly maxRows: number | null
  readonly aggregates: boolean
  /** Something runs before each statement that may set headers and status of an answer. */
  readonly responds?: boolean
}

/** What a request's body is planned by. */
export interface BodyShape {
  readonly isArray: boolean
  readonly keys: readonly string[]
  readonly type: string
}

export type Action = 'read' | 'insert' | 'update' | 'upsert' | 'delete' | 'call'

/** Places of the values in the one row that every statement answers; the last ones may be missing. */
export const RESULT = { body: 0, page: 1, total: 2, location: 3, inserted: 4, headers: 5, status: 6 } as const

/** A table and the letters (see Table.grants) of what a statement does with it: for the hint when it is refused. */
export interface Need {
  readonly table: Table
  readonly letters: string
}

export interface Statement {
  readonly sql: string
  readonly params: readonly Param[]
}

/** The same rows one by one, and how many they are. */
export interface Streamed {
  readonly rows: Statement
  readonly count: Statement
}

/** A planned request: one statement for all requests of its shape. */
export interface Plan extends Statement {
  readonly action: Action
  /** Runs in a read-only transaction. */
  readonly readOnly: boolean
  readonly media: Media
  readonly head: boolean
  readonly prefer: Preferences
  /** The answer is one object: PGRST116 for anything but one row. */
  readonly single: boolean
  readonly offset: Slot | null
  /** What the planner thinks of the number of rows (`count=planned`, or `estimated` past `maxRows`). */
  readonly explain: Statement | null
  readonly maxRows: number | null
  /** Where the answer may be too large for one piece. */
  readonly stream?: Streamed | null
  readonly needs: readonly Need[]
  /** Table's name, for Location. */
  readonly name: string
  readonly isVoid: boolean
  /** What it calls. */
  readonly routine: Routine | null
  /** An insert that updates the rows that are there. */
  readonly merges: boolean
  /** Preferences that had an effect, for Preference-Applied. */
  readonly applied: string
}
