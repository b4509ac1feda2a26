import { mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Database, type DatabaseOptions, openDatabase } from '../base/db/database.ts'
import { migrate, recordedNames } from '../base/db/migrate.ts'
import { refuseOldServer } from '../base/db/server-version.ts'
import { fail, isSovraError } from '../base/errors.ts'
import { type Log, silentLog } from '../base/log.ts'
import { MIGRATIONS } from './migrations/index.ts'
import type { Tables } from './tables.ts'

export type Metadata = Database<Tables>

/** What of config.yaml says where the metadata is. */
export interface MetadataConfig {
  readonly database: { readonly type: 'sqlite' | 'postgresql' | 'mysql'; readonly connection_string?: string | null }
  readonly data: { readonly dir: string }
}

export interface OpenOptions {
  readonly log?: Log
  /** Default: the migrations of this version. */
  readonly migrations?: typeof MIGRATIONS
  /** Called before the schema of a database that has data changes, with the first migration that it has not seen. */
  readonly before?: (metadata: Metadata, migration: string) => Promise<void>
  /** How long to wait for a database server that does not answer yet (both may start with the machine), ms; default 15 s. */
  readonly patience?: number
}

const PATIENCE = 15_000
const ASK_AGAIN = 250

/** Undefined: none, or nothing is there yet. */
async function pendingIn(metadata: Metadata, migrations: typeof MIGRATIONS): Promise<string | undefined> {
  const done = await recordedNames(metadata)
  return done.size === 0 ? undefined : migrations.find(({ name }) => !done.has(name))?.name
}

/** Brings it forward as soon as it answers. */
async function bring(
  metadata: Metadata,
  { log = silentLog, migrations = MIGRATIONS, before, patience = PATIENCE }: OpenOptions,
): Promise<void> {
  const end = Date.now() + patience
  for (let tried = 1; ; tried++) {
    try {
      await refuseOldServer(metadata)
      const pending = before ? await pendingIn(metadata, migrations) : undefined
      if (pending !== undefined) await before?.(metadata, pending)
      await migrate(metadata, migrations, { log })
      return
    } catch (error) {
      if (!isSovraError(error, 'metadata_unavailable') || Date.now() > end) throw error
      if (tried === 1) log.warn({ err: error }, 'the metadata database does not answer yet')
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN))
  }
}

const FILE = 'metadata.sqlite'
const PRIVATE = 0o700

/** SQLite: a path, relative to the data directory, with or without `file:` or `sqlite:` before it; default `metadata.sqlite` there. */
export function metadataOptions({ database, data }: MetadataConfig): DatabaseOptions {
  const text = database.connection_string ?? ''
  if (database.type === 'sqlite') {
    const path = text.replace(/^(sqlite|file):(\/\/(?=\/)|\/\/)?/, '')
    return { type: 'sqlite', file: path === ':memory:' ? path : resolve(data.dir, path === '' ? FILE : path) }
  }
  if (text === '') throw fail('metadata_malformed', { reason: 'it is empty' })
  return { type: database.type, connection_string: text }
}

/** Opens the metadata database and brings it forward. Errors: metadata_unavailable, metadata_refused, metadata_newer, migration_failed. */
export async function openMetadata(config: MetadataConfig, options: OpenOptions = {}): Promise<Metadata> {
  const where = metadataOptions(config)
  if (where.type === 'sqlite' && where.file !== ':memory:') mkdirSync(dirname(where.file), { recursive: true, mode: PRIVATE })
  const metadata = openDatabase<Tables>(where)
  try {
    await bring(metadata, options)
  } catch (error) {
    await metadata.close().catch(() => {})
    throw error
  }
  return metadata
}
