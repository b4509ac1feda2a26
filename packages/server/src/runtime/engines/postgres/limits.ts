import type pg from 'pg'
import { ADMIN, GATEWAY } from './names.ts'

/** What people can unset for themselves and the server therefore looks after, in ms; 0: no limit. */
export interface WatchLimits {
  readonly statement: number
  readonly idleTransaction: number
  /** End sessions that are writing: the quota and its reserve are used up and the cluster still grows. */
  readonly endWriters: boolean
}

export interface Watched {
  /** ms since the epoch of the last statement on connections of people; now while one runs; 0 without connections. */
  readonly lastActivity: number
  readonly connections: number
  /** Sessions that were cancelled or ended in this look. */
  readonly ended: number
}

/** A statement that catches its cancellation is ended with its connection after this much more. */
const GRACE_MS = 10_000

/**
 * One query for all: sessions of people (neither ours nor the gateway's, whose time-out is set with each request) that run over a limit
 * are first cancelled, then ended. Reads the catalogue only: nothing that people made is run. session activity is shown for client
 * backends in every database.
 */
const WATCH = `with seen as materialized (
  select pid, state, state_change, backend_xid,
    extract(epoch from clock_timestamp() - query_start) * 1000 as running,
    extract(epoch from clock_timestamp() - state_change) * 1000 as standing
  from pg_stat_activity
  where backend_type = 'client backend' and pid <> pg_backend_pid() and usename not in ('${ADMIN}', '${GATEWAY}')
), done as materialized (
  select case
    when $3::boolean and backend_xid is not null then pg_terminate_backend(pid)
    when $1::bigint > 0 and state in ('active', 'fastpath function call') and running > $1::bigint + ${GRACE_MS} then pg_terminate_backend(pid)
    when $1::bigint > 0 and state in ('active', 'fastpath function call') and running > $1::bigint then pg_cancel_backend(pid)
    when $2::bigint > 0 and state like 'idle in transaction%' and standing > $2::bigint then pg_terminate_backend(pid)
    else false
  end as ended
  from seen
)
select
  (select count(*) from seen)::integer as connections,
  (select count(*) from done where ended)::integer as ended,
  coalesce((
    select extract(epoch from max(case when state in ('active', 'fastpath function call') then clock_timestamp() else state_change end)) * 1000 from seen
  ), 0)::float8 as "lastActivity"`

/** Looks once at the sessions of people and holds the limits against them. */
export async function watchSessions(client: pg.Client, limits: WatchLimits): Promise<Watched> {
  const values = [limits.statement, limits.idleTransaction, limits.endWriters]
  const { rows } = await client.query<Watched>({ name: 'watch', text: WATCH, values })
  return rows[0] ?? { lastActivity: 0, connections: 0, ended: 0 }
}

/** Sees and changes nothing. */
export const NO_LIMITS: WatchLimits = { statement: 0, idleTransaction: 0, endWriters: false }

const MIB = 1024 * 1024
/** Over the quota by this part and this much (deleting writes WAL, which counts until it is recycled), writers are ended while it grows. */
const RESERVE_PART = 0.1
const RESERVE_BYTES = 160 * MIB
/** Lifted again a little below, so that it does not flap. */
const RELEASE_PART = 0.95

/** Where a cluster stands with its disk. */
export interface QuotaState {
  readonly full: boolean
  /** The reserve is used up too, and it still grows. */
  readonly endWriters: boolean
  readonly disk: number
}

export const EMPTY_QUOTA: QuotaState = { full: false, endWriters: false, disk: 0 }

/** Pure: the next state from what is on disk now (bytes) and the quota (MiB; 0: none). */
export function nextQuota(former: QuotaState, disk: number, quotaMiB: number): QuotaState {
  if (quotaMiB === 0) return { full: false, endWriters: false, disk }
  const limit = quotaMiB * MIB
  const full = former.full ? disk > limit * RELEASE_PART : disk > limit
  const overReserve = disk > limit * (1 + RESERVE_PART) + RESERVE_BYTES
  return { full, endWriters: full && overReserve && disk > former.disk, disk }
}

/**
 * Makes every new transaction of the cluster read-only by default, or lifts that; open sessions see it at once. What it does and does not:
 * - API: the gateway refuses writes but DELETE itself (`Cluster.full`).
 * - Wire protocol: writes fail with 25006. Who wants to free space says `SET default_transaction_read_only = off` (or BEGIN READ WRITE)
 *   and may DELETE, TRUNCATE, DROP, VACUUM; PostgreSQL has no setting that allows only these. Whoever uses that to write on is ended by
 *   the watchdog once the reserve is used up and the disk still grows.
 * ALTER SYSTEM writes postgresql.auto.conf, which each start empties: a state of this run only.
 */
export async function setReadOnly(client: pg.Client, on: boolean): Promise<void> {
  await client.query(on ? 'alter system set default_transaction_read_only = on' : 'alter system reset default_transaction_read_only')
  await client.query('select pg_reload_conf()')
}
