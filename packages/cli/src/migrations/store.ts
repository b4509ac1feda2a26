import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from 'pg'
import { stop } from '../terminal/errors.ts'

/** A row of `supabase_migrations.schema_migrations`. What the common CLI has written has neither checksum nor time. */
export interface Applied {
  readonly version: string
  readonly name: string
  readonly checksum: string | null
  readonly warnings: readonly string[]
  readonly applied_at: string | null
}

/** The common CLI's tables, with columns of ours that it does not look at. */
const TABLES = `set client_min_messages = warning;
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations
  add column if not exists statements text[], add column if not exists name text, add column if not exists checksum text,
  add column if not exists warnings text[], add column if not exists applied_at timestamptz;
create table if not exists supabase_migrations.seed_files (path text not null primary key, hash text not null);
create table if not exists supabase_migrations.unfinished (version text not null primary key, statements text[] not null);
reset client_min_messages;`

/** What the newest of our tables and columns are: each DDL statement, idle or not, would make the server read its catalogue anew. */
const IS_THERE = `select to_regclass('supabase_migrations.unfinished') is not null and to_regclass('supabase_migrations.seed_files') is not null
  and exists (select from pg_catalog.pg_attribute where attrelid = to_regclass('supabase_migrations.schema_migrations')
    and attname = 'applied_at' and not attisdropped) as there`

/** Two words of an advisory lock, which ends with its session however that ends. */
const LOCK = [0x736f7672, 0x6d696772]
const LOCK_EVERY = 250
/** ms: longer than any statement may take (`wire_statement_timeout`). */
const LOCK_PATIENCE = 900_000

/** One at a time per project. Tried again and again: a session that waits within a statement would stop CREATE INDEX CONCURRENTLY for good. */
export async function lock(client: Client, project: string, note: (text: string) => void): Promise<void> {
  const end = Date.now() + LOCK_PATIENCE
  for (let tries = 0; Date.now() < end; tries++) {
    const { rows } = await client.query<{ got: boolean }>('select pg_catalog.pg_try_advisory_lock($1, $2) as got', LOCK)
    if (rows[0]?.got) return
    if (tries === 0) note(`Another migration of ${project} is running: waiting for it.`)
    await pause(LOCK_EVERY)
  }
  throw stop('migration_busy', { project, seconds: LOCK_PATIENCE / 1000 })
}

export async function makeTables(client: Client): Promise<void> {
  const { rows } = await client.query<{ there: boolean }>(IS_THERE)
  if (!rows[0]?.there) await client.query(TABLES)
}

const isThere = async (client: Client, table: string): Promise<boolean> =>
  (await client.query<{ there: boolean }>('select to_regclass($1) is not null as there', [`supabase_migrations.${table}`])).rows[0]
    ?.there === true

/** In order; none where the table is not there. Also those that the common CLI has written. */
export async function readApplied(client: Client): Promise<Applied[]> {
  if (!(await isThere(client, 'schema_migrations'))) return []
  const { rows } = await client.query<{ row: Partial<Applied> & { version: string } }>(
    'select to_jsonb(m) - \'statements\' as row from supabase_migrations.schema_migrations m order by m.version collate "C"',
  )
  return rows.map(({ row: { version, name, checksum, warnings, applied_at } }) => ({
    version,
    name: name ?? '',
    checksum: checksum ?? null,
    warnings: warnings ?? [],
    applied_at: applied_at ?? null,
  }))
}

/** Version → the statements of it that are done. */
export async function readUnfinished(client: Client): Promise<Map<string, readonly string[]>> {
  const { rows } = await client.query<{ version: string; statements: string[] }>(
    'select version, statements from supabase_migrations.unfinished',
  )
  return new Map(rows.map(({ version, statements }) => [version, statements]))
}

export interface Recorded {
  readonly version: string
  readonly name: string
  readonly checksum: string
  readonly statements: readonly string[]
  readonly warnings: readonly string[]
}

export async function record(client: Client, { version, name, checksum, statements, warnings }: Recorded): Promise<void> {
  await client.query(
    `insert into supabase_migrations.schema_migrations (version, name, statements, checksum, warnings, applied_at)
     values ($1, $2, $3, $4, $5, pg_catalog.clock_timestamp())
     on conflict (version) do update set name = excluded.name, statements = excluded.statements, checksum = excluded.checksum,
       warnings = excluded.warnings, applied_at = excluded.applied_at`,
    [version, name, statements, checksum, warnings],
  )
  await client.query('delete from supabase_migrations.unfinished where version = $1', [version])
}

/** One more statement of a file without a transaction is done. */
export const recordStatement = (client: Client, version: string, statement: string) =>
  client.query(
    `insert into supabase_migrations.unfinished (version, statements) values ($1, array[$2])
     on conflict (version) do update set statements = pg_catalog.array_append(unfinished.statements, $2)`,
    [version, statement],
  )

/** Of those versions; answers which there were. */
export async function forget(client: Client, versions: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ version: string }>(
    `with gone as (delete from supabase_migrations.schema_migrations where version = any ($1) returning version),
       halves as (delete from supabase_migrations.unfinished where version = any ($1) returning version)
     select version from gone union select version from halves order by version`,
    [versions],
  )
  return rows.map(({ version }) => version)
}

/** Path → hash of the seed files that have been run. */
export async function readSeeded(client: Client): Promise<Map<string, string>> {
  const { rows } = await client.query<{ path: string; hash: string }>('select path, hash from supabase_migrations.seed_files')
  return new Map(rows.map(({ path, hash }) => [path, hash]))
}

export const recordSeed = (client: Client, path: string, hash: string) =>
  client.query(
    'insert into supabase_migrations.seed_files (path, hash) values ($1, $2) on conflict (path) do update set hash = excluded.hash',
    [path, hash],
  )
