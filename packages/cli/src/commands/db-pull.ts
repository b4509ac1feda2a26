import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from 'pg'
import { findProject, revealConnection } from '../api/find.ts'
import { withClient } from '../database/sql.ts'
import { checksumOf, folderOf, migrationsOf, readMigrations, shown, writeMigration } from '../migrations/files.ts'
import { lock, makeTables, readApplied, record } from '../migrations/store.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { count } from '../terminal/output.ts'
import { dumpTo, majorOf } from './db-dump.ts'
import { DIR } from './db-push.ts'

interface Kept {
  readonly version: string
  readonly name: string | null
  readonly statements: readonly string[] | null
}

/** Files of migrations that the project has and the folder has not, from the statements that are recorded. */
async function fetchMissing(client: Client, folder: string): Promise<string[]> {
  const here = new Set(readMigrations(folder).map(({ version }) => version))
  const { rows } = await client.query<Kept>(
    'select version, name, statements from supabase_migrations.schema_migrations order by version collate "C"',
  )
  const missing = rows.filter(({ version, statements }) => !here.has(version) && /^\d+$/.test(version) && (statements ?? []).length > 0)
  if (missing.length > 0) mkdirSync(migrationsOf(folder), { recursive: true })
  return Promise.all(
    missing.map(async ({ version, name, statements }) => {
      const path = join(migrationsOf(folder), `${version}_${(name || 'migration').replace(/[^\w.-]+/g, '_')}.sql`)
      const sql = `${(statements ?? []).map((text) => text.trim().replace(/;$/, '')).join(';\n\n')};\n`
      writeFileSync(path, sql, { flag: 'wx' })
      // Comments and blanks between statements are not recorded: what is written here is from now on what was applied.
      await client.query('update supabase_migrations.schema_migrations set checksum = $2 where version = $1', [version, checksumOf(sql)])
      return shown(path)
    }),
  )
}

export const pull = command<{ dir?: string }, [project: string, name?: string]>({
  use: 'pull <project> [name]',
  says: 'migrations out of a project: files that are missing here, or the whole schema as the first one',
  examples: ['sovra db pull shop', 'sovra db pull shop baseline'],
  flags: [DIR],
  more: `Migrations that the project has and the folder has not are written from what is recorded of them.
A project without any, and a folder without any: its schema becomes the first migration (by pg_dump), recorded as applied.`,
  async run(context, { dir }, given, name = 'remote_schema') {
    const folder = folderOf(dir)
    const client = await context.client()
    const project = await findProject(client, given)
    const at = await revealConnection(client, project.ref)
    const files = await withClient(at, context.note, async (session) => {
      await lock(session, project.name, context.note)
      if ((await readApplied(session)).length > 0) {
        await makeTables(session)
        return fetchMissing(session, folder)
      }
      if (readMigrations(folder).length > 0)
        throw stop('usage_wrong', {
          reason: `${project.name} has no migrations, but ${shown(migrationsOf(folder))} has`,
          hint: 'Apply them (sovra db push), or record them (sovra db migration repair … --status applied).',
        })
      const major = await majorOf(at, context.note)
      const temporary = join(folder, '.pull.sql')
      mkdirSync(folder, { recursive: true })
      try {
        await dumpTo(temporary, at, major, { format: 'plain', only: 'schema', without: ['supabase_migrations'] })
        const made = writeMigration(folder, name, readFileSync(temporary, 'utf8'))
        await makeTables(session)
        await record(session, { ...made, statements: [], warnings: [] })
        return [made.file]
      } finally {
        rmSync(temporary, { force: true })
      }
    })
    const text = files.length > 0 ? `Wrote ${count(files.length, 'migration')}:\n${files.join('\n')}` : 'Nothing is missing here.'
    return { data: { ref: project.ref, name: project.name, files }, text }
  },
})
