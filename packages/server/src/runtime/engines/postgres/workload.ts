import type { Workload } from '../../driver.ts'
import type { Service } from '../../services.ts'
import { MAJOR } from './majors.ts'
import { ADMIN, DATABASE, GATEWAY, NOLOGIN_ROLES } from './names.ts'
import { fullSpec, type PostgresSpec } from './spec.ts'

/** Connections kept for the gateway (pg_use_reserved_connections) and for our superuser, beside those of the wire protocol. */
export const RESERVED_GATEWAY = 20
export const RESERVED_ADMIN = 6
export const SOCKET = '.s.PGSQL.5432'

/** Libraries that an extension of the spec needs from the start; the others are loaded at first use. */
const PRELOAD: Readonly<Record<string, { library: string; settings: Record<string, string | number> }>> = {
  pg_stat_statements: {
    library: 'pg_stat_statements',
    settings: { 'pg_stat_statements.max': 1000, 'pg_stat_statements.track_utility': 'off' },
  },
}

const quote = (value: string | number): string => (typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`)

const render = (settings: Record<string, string | number>): string =>
  `${Object.entries(settings)
    .map(([name, value]) => `${name} = ${quote(value)}`)
    .join('\n')}\n`

/** What is the same for each cluster and for the template: small, quiet, durable, reachable through its socket only, UTC whatever the host. What the former major does not know is in NEWER. */
const COMMON: Record<string, string | number> = {
  listen_addresses: '',
  unix_socket_permissions: '0777', // who may enter the socket's directory is the driver's business
  password_encryption: 'scram-sha-256',
  ssl: 'off',
  fsync: 'on',
  full_page_writes: 'on',
  wal_level: 'logical',
  min_wal_size: '2MB',
  checkpoint_timeout: '15min',
  max_wal_senders: 4,
  max_replication_slots: 4,
  max_slot_wal_keep_size: '128MB',
  max_logical_replication_workers: 0,
  max_sync_workers_per_subscription: 0,
  io_method: 'sync',
  io_max_concurrency: 2, // without workers a session has one read under way: more handles are memory
  jit: 'off',
  max_worker_processes: 0,
  max_parallel_workers: 0,
  max_parallel_workers_per_gather: 0,
  max_parallel_maintenance_workers: 0,
  // For SERIALIZABLE alone. Half of the default, for twice the places that people have (see max_connections); each relation may keep as many as by default.
  max_pred_locks_per_transaction: 32,
  max_pred_locks_per_relation: 32,
  autovacuum_worker_slots: 2,
  autovacuum_max_workers: 1,
  bgwriter_delay: '10s',
  bgwriter_lru_maxpages: 0,
  wal_writer_delay: '10s',
  huge_pages: 'off',
  update_process_title: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  datestyle: 'iso, mdy',
  lc_messages: 'C',
  lc_monetary: 'C',
  lc_numeric: 'C',
  lc_time: 'C',
  default_text_search_config: 'pg_catalog.english',
  allow_in_place_tablespaces: 'off',
}

/** Settings that the former major does not know, or knows otherwise. */
const NEWER: Readonly<Record<string, { readonly since: number; readonly before?: string | number }>> = {
  io_method: { since: 18 },
  io_max_concurrency: { since: 18 },
  autovacuum_worker_slots: { since: 18 },
  log_connections: { since: 18, before: 'off' },
}

/** The same, as a cluster of that major takes it. */
function known(settings: Record<string, string | number>, major: number): Record<string, string | number> {
  const entries = Object.entries(settings).flatMap(([name, value]): [string, string | number][] => {
    const { since = 0, before } = NEWER[name] ?? {}
    if (major >= since) return [[name, value]]
    return before === undefined ? [] : [[name, before]]
  })
  return Object.fromEntries(entries)
}

/** No value of the project's people in a log: ERROR lines quote values even when terse, so none are written; no statement, no parameter. */
const LOGGING: Record<string, string | number> = {
  logging_collector: 'off',
  log_destination: 'stderr',
  log_line_prefix: '%m [%p] ',
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_statement: 'none',
  log_min_duration_statement: -1,
  log_min_duration_sample: -1,
  log_transaction_sample_rate: 0,
  log_parameter_max_length: 0,
  log_parameter_max_length_on_error: 0,
  log_connections: '',
  log_disconnections: 'off',
  log_checkpoints: 'off',
  log_autovacuum_min_duration: -1,
  log_lock_waits: 'off',
  log_temp_files: -1,
}

/** MiB. WAL counts as disk of the project until it is recycled: of a small quota it takes a quarter, so that making room is seen. */
const maxWal = (disk: number): number => (disk === 0 ? 128 : Math.max(16, Math.min(128, Math.floor(disk / 4))))

/** postgresql.conf of a cluster: rewritten at each start. */
export function postgresConf(
  partial: Partial<PostgresSpec>,
  extra: Readonly<Record<string, string | number>> = {},
  major: number = MAJOR,
): string {
  const spec = fullSpec(partial)
  const preload = (spec.extensions ?? []).flatMap((name) => PRELOAD[name] ?? [])
  const settings = {
    ...COMMON,
    ...LOGGING,
    // Reserved are the last free ones, whoever has the others: ours count once while they are open and once as reserved.
    max_connections: spec.connections + 2 * (RESERVED_GATEWAY + RESERVED_ADMIN),
    reserved_connections: RESERVED_GATEWAY,
    superuser_reserved_connections: RESERVED_ADMIN,
    shared_buffers: `${spec.shared_buffers}MB`,
    work_mem: `${spec.work_mem}MB`,
    maintenance_work_mem: spec.memory > 0 ? `${Math.max(1, Math.min(64, Math.floor(spec.memory / 8)))}MB` : '64MB',
    max_wal_size: `${maxWal(spec.disk)}MB`,
    temp_file_limit: `${spec.temp_files}MB`,
    ...(preload.length > 0 ? { shared_preload_libraries: preload.map((entry) => entry.library).join(',') } : {}),
    ...Object.assign({}, ...preload.map((entry) => entry.settings)),
    ...extra,
  }
  return render(known(settings, major))
}

/**
 * Who may sign in, by socket only. Our superuser and the gateway reach one database; both have passwords of 192 random bits and more
 * that only the server knows, and the wire listener refuses their names. Physical replication is ours alone.
 */
export const PG_HBA = `${[
  `local replication ${ADMIN} scram-sha-256`,
  'local replication all reject',
  `local ${DATABASE} ${ADMIN},${GATEWAY} scram-sha-256`,
  `local all ${[ADMIN, GATEWAY, ...NOLOGIN_ROLES].join(',')} reject`,
  'local all all scram-sha-256',
].join('\n')}\n`

export interface WorkloadOptions {
  /** Name of the template a new volume is filled from. */
  readonly template: string
  /** Settings that the host's PostgreSQL needs (extension_control_path of a distribution's). */
  readonly settings?: Readonly<Record<string, string | number>>
  /** Of new volumes, and which others there are programs for. */
  readonly major?: number
  readonly others?: readonly number[]
}

/** Written by initdb, never changed: the major that may open the directory. */
const VERSION_FILE = 'PG_VERSION'

/** Pure: a cluster as a workload. What a major that is not the one of new volumes needs is said for each. */
export function postgresWorkload(service: Service<Partial<PostgresSpec>>, options: WorkloadOptions): Workload {
  const spec = fullSpec(service.spec)
  const { major = MAJOR, others = [], settings } = options
  const of = (version: number, program: string, more?: Readonly<Record<string, string | number>>) => ({
    command: [program, '-D', '{volume}', '-k', '{runtime}'],
    conf: postgresConf(spec, more, version),
  })
  const own = of(major, 'postgres', settings)
  // A distribution's settings name its own directories.
  const { extension_control_path: _, ...plain } = settings ?? {}
  const known = others.map((version) => {
    const { command, conf } = of(version, `postgres-${version}`, plain)
    return [String(version), { command, files: { 'postgresql.conf': conf } }] as const
  })
  return {
    id: service.id,
    engine: 'postgres',
    project: service.project,
    volume: service.volume,
    template: options.template,
    command: own.command,
    versions: { file: VERSION_FILE, own: String(major), known: Object.fromEntries(known) },
    environment: {},
    files: {
      'postgresql.conf': own.conf,
      'pg_hba.conf': PG_HBA,
      'pg_ident.conf': '',
      // ALTER SYSTEM is our superuser's only; what it sets (read-only over quota) lasts one run.
      'postgresql.auto.conf': '',
    },
    socket: SOCKET,
    pidFile: 'postmaster.pid',
    stop: [
      { signal: 'SIGINT', wait: 20_000 },
      { signal: 'SIGQUIT', wait: 5_000 },
      { signal: 'SIGKILL', wait: 5_000 },
    ],
    limits: { memory: spec.memory, disk: spec.disk },
  }
}
