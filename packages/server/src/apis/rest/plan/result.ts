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

const header = `(select coalesce(string_agg(k.key, ','), '') from (select json_object_keys(r.row) as key from (select row_to_json(h) as row from "_sovra_source" as h limit 1) r) k)`
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
export type GuardCode = 'PGRST115' | 'PGRST116' | 'PGRST124'

/** An expression: `rows` where it satisfies `condition`, else an error that guardOf recognises. */
export const guardSql = (code: GuardCode, condition: string, rows = 'count(*)'): string =>
  `case when ${condition} then ${rows} else ('${GUARD} ${code} ' || ${rows})::bigint end`

/** The guard that ended a statement, from PostgreSQL's message; null for any other error. */
export function guardOf(sqlstate: string, message: string): { code: GuardCode; rows: string } | null {
  if (sqlstate !== '22P02') return null
  const found = /"sovrabase (PGRST11[56]|PGRST124) (\d+)"$/.exec(message)
  return found ? { code: found[1] as GuardCode, rows: found[2]! } : null
}

/** What functions, triggers and policies may set for the answer. */
export const responseSql = `nullif(current_setting('response.headers', true), ''), nullif(current_setting('response.status', true), '')`
