import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from 'pg'
import { fail } from '../../../base/errors.ts'

/** One file of system/: one transaction, recorded in sovrabase.migrations. */
export interface Migration {
  readonly version: number
  readonly name: string
  readonly sql: string
  /** SHA-256 of the text, hex. */
  readonly checksum: string
}

export interface Applied {
  readonly version: number
  readonly checksum: string
}

const FILE = /^(\d{4})_([a-z0-9_]+)\.sql$/
export const SYSTEM_DIRECTORY = join(import.meta.dirname, 'system')

/** Reads system/NNNN_name.sql in order; a gap or a stray file is a mistake of ours and stops the start. */
export function readMigrations(directory = SYSTEM_DIRECTORY): readonly Migration[] {
  const migrations = readdirSync(directory)
    .toSorted()
    .map((file) => {
      const match = FILE.exec(file)
      if (!match) throw fail('system_schema_files', { reason: `${file} is not named NNNN_name.sql` })
      const sql = readFileSync(join(directory, file), 'utf8')
      return { version: Number(match[1]), name: file, sql, checksum: createHash('sha256').update(sql).digest('hex') }
    })
  const gap = migrations.find((migration, index) => migration.version !== index + 1)
  if (gap) throw fail('system_schema_files', { reason: `${gap.name} is out of order` })
  return migrations
}

const BOOTSTRAP = `create schema sovrabase;
create table sovrabase.migrations (version integer primary key, checksum text not null, applied_at timestamptz not null default now());`

/** One migration and its record as one string: a simple query of several statements is one implicit transaction. */
export function migrationText(migration: Migration): string {
  const first = migration.version === 1 ? `${BOOTSTRAP}\n` : ''
  return `${first}${migration.sql}\n;insert into sovrabase.migrations (version, checksum) values (${migration.version}, '${migration.checksum}');`
}

/**
 * What is still to do on a cluster. Throws `system_schema_newer` when the cluster was written by a newer server, `system_schema_changed`
 * when a file that it has applied is not the one we have.
 */
export function pendingMigrations(all: readonly Migration[], applied: readonly Applied[]): readonly Migration[] {
  const newest = applied.at(-1)?.version ?? 0
  if (newest > all.length) throw fail('system_schema_newer', { version: newest, known: all.length })
  const changed = applied.find((row) => all[row.version - 1]?.checksum !== row.checksum)
  if (changed) throw fail('system_schema_changed', { version: changed.version })
  return all.slice(newest)
}

/**
 * Brings a cluster forward, one transaction a file. A failing file leaves it on the version before and throws `system_schema_failed`
 * with `{ version, wanted, sqlstate }` as details: the runtime marks the project degraded and serves it on.
 * The client is our superuser's (`adminConnection`): safe search_path, no event triggers, no ordinary triggers.
 */
export async function migrateCluster(client: Client, pending: readonly Migration[]): Promise<void> {
  for (const migration of pending) {
    try {
      await client.query(migrationText(migration))
      // A file may have changed role or settings for its transaction only; a session-wide change by mistake ends here.
      await client.query('reset role')
    } catch (error) {
      await client.query('rollback').catch(() => undefined)
      const sqlstate = (error as { code?: string }).code ?? ''
      throw fail(
        'system_schema_failed',
        { file: migration.name, sqlstate },
        { cause: error, details: { version: migration.version - 1, wanted: pending.at(-1)?.version, sqlstate } },
      )
    }
  }
}
