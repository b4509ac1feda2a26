import type pg from 'pg'
import type { Service } from '../../services.ts'
import { DATABASE } from './names.ts'

/**
 * Sessions say FATAL only (system/0001_roles.sql), since RAISE LOG holds values. While statements are logged the database lets LOG through; that
 * lies in the catalogue and is taken back by the end of the switch, or by the next wake. On its own it shows no statement: `log_statement` does,
 * by ALTER SYSTEM, whose file each start empties. Parameters are never logged, and our superuser's own sessions are left out (connections.ts).
 */
export const SESSIONS_TELL = `exists (
  select from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
  where d.datname = current_database() and s.setrole = 0 and 'log_min_messages=log' = any (s.setconfig)
)`

/** For sessions that begin afterwards. */
export const letSessionsTell = (on: boolean): string =>
  on ? `alter database ${DATABASE} set log_min_messages = 'log';` : `alter database ${DATABASE} reset log_min_messages;`

/** Whether a switch is on. */
export const logsStatements = ({ statementsUntil }: Pick<Service, 'statementsUntil'>, now = Date.now()): boolean =>
  (statementsUntil ?? 0) > now

/** Holds for open sessions too, as far as they may tell; lasts this run at most. */
export async function logStatements(client: pg.Client, on: boolean): Promise<void> {
  await client.query(on ? `alter system set log_statement = 'all'` : 'alter system reset log_statement')
  await client.query('select pg_reload_conf()')
}
