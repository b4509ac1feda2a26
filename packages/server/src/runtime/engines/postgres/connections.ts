import type { ClientConfig } from 'pg'
import { fail } from '../../../base/errors.ts'
import { nodePg } from '../../../base/later.ts'
import type { Endpoint } from '../../driver.ts'
import type { Service } from '../../services.ts'
import { ADMIN, DATABASE } from './names.ts'

const CONNECT_MS = 10_000

const options = (settings: Record<string, string>): string =>
  Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\ ]/g, '\\$&')}`)
    .join(' ')

/**
 * Settings of every session of our superuser. They ride in the start-up packet, which wins over ALTER ROLE/DATABASE SET.
 * - search_path: nothing that a project's people made is found by an unqualified name.
 * - event_triggers, session_replication_role: no trigger of theirs runs with our rights (they hold TRIGGER on auth.*). Foreign keys are
 *   triggers too: superuser sessions do not check them, one more reason to write rows of system tables as their owners.
 */
const ADMIN_SETTINGS = {
  search_path: 'pg_catalog,pg_temp',
  role: 'none',
  event_triggers: 'off',
  session_replication_role: 'replica',
  default_transaction_read_only: 'off',
  default_transaction_isolation: 'read committed',
  statement_timeout: '60000',
  lock_timeout: '10000',
  client_min_messages: 'error',
  log_statement: 'none',
}

/**
 * Settings of the gateway's sessions, beside those of its pool. They win over what a function that runs there may have set for the sign-in
 * role itself. `default_transaction_read_only` off: the quota is decided for each request (`Cluster.full`).
 */
export const GATEWAY_SETTINGS: Readonly<Record<string, string>> = {
  role: 'none',
  default_transaction_read_only: 'off',
  default_transaction_isolation: 'read committed',
  client_min_messages: 'error',
}

export const secretOf = (service: Pick<Service, 'secrets' | 'id'>, name: string): string => {
  const secret = service.secrets[name]
  if (!secret) throw fail('internal', {}, { cause: `service ${service.id} lacks the secret ${name}` })
  return secret
}

/**
 * Connection of our superuser. Rules for whoever uses it: catalogue and `sovrabase.*` only; never a table, view, function, cast or
 * operator of the project's people (SET ROLE is no shelter: their code can RESET it), and no write to a table on which they may have triggers.
 */
export const adminConnection = (at: Endpoint, password: string): ClientConfig => ({
  host: at.host,
  port: at.port,
  database: DATABASE,
  user: ADMIN,
  password,
  application_name: 'sovrabase',
  connectionTimeoutMillis: CONNECT_MS,
  options: options(ADMIN_SETTINGS),
})

/** Settings of a running cluster until it sleeps: its next start writes the file of ALTER SYSTEM anew. Names and values are our own. */
export async function setForRun(at: Endpoint, password: string, settings: Readonly<Record<string, string>>): Promise<void> {
  const client = new (nodePg().Client)(adminConnection(at, password))
  await client.connect()
  try {
    for (const [name, value] of Object.entries(settings)) await client.query(`alter system set ${name} = '${value}'`)
    await client.query('select pg_reload_conf()')
  } finally {
    await client.end().catch(() => {})
  }
}
