import type { Statistics } from '@sovrabase/contract/database'
import type pg from 'pg'
import { nodePg } from '../../../base/later.ts'

/** Read by our superuser: the catalogue only. bigint as float8, which JavaScript reads as a number. */
const MOST = 100
const PEOPLE = `n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`

const HIT = (hit: string, read: string): string =>
  `case when ${hit} + ${read} > 0 then round((${hit} / (${hit} + ${read})::numeric), 4)::float8 end`
const MS = (since: string): string => `(extract(epoch from clock_timestamp() - ${since}) * 1000)::float8`
const TIME = (column: string): string => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

const QUERIES = {
  database: `select pg_database_size(d.datid)::float8 as size, ${HIT('d.blks_hit', 'd.blks_read')} as cache_hit, d.xact_commit::float8 as commits,
    d.xact_rollback::float8 as rollbacks, d.deadlocks::float8 as deadlocks, d.temp_bytes::float8 as temp_bytes, ${TIME('d.stats_reset')} as since
    from pg_stat_database d where d.datname = current_database()`,
  tables: `select n.nspname as schema, c.relname as name, greatest(s.n_live_tup, 0)::float8 as rows, s.n_dead_tup::float8 as dead_rows,
    pg_total_relation_size(c.oid)::float8 as size, pg_table_size(c.oid)::float8 as table_size, pg_indexes_size(c.oid)::float8 as index_size,
    coalesce(s.seq_scan, 0)::float8 as seq_scans, coalesce(s.idx_scan, 0)::float8 as index_scans, ${HIT('io.heap_blks_hit', 'io.heap_blks_read')} as cache_hit,
    ${TIME('greatest(s.last_vacuum, s.last_autovacuum)')} as last_vacuum, ${TIME('greatest(s.last_analyze, s.last_autoanalyze)')} as last_analyze
    from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_stat_all_tables s on s.relid = c.oid join pg_statio_all_tables io on io.relid = c.oid
    where c.relkind in ('r', 'm') and ${PEOPLE} order by 5 desc, 1, 2 limit ${MOST}`,
  indexes: `select n.nspname as schema, c.relname as name, i.indrelid::regclass::text as "table", pg_relation_size(c.oid)::float8 as size,
    coalesce(s.idx_scan, 0)::float8 as scans, i.indisunique as unique
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace left join pg_stat_all_indexes s on s.indexrelid = c.oid
    where ${PEOPLE} order by 4 desc, 1, 2 limit ${MOST}`,
  connections: `select coalesce(usename::text, '') as role, coalesce(state, '') as state, count(*)::integer as count, max(${MS('backend_start')})::bigint::float8 as oldest_ms
    from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() group by 1, 2 order by 3 desc, 1, 2`,
  locks: `select a.pid, coalesce(a.usename::text, '') as role, pg_blocking_pids(a.pid) as waits_for, greatest(${MS('l.waitstart')}, 0)::bigint::float8 as waiting_ms,
    l.relation::regclass::text as object, l.mode
    from pg_stat_activity a join pg_locks l on l.pid = a.pid and not l.granted where cardinality(pg_blocking_pids(a.pid)) > 0 order by 4 desc`,
} as const

/** The extension's own function, in C: nothing that people made is called. */
const STATEMENTS_SCHEMA = `select n.nspname as schema from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
  where p.proname = 'pg_stat_statements' and l.lanname = 'c' and p.probin = '$libdir/pg_stat_statements'
    and current_setting('shared_preload_libraries') ~ 'pg_stat_statements'`

const statementsFrom = (
  schema: string,
): string => `select s.query as statement, coalesce(r.rolname::text, '') as role, s.calls::float8 as calls,
  round(s.total_exec_time::numeric, 3)::float8 as total_ms, round(s.mean_exec_time::numeric, 3)::float8 as mean_ms, round(s.max_exec_time::numeric, 3)::float8 as max_ms,
  s.rows::float8 as rows, ${HIT('s.shared_blks_hit', 's.shared_blks_read')} as cache_hit
  from ${nodePg().escapeIdentifier(schema)}.pg_stat_statements(true) s left join pg_roles r on r.oid = s.userid
  where s.dbid = (select oid from pg_database where datname = current_database()) and coalesce(r.rolname, '') not in ('sovrabase_admin', 'sovrabase_gateway')
  order by s.total_exec_time desc limit ${MOST}`

const HINT = `Name pg_stat_statements in the spec of the service (\`extensions\`): it is loaded at the next start.`

async function statementsOf(client: pg.Client): Promise<Statistics['statements']> {
  const [found] = (await client.query<{ schema: string }>(STATEMENTS_SCHEMA)).rows
  if (!found) return { available: false, hint: HINT, items: [] }
  const { rows } = await client.query<Statistics['statements']['items'][number]>(statementsFrom(found.schema))
  return { available: true, items: rows }
}

/** Sizes, caches, sessions, locks and the statements that took the most time. */
export async function readStatistics(client: pg.Client, most: number): Promise<Statistics> {
  const ask = async <R extends object>(name: keyof typeof QUERIES) => (await client.query<R>(QUERIES[name])).rows
  const [database] = await ask<Statistics['database']>('database')
  return {
    database: database ?? { size: 0, cache_hit: null, commits: 0, rollbacks: 0, deadlocks: 0, temp_bytes: 0, since: null },
    tables: await ask('tables'),
    indexes: await ask('indexes'),
    connections: { most, items: await ask('connections') },
    locks: await ask('locks'),
    statements: await statementsOf(client),
  }
}
