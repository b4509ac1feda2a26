import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { MIGRATIONS } from './migrations/index.ts'
import { type OpenOptions, openMetadata } from './open.ts'
import { copyDatabase, recordedIn } from './snapshot.ts'

/**
 * Brings a copy of a SQLite file forward, while another server works with the file: what fails here would fail in earnest, when that server
 * has given its place up. Answers whether there is anything to bring forward. Errors: as `openMetadata`.
 */
export async function rehearseMigrations(
  file: string,
  dir: string,
  { migrations = MIGRATIONS, ...options }: OpenOptions = {},
): Promise<boolean> {
  const done = recordedIn(file)
  if (done === undefined || (done.size === migrations.length && migrations.every(({ name }) => done.has(name)))) return false
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const copy = join(dir, '.rehearsal.sqlite')
  const remove = () => Promise.all(['', '-wal', '-shm', '-journal'].map((end) => rm(copy + end, { force: true })))
  await remove()
  try {
    await copyDatabase(file, copy)
    const place = { database: { type: 'sqlite' as const, connection_string: copy }, data: { dir } }
    await (await openMetadata(place, { ...options, migrations })).close()
    return true
  } finally {
    await remove()
  }
}
