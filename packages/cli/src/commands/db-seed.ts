import { findProject, revealConnection } from '../api/find.ts'
import { withClient } from '../database/sql.ts'
import { folderOf, readSeeds } from '../migrations/files.ts'
import { plantSeeds, type Seeded } from '../migrations/run.ts'
import { command, type Flag } from '../program/command.ts'
import { count } from '../terminal/output.ts'

export function seededText({ run, skipped, changed, warnings }: Seeded): string {
  const lines = warnings.map((text) => `warning: ${text}`)
  lines.push(...changed.map((file) => `warning: ${file} has changed since it was run: sovra db seed --again runs it once more.`))
  lines.push(run.length > 0 ? `Ran ${count(run.length, 'seed file')}: ${run.join(' ')}` : 'No seed file was to be run.')
  if (skipped.length > 0) lines.push(`Run before: ${skipped.join(' ')}`)
  return lines.join('\n')
}

const DIR: Flag = ['--dir <folder>', 'the folder that holds seed.sql; without it supabase/, here or above']

export const seed = command<{ dir?: string; file?: string[]; again?: boolean }, [project: string]>({
  use: 'seed <project>',
  says: 'run the seed files: rows to begin with',
  examples: ['sovra db seed shop', 'sovra db seed shop --file demo.sql --again'],
  flags: [
    DIR,
    ['-f, --file <file>', 'this one; may be given more than once', { many: true }],
    ['--again', 'also those that were run before'],
  ],
  more: 'Without --file: `[db.seed] sql_paths` of config.toml, else seed.sql. Each file is one transaction, and is run once.',
  async run(context, { dir, file = [], again = false }, given) {
    const seeds = readSeeds(folderOf(dir), file)
    const client = await context.client()
    const { ref, name } = await findProject(client, given)
    const at = await revealConnection(client, ref)
    const seeded = await withClient(at, context.note, (session) => plantSeeds(session, seeds, { project: name, again, note: context.note }))
    return { data: seeded, text: seededText(seeded) }
  },
})
