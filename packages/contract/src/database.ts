import { type Static, Type } from 'typebox'

/** Most characters of SQL in one request. */
const MAX_SQL = 4 * 1024 * 1024

const closed = { additionalProperties: false }

const order = {
  sql: Type.String({ minLength: 1, maxLength: MAX_SQL }),
  params: Type.Optional(
    Type.Array(Type.Unknown(), { maxItems: 1000, description: '$1, $2 … of a single statement; lists become arrays, objects JSON' }),
  ),
  role: Type.Optional(Type.String({ minLength: 1, maxLength: 63, description: 'Who it runs as; `postgres` when left out' })),
  claims: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'What auth.jwt() answers' })),
  timeout: Type.Optional(Type.Integer({ minimum: 1, maximum: 600_000, description: 'ms for all of it; 60,000 when left out' })),
}

/** Statements to be run. */
export const QueryOrder = Type.Object(
  {
    ...order,
    id: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_-]{1,40}$', description: 'To cancel it by; made up when left out' })),
    read_only: Type.Optional(Type.Boolean({ description: 'Refuse whatever would write' })),
    transaction: Type.Optional(Type.Boolean({ description: 'Several statements as one transaction; true when left out' })),
    limit: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 10_000_000,
        description: 'Most rows of each statement; 1,000 when left out, 0: none but a stream’s end',
      }),
    ),
  },
  closed,
)
export type QueryOrder = Static<typeof QueryOrder>

export const ExplainOrder = Type.Object(
  { ...order, analyze: Type.Optional(Type.Boolean({ description: 'Run it, and roll back what it wrote' })) },
  closed,
)
export type ExplainOrder = Static<typeof ExplainOrder>

const QueryColumn = Type.Object({ name: Type.String(), type: Type.String({ description: 'As format_type() writes it' }) })
const Notice = Type.Object({ severity: Type.String(), message: Type.String() })

/** What one statement answered. Numbers where no digit is lost, booleans, JSON; all else PostgreSQL's own text. */
export const QueryResult = Type.Object({
  command: Type.String({ description: 'PostgreSQL’s command tag' }),
  columns: Type.Array(QueryColumn),
  rows: Type.Array(Type.Array(Type.Unknown())),
  row_count: Type.Integer({ description: 'Rows in `rows`, or touched where it answers none' }),
  truncated: Type.Boolean({ description: 'There are more rows than `limit`' }),
  ms: Type.Number(),
})
export type QueryResult = Static<typeof QueryResult>

export const QueryAnswer = Type.Object({ id: Type.String(), results: Type.Array(QueryResult), notices: Type.Array(Notice) })
export type QueryAnswer = Static<typeof QueryAnswer>

/** One line of the answer as `application/x-ndjson`. */
export type QueryLine =
  | { readonly type: 'columns'; readonly statement: number; readonly columns: readonly Static<typeof QueryColumn>[] }
  | { readonly type: 'rows'; readonly statement: number; readonly rows: readonly (readonly unknown[])[] }
  | ({ readonly type: 'done'; readonly statement: number } & Pick<QueryResult, 'command' | 'row_count' | 'truncated' | 'ms'>)
  | { readonly type: 'end'; readonly id: string; readonly notices: readonly Static<typeof Notice>[] }

export const Explained = Type.Object({
  text: Type.String({ description: 'The plan for people' }),
  notes: Type.Array(Type.String(), { description: 'What stands out' }),
  plan: Type.Unknown({ description: 'As EXPLAIN (FORMAT JSON) writes it' }),
})
export type Explained = Static<typeof Explained>

const Level = Type.Union([Type.Literal('error'), Type.Literal('warning'), Type.Literal('info')])
const Area = Type.Union([Type.Literal('security'), Type.Literal('speed')])

/** Something about a database that should be looked at. */
export const Advice = Type.Object({
  code: Type.String(),
  level: Level,
  area: Area,
  kind: Type.String({ description: 'Of the object: table, view, function, policy, index, session …' }),
  object: Type.String({ description: 'As SQL names it' }),
  message: Type.String(),
  fix: Type.String({ description: 'SQL, or words' }),
})
export type Advice = Static<typeof Advice>
export const Advices = Type.Object({ items: Type.Array(Advice) })

const Named = { schema: Type.String(), name: Type.String() }
const nullable = { anyOf: [{ type: 'number' }, { type: 'null' }] }
const MaybeNumber = Type.Unsafe<number | null>(nullable)
const MaybeText = Type.Unsafe<string | null>({ anyOf: [{ type: 'string' }, { type: 'null' }] })

/** Sizes in bytes, times in ms, ratios from 0 to 1. */
export const Statistics = Type.Object({
  database: Type.Object({
    size: Type.Integer(),
    cache_hit: MaybeNumber,
    commits: Type.Integer(),
    rollbacks: Type.Integer(),
    deadlocks: Type.Integer(),
    temp_bytes: Type.Integer(),
    since: MaybeText,
  }),
  tables: Type.Array(
    Type.Object({
      ...Named,
      rows: Type.Integer({ description: 'Estimated' }),
      dead_rows: Type.Integer(),
      size: Type.Integer({ description: 'With indexes and TOAST' }),
      table_size: Type.Integer(),
      index_size: Type.Integer(),
      seq_scans: Type.Integer(),
      index_scans: Type.Integer(),
      cache_hit: MaybeNumber,
      last_vacuum: MaybeText,
      last_analyze: MaybeText,
    }),
  ),
  indexes: Type.Array(Type.Object({ ...Named, table: Type.String(), size: Type.Integer(), scans: Type.Integer(), unique: Type.Boolean() })),
  connections: Type.Object({
    most: Type.Integer(),
    items: Type.Array(Type.Object({ role: Type.String(), state: Type.String(), count: Type.Integer(), oldest_ms: Type.Integer() })),
  }),
  locks: Type.Array(
    Type.Object({
      pid: Type.Integer(),
      role: Type.String(),
      waits_for: Type.Array(Type.Integer()),
      waiting_ms: Type.Integer(),
      object: MaybeText,
      mode: MaybeText,
    }),
  ),
  statements: Type.Object({
    available: Type.Boolean(),
    hint: Type.Optional(Type.String()),
    items: Type.Array(
      Type.Object({
        statement: Type.String({ description: 'Its values are $1, $2 …' }),
        role: Type.String(),
        calls: Type.Integer(),
        total_ms: Type.Number(),
        mean_ms: Type.Number(),
        max_ms: Type.Number(),
        rows: Type.Integer(),
        cache_hit: MaybeNumber,
      }),
    ),
  }),
})
export type Statistics = Static<typeof Statistics>

export const Extensions = Type.Object({
  items: Type.Array(
    Type.Object({
      name: Type.String(),
      version: Type.String(),
      installed: MaybeText,
      schema: MaybeText,
      says: Type.String(),
      preload: Type.Boolean({ description: 'Has to be named in the spec of the service, since it is loaded at the start' }),
    }),
  ),
  unavailable: Type.Array(Type.Object({ name: Type.String(), instead: Type.String() })),
})
export type Extensions = Static<typeof Extensions>

/** Changes of the schema, applied in one transaction. What each `op` takes: docs/database.md. */
export const ChangeOrder = Type.Object(
  {
    changes: Type.Array(
      Type.Object({
        op: Type.String({ maxLength: 40 }),
        schema: Type.Optional(Type.String()),
        table: Type.Optional(Type.String()),
        name: Type.Optional(Type.String()),
      }),
      { minItems: 1, maxItems: 200 },
    ),
    dry_run: Type.Optional(Type.Boolean({ description: 'Only show the SQL' })),
  },
  closed,
)
export type ChangeOrder = Static<typeof ChangeOrder>
export const ChangeAnswer = Type.Object({ sql: Type.Array(Type.String()), applied: Type.Boolean() })
export type ChangeAnswer = Static<typeof ChangeAnswer>

const Things = Type.Optional(Type.Array(Type.Record(Type.String(), Type.Unknown())))
/** What is in a database; only the kinds that were asked for. Their shapes: docs/database.md. */
export const Objects = Type.Object({
  schemas: Things,
  tables: Things,
  views: Things,
  functions: Things,
  enums: Things,
  roles: Things,
  extensions: Things,
  publications: Things,
})
export type Objects = Static<typeof Objects>
