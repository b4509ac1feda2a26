import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { MIGRATIONS } from './migrations/index.ts'

/** Pages a step; all at once: another step would begin anew after each write to the database. */
const ALL_PAGES = 1 << 30
const NAME = /^metadata-\d{8}T\d{6}Z-[a-z0-9-]+\.sqlite$/
const MODE = { file: 0o600, folder: 0o700 } as const

/** 20261124T031500Z: sorts by time. */
export const stampOf = (now: number): string => new Date(now).toISOString().replace(/[-:]|\.\d+/g, '')

/** SQLite's online backup: one consistent state, while others write. */
export async function copyDatabase(file: string, to: string): Promise<void> {
  const source = new DatabaseSync(file, { readOnly: true })
  try {
    await backup(source, to, { rate: ALL_PAGES })
    await chmod(to, MODE.file)
  } finally {
    source.close()
  }
}

/** Writes one consistent state of the metadata to a file that is not there yet. */
export type Copier = (to: string) => Promise<void>

export interface SnapshotOptions {
  readonly dir: string
  /** What it was made for: part of its name. */
  readonly label: string
  /** So many of the newest stay. */
  readonly keep: number
  readonly now?: number
}

/** A copy of the metadata beside it, whole or not there at all; answers its file. */
export async function snapshotMetadata(copy: Copier, { dir, label, keep, now = Date.now() }: SnapshotOptions): Promise<string> {
  await mkdir(dir, { recursive: true, mode: MODE.folder })
  const name = `metadata-${stampOf(now)}-${label}.sqlite`
  const part = join(dir, `.${name}.part`)
  await rm(part, { force: true })
  await copy(part)
  await rename(part, join(dir, name))
  const old = (await readdir(dir)).filter((one) => NAME.test(one)).sort()
  for (const one of old.slice(0, Math.max(0, old.length - keep))) await rm(join(dir, one), { force: true })
  return join(dir, name)
}

/** The database as it was at the snapshot; nobody may have it open. What it was is gone: only where a migration has failed half-way. */
export async function putBackSnapshot(file: string, snapshot: string): Promise<void> {
  const part = `${file}.part`
  await rm(part, { force: true })
  await copyDatabase(snapshot, part)
  for (const more of ['-wal', '-shm']) await rm(file + more, { force: true })
  await rename(part, file)
}

/** Names of the migrations that the file has seen; undefined: it is no database yet. */
export function recordedIn(file: string): ReadonlySet<string> | undefined {
  if (!existsSync(file)) return undefined
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return new Set(
      database
        .prepare('select name from migrations')
        .all()
        .map((row) => String(row.name)),
    )
  } catch {
    return undefined
  } finally {
    database.close()
  }
}

/** The first migration that the database has not seen; undefined: none, or it is no database yet. */
function pendingIn(file: string, names: readonly string[]): string | undefined {
  const done = recordedIn(file)
  return done === undefined || done.size === 0 ? undefined : names.find((name) => !done.has(name))
}

export const beforeLabel = (migration: string): string =>
  `before-${migration
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 60)}`

/** Before the schema changes: what the former version of the program can go back to. Answers the file, if any was needed. */
export async function snapshotBeforeMigrations(
  file: string,
  { dir, keep, names = MIGRATIONS.map(({ name }) => name) }: { dir: string; keep: number; names?: readonly string[] },
): Promise<string | undefined> {
  const pending = keep === 0 ? undefined : pendingIn(file, names)
  return pending === undefined
    ? undefined
    : await snapshotMetadata((to) => copyDatabase(file, to), { dir, keep, label: beforeLabel(pending) })
}
