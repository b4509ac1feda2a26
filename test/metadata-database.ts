import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import { openDatabase } from '../packages/server/src/base/db/database.ts'
import { server as engine } from './engines.ts'

/** Variables that point a server to an empty metadata database, and how to remove that. */
export async function databaseFor(
  name: 'sqlite' | 'postgresql' | 'mariadb',
): Promise<{ env: Record<string, string>; remove(): Promise<void> }> {
  if (name === 'sqlite') return { env: {}, remove: async () => {} }
  const url = await engine(name)
  const type = name === 'mariadb' ? 'mysql' : 'postgresql'
  const database = `e2e${randomBytes(6).toString('hex')}`
  const admin = openDatabase<unknown>({ type, connection_string: url(name === 'mariadb' ? 'mysql' : 'postgres'), max_connections: 1 })
  await sql.raw(`create database ${database}`).execute(admin.kysely)
  return {
    env: { SOVRABASE_DATABASE_TYPE: type, SOVRABASE_DATABASE_CONNECTION_STRING: url(database) },
    async remove() {
      await sql.raw(`drop database ${database}${name === 'postgresql' ? ' with (force)' : ''}`).execute(admin.kysely)
      await admin.close()
    },
  }
}
