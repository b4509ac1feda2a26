import type { Media } from '../parse/media.ts'
import { ident, qualified } from './sql.ts'

/** How the rows of `"_sovra"` become the answer's body. Values are printed by PostgreSQL alone. */
export const ROWS = '"_sovra_t"'

export function bodySql(media: Media): string {
  const rows = `json_agg(${ROWS})`
  switch (media.kind) {
    case 'json':
    case 'openapi':
      return `coalesce(${rows}, '[]')::text`
    case 'array':
      return `coalesce(json_strip_nulls(${rows}), '[]')::text`
    case 'object':
      return `coalesce((${media.stripped ? `json_strip_nulls(${rows})` : rows} -> 0)::text, 'null')`
    case 'csv':
      return csvSql
    case 'geojson':
      return `json_build_object('type', 'FeatureCollection', 'features', coalesce(json_agg(${ident(media.schema)}.st_asgeojson(${ROWS})::json), '[]'))::text`
    case 'custom': {
      const row = media.rows === null ? ROWS : `${ROWS}::${qualified(media.rows.schema, media.rows.name)}`
      return `coalesce(${qualified(media.handler.schema, media.handler.name)}(${row})::text, '')`
    }
    case 'plan':
      return bodySql(media.of)
    case 'raw':
      return `''`
  }
}

const header = `(select coalesce(string_agg(k.key, ','), '') from (select json_object_keys(r.row) as key from (select row_to_json(h.*) as row from "_sovra_source" as h limit 1) r) k)`
const lines = `coalesce(string_agg(substring(${ROWS}::text, 2, length(${ROWS}::text) - 2), E'\\n'), '')`
const csvSql = `${header} || E'\\n' || ${lines}`

/** The statement itself, or EXPLAIN of it where its plan is asked for. */
export function askedSql(media: Media, sql: string): string {
  if (media.kind !== 'plan') return sql
  return `explain (${[`format ${media.format}`, ...media.options].join(', ')}) ${sql}`
}

/** What the rows are made into, plan or not. */
export const shownMedia = (media: Media): Media => (media.kind === 'plan' ? media.of : media)

/** Raised inside the statement itself, so that a write that must not be is rolled back with it: see guardOf. */
const GUARD = 'sovrabase'
export type GuardCode = 'PGRST103' | 'PGRST111' | 'PGRST112' | 'PGRST115' | 'PGRST116' | 'PGRST124'

/** An expression: `rows` where it satisfies `condition`, else an error that guardOf recognises. */
export const guardSql = (code: GuardCode, condition: string, rows = 'count(*)'): string =>
  `case when ${condition} then ${rows} else ('${GUARD} ${code} ' || ${rows})::bigint end`

/** The guard that ended a statement, from PostgreSQL's message; null for any other error. */
export function guardOf(sqlstate: string, message: string): { code: GuardCode; rows: string; more: string } | null {
  if (sqlstate !== '22P02') return null
  const found = /"sovrabase (PGRST103|PGRST11[1256]|PGRST124) (\d+)(?: (\d+))?"$/.exec(message)
  return found ? { code: found[1] as GuardCode, rows: found[2]!, more: found[3] ?? '' } : null
}

/** What functions, triggers and policies may set for the answer. */
export const responseSql = `nullif(current_setting('response.headers', true), ''), nullif(current_setting('response.status', true), '')`

const HEADERS = `nullif(current_setting('response.headers', true), '')`
const STATUS = `nullif(current_setting('response.status', true), '')`
/** A name alone would be a column of the rows that are answered, where they have one like it. Each object of the list has one key, a header's name, whose value is a text without control characters. */
const HEADERS_SOUND = `not exists (select from json_array_elements(h.h::json) as e where case when json_typeof(e.value) = 'object' then (
  select count(*) <> 1 or count(*) filter (where json_typeof(p.value) = 'string' and p.key ~ '^[-!#$%&''*+.^_\`|~0-9A-Za-z]+$' and (p.value #>> '{}') !~ '[[:cntrl:]]') <> 1
  from json_each(e.value) as p) else true end)`

/** The same for a statement that may have written: what is no answer undoes it. Before PostgreSQL 16 JSON cannot be asked whether it is some. */
export const guardedResponseSql = (version: number): string => {
  const status = `case when ${STATUS} !~ '^[2-5][0-9][0-9]$' then ('${GUARD} PGRST112 ' || length(${STATUS}))::bigint::text else ${STATUS} end`
  if (version < 160_000) return `${HEADERS}, ${status}`
  const sound = `case when h.h is json array then ${HEADERS_SOUND} else false end`
  const headers = `case when ${HEADERS} is not null then (select case when ${sound} then h.h else ('${GUARD} PGRST111 ' || length(h.h))::bigint::text end from (select ${HEADERS} as h) as h) end`
  return `${headers}, ${status}`
}

/** The number of rows, unless the window begins past it. */
export const withinSql = (total: string, offset: string): string =>
  `(select case when n.n >= ${offset}::bigint then n.n else ('${GUARD} PGRST103 ' || n.n || ' ' || ${offset}::bigint)::bigint end from (select ${total} as n) as n)`
