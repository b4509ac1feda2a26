/**
 * Extensions that people's SQL asks for and that are not to be had here → what does the same. One that is in neither this list nor among the
 * allowed ones is unknown: PostgreSQL's own error answers it.
 */
export const SUBSTITUTES: Readonly<Record<string, string>> = {
  dblink: 'Copy rows with a program, or keep them in one project: schemas keep them apart.',
  http: 'Send requests from the application, or from a worker that LISTENs.',
  hypopg: '`explain` on a copy of the project: `sovra projects create NAME --from PROJECT --data`.',
  index_advisor: '`explain` on a copy of the project: `sovra projects create NAME --from PROJECT --data`.',
  pg_cron: 'Run it from a scheduler outside: cron with `sovra db exec`, or an application that calls a function of the database.',
  pg_graphql: 'The REST API reads nested rows in one request: resource embedding.',
  pg_jsonschema: "Check constraints on jsonb: `check (jsonb_typeof(data) = 'object' and data ? 'name')`.",
  pg_net: 'Send requests from the application, or from a worker that LISTENs to what a trigger notifies.',
  pg_partman: 'Make partitions from a scheduler outside: `create table … partition of`.',
  pg_repack: '`vacuum full` or `cluster` while few use the table.',
  pg_tle: 'Only the extensions of the list are installed.',
  pgaudit: "The platform's audit log records what operators do; triggers record changes of rows.",
  pgjwt: "pgcrypto's hmac() signs; tokens of users are checked before a request reaches the database.",
  pgmq: 'A table as queue: `select … for update skip locked`.',
  pgroonga: 'pg_trgm and full-text search: docs/search.md.',
  pgsodium: 'pgcrypto encrypts columns; keep the keys with the application.',
  plv8: 'Functions in SQL or plpgsql.',
  postgis: 'cube and earthdistance compute distances on the globe; point, box and GiST indexes are built in.',
  postgres_fdw: 'Copy rows with a program, or keep them in one project: schemas keep them apart.',
  rum: 'GIN indexes: docs/search.md.',
  supabase_vault: 'Keep secrets with the application; pgcrypto encrypts columns.',
  timescaledb: 'Partitions by range of time, with BRIN indexes.',
  vector:
    'Run `make tools` on the server and start it again (it brings pgvector), or let `engines.postgres.bin_dir` name a PostgreSQL 18 with pgvector.',
  wrappers: 'Copy rows with a program.',
}

/** What to do instead; undefined for one that is not on the list. */
export const substituteOf = (name: string): string | undefined => (Object.hasOwn(SUBSTITUTES, name) ? SUBSTITUTES[name] : undefined)
