import { sql } from 'kysely'
import { fail } from '../errors.ts'
import type { Database } from './database.ts'

/** Of each kind of server, the oldest that our statements are written for. */
const OLDEST = { PostgreSQL: [13, 0], MariaDB: [10, 5], MySQL: [8, 0] } as const

/** `15.4 (Debian …)`, `10.11.6-MariaDB-0+deb12u1`, `8.0.36`: throws `metadata_too_old`. */
export function checkServerVersion(dialect: 'postgresql' | 'mysql', version: string): void {
  const kind = dialect === 'postgresql' ? 'PostgreSQL' : /mariadb/i.test(version) ? 'MariaDB' : 'MySQL'
  const [major = 0, minor = 0] = version.split(/[^0-9]+/).map(Number)
  const [least, more] = OLDEST[kind]
  if (major > least || (major === least && minor >= more)) return
  throw fail('metadata_too_old', { found: `${kind} ${major}.${minor}`, needed: `${kind} ${least}${more === 0 ? '' : `.${more}`}` })
}

/** Before the first migration: later the server would refuse some statement, half-way. */
export async function refuseOldServer<T>({ dialect, kysely }: Database<T>): Promise<void> {
  if (dialect === 'sqlite') return
  const asked =
    dialect === 'postgresql'
      ? sql<{ version: string }>`select current_setting('server_version') as version`
      : sql<{ version: string }>`select version() as version`
  const { rows } = await asked.execute(kysely)
  checkServerVersion(dialect, rows[0]?.version ?? '')
}
