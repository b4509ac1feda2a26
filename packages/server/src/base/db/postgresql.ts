import { CompiledQuery, type Dialect, PostgresDialect } from 'kysely'
import type pg from 'pg'
import { fail } from '../errors.ts'
import { nodePg } from '../later.ts'

/** Where a PostgreSQL is: a URL, or its parts (a project's own cluster: directory of the socket as host, and a password). */
export interface PostgresqlOptions {
  readonly type: 'postgresql'
  readonly connection_string?: string
  readonly host?: string
  readonly port?: number
  readonly user?: string
  readonly password?: string
  readonly database?: string
  /** Default 10. */
  readonly max_connections?: number
  /** Schemas in which unqualified names are looked for; default: the server's. */
  readonly search_path?: readonly string[]
}

const CONNECT_PATIENCE = 10_000
const IDLE = 30_000
const INT8 = 20
const NUMERIC = 1700
/** A transaction that its owner left standing must not hold its locks for ever. */
const SESSION =
  "select set_config('timezone', 'UTC', false), set_config('idle_in_transaction_session_timeout', '60s', false), set_config('lock_timeout', '20s', false)"

const quoteName = (name: string) => `"${name.replaceAll('"', '""')}"`

/** bigint and sums of it are numbers, as on the other databases: times in ms and counts stay far below 2^53. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8 || oid === NUMERIC
      ? Number
      : nodePg().types.getTypeParser(oid, format as 'text')) as pg.CustomTypesConfig['getTypeParser'],
}

export function clientConfig(options: PostgresqlOptions): pg.ClientConfig {
  const { connection_string, host, port, user, password, database } = options
  if (connection_string !== undefined && !/^postgres(ql)?:\/\//.test(connection_string)) {
    throw fail('metadata_malformed', { reason: 'it does not begin with postgresql://' })
  }
  const where = connection_string === undefined ? { host, port, user, password, database } : { connectionString: connection_string }
  return { ...where, types, application_name: 'sovrabase', connectionTimeoutMillis: CONNECT_PATIENCE, keepAlive: true }
}

export function postgresqlDialect(options: PostgresqlOptions): Dialect {
  const pool = new (nodePg().Pool)({ ...clientConfig(options), max: options.max_connections ?? 10, idleTimeoutMillis: IDLE })
  // An idle connection that ends is taken out by the pool; without a listener it would end the process.
  pool.on('error', () => {})
  // So does one that ends in use: what it was asked fails, and that is where it is told.
  pool.on('connect', (client) => client.on('error', () => {}))
  const path = options.search_path?.map(quoteName).join(', ')
  return new PostgresDialect({
    pool,
    async onCreateConnection(connection) {
      await connection.executeQuery(CompiledQuery.raw(SESSION))
      if (path !== undefined) await connection.executeQuery(CompiledQuery.raw("select set_config('search_path', $1, false)", [path]))
    },
  })
}

const RECONNECT_FIRST = 100
const RECONNECT_MOST = 5_000

/**
 * Hears a channel on a connection of its own, which is made again when it ends. `connected` is called each time it stands: what was sent
 * while it did not is lost, so the caller looks for itself. Answers how to end it.
 */
export function listen(
  options: PostgresqlOptions,
  channel: string,
  heard: (payload: string) => void,
  connected: () => void,
): () => Promise<void> {
  let client: pg.Client | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let wait = RECONNECT_FIRST

  function again(lost: pg.Client): void {
    if (closed || client !== lost) return
    client = undefined
    lost.end().catch(() => {})
    timer = setTimeout(connect, wait * (0.5 + Math.random()))
    wait = Math.min(wait * 2, RECONNECT_MOST)
  }

  function connect(): void {
    const mine = new (nodePg().Client)(clientConfig(options))
    client = mine
    mine.on('error', () => again(mine))
    mine.on('end', () => again(mine))
    mine.on('notification', (message) => heard(message.payload ?? ''))
    mine
      .connect()
      .then(() => mine.query(`listen ${quoteName(channel)}`))
      .then(() => {
        wait = RECONNECT_FIRST
        if (!closed) connected()
      })
      .catch(() => again(mine))
  }

  connect()
  return async () => {
    closed = true
    clearTimeout(timer)
    const last = client
    client = undefined
    await last?.end().catch(() => {})
  }
}
