import type { Project } from '@sovrabase/contract/project'
import { findProject, revealConnection } from '../api/find.ts'
import { withClient } from '../database/sql.ts'
import { folderOf, migrationsOf, readMigrations, readSeeds, shown } from '../migrations/files.ts'
import { bringUp, type Progress, plantSeeds, type Seeded } from '../migrations/run.ts'
import { type Answer, type Context, command, type Flag } from '../program/command.ts'
import { count } from '../terminal/output.ts'
import { seededText } from './db-seed.ts'

export interface UpOptions {
  readonly dir?: string
  readonly includeAll?: boolean
  readonly dryRun?: boolean
}

export const DIR: Flag = ['--dir <folder>', 'the folder that holds migrations/ and seed.sql; without it supabase/, here or above']
export const UP_FLAGS: readonly Flag[] = [
  DIR,
  ['--include-all', 'also those that are older than the last one applied'],
  ['--dry-run', 'only say what would be applied'],
]

export function progressText({ applied, pending, warnings }: Progress, project: string): string {
  const lines = warnings.map(({ text }) => `warning: ${text}`)
  if (applied.length > 0) lines.push(`Applied ${count(applied.length, 'migration')} to ${project}: ${applied.join(' ')}`)
  else if (pending.length > 0) lines.push(`Would apply ${count(pending.length, 'migration')} to ${project}: ${pending.join(' ')}`)
  else lines.push(`${project} is current.`)
  return lines.join('\n')
}

/** Applies what the project has not, then the seeds where they are wanted. */
export async function upOne(context: Context, options: UpOptions & { readonly seed?: boolean }, given: string): Promise<Answer> {
  const folder = folderOf(options.dir)
  const files = readMigrations(folder, context.note)
  const seeds = options.seed ? readSeeds(folder, []) : []
  const client = await context.client()
  const { ref, name } = await findProject(client, given)
  const at = await revealConnection(client, ref)
  const { includeAll = false, dryRun = false } = options
  return withClient(at, context.note, async (session) => {
    const begins = ({ file }: { file: string }) => context.note(`Applying ${file}`)
    const progress = await bringUp(session, files, { project: name, folder, includeAll, dryRun, note: context.note, begins })
    const seeded = options.seed && !dryRun ? await plantSeeds(session, seeds, { project: name, again: false, note: context.note }) : null
    const nothing = files.length === 0 ? [`There are no migrations in ${shown(migrationsOf(folder))}.`] : []
    const text = [...nothing, progressText(progress, name), ...(seeded ? [seededText(seeded)] : [])].join('\n')
    return { data: { ref, name, ...progress, seeded } satisfies PushData, text }
  })
}

type PushData = Pick<Project, 'ref' | 'name'> & Progress & { readonly seeded: Seeded | null }

export const push = command<UpOptions & { seed?: boolean }, [project: string]>({
  use: 'push <project>',
  says: 'apply the migrations that the project has not',
  examples: ['sovra db push shop --dry-run', 'sovra db push shop --seed'],
  flags: [...UP_FLAGS, ['--seed', 'then run the seed files that were not run yet']],
  more: 'The same as `sovra db migration up PROJECT`, with seeds.',
  run: (context, options, given) => upOne(context, options, given),
})
