import { findProject, revealConnection } from '../api/find.ts'
import { withClient } from '../database/sql.ts'
import { folderOf, readMigrations, readSeeds } from '../migrations/files.ts'
import { empty } from '../migrations/reset.ts'
import { bringUp, plantSeeds } from '../migrations/run.ts'
import { command } from '../program/command.ts'
import { confirm } from '../terminal/prompt.ts'
import { DIR, progressText } from './db-push.ts'
import { seededText } from './db-seed.ts'

interface Options {
  readonly dir?: string
  readonly yes?: boolean
  readonly seed: boolean
  readonly to?: string
}

export const reset = command<Options, [project: string]>({
  use: 'reset <project>',
  says: 'take out all tables and rows, then apply all migrations and seeds',
  examples: ['sovra db reset shop-test', 'sovra db reset shop-test --yes --no-seed'],
  flags: [DIR, ['--to <version>', 'migrations up to this one only'], ['--no-seed', 'without the seed files'], ['--yes', 'do not ask']],
  more: `Everything that people made goes: their schemas, all in public, extensions, publications. Users (schema auth), roles and
settings stay. The emptying is one transaction; a migration that fails then leaves the project at the one before it.`,
  async run(context, { dir, yes = false, seed, to }, given) {
    const folder = folderOf(dir)
    const files = readMigrations(folder, context.note).filter((file) => to === undefined || file.version <= to)
    const seeds = seed ? readSeeds(folder, []) : []
    const client = await context.client()
    const { ref, name, organisation } = await findProject(client, given)
    await confirm(`All tables and rows of ${organisation.name}/${name} will be gone. Type ${name} to go on: `, name, yes)
    const at = await revealConnection(client, ref)
    return withClient(at, context.note, async (session) => {
      await empty(session, name, context.note)
      const begins = ({ file }: { file: string }) => context.note(`Applying ${file}`)
      const run = { project: name, folder, includeAll: false, dryRun: false, note: context.note, begins }
      const progress = await bringUp(session, files, run)
      const seeded = seeds.length > 0 ? await plantSeeds(session, seeds, { project: name, again: false, note: context.note }) : null
      const text = [`Emptied ${name}.`, progressText(progress, name), ...(seeded ? [seededText(seeded)] : [])].join('\n')
      return { data: { ref, name, ...progress, seeded }, text }
    })
  },
})
