import { CompiledQuery, type Dialect, MysqlDialect, type MysqlPool } from 'kysely'
import { fail } from '../errors.ts'

export interface MysqlOptions {
  readonly type: 'mysql'
  readonly connection_string: string
  /** Default 10. */
  readonly max_connections?: number
}

const CONNECT_PATIENCE = 10_000

/** The same on every server, whatever its configuration says. */
const SESSION = [
  'set session transaction isolation level read committed',
  "set session sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', innodb_lock_wait_timeout = 20",
]

async function makePool(options: MysqlOptions): Promise<MysqlPool> {
  // Loaded only where it is used: SQLite and PostgreSQL installs never pay for it.
  const { createPool } = await import('mysql2')
  return createPool({
    uri: options.connection_string,
    connectionLimit: options.max_connections ?? 10,
    connectTimeout: CONNECT_PATIENCE,
    charset: 'UTF8MB4_BIN',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    decimalNumbers: true,
    enableKeepAlive: true,
    // An object as a parameter is text, never a piece of SQL.
    stringifyObjects: true,
    multipleStatements: false,
  }) as unknown as MysqlPool
}

/** MySQL 8 and MariaDB 10.6 or later. */
export function mysqlDialect(options: MysqlOptions): Dialect {
  if (!/^(mysql|mariadb):\/\//.test(options.connection_string))
    throw fail('metadata_malformed', { reason: 'it does not begin with mysql://' })
  return new MysqlDialect({
    pool: () => makePool(options),
    async onCreateConnection(connection) {
      for (const statement of SESSION) await connection.executeQuery(CompiledQuery.raw(statement))
    },
  })
}
