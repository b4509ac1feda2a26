import { findProject, revealConnection } from '../api/find.ts'
import { withClient } from '../database/sql.ts'
import { folderOf, type Migration, planOf, readMigrations, writeMigration } from '../migrations/files.ts'
import { makeBringUp, type Outcome } from '../migrations/many.ts'
import { compare } from '../migrations/run.ts'
import { forget, lock, makeTables, readApplied, record } from '../migrations/store.ts'
import { type Answer, type Context, command, type Group } from '../program/command.ts'
import { chosen, eachOf, type ManyOptions, needOne, WHICH_FLAGS } from '../program/many.ts'
import { stop } from '../terminal/errors.ts'
import { count, localTime, table } from '../terminal/output.ts'
import { DIR, UP_FLAGS, type UpOptions, upOne } from './db-push.ts'

const make = command<{ dir?: string }, [name: string]>({
  use: 'new <name>',
  says: 'make an empty migration, named by the time and this name',
  examples: ['sovra db migration new add_todos'],
  flags: [DIR],
  run(_context, { dir }, name) {
    const { sql: _, ...made } = writeMigration(folderOf(dir), name, '')
    return { data: made, text: made.file }
  },
})

type ManyUpOptions = UpOptions & ManyOptions

function manyText(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map(({ name, organisation, status, applied, pending, warnings, error }) => [
    name,
    organisation,
    status,
    applied.length + pending.length > 0 ? [...applied, ...pending].join(' ') : '',
    warnings.length > 0 ? warnings.length : '',
    error?.message ?? '',
  ])
  const of = (status: Outcome['status']) => outcomes.filter((outcome) => outcome.status === status).length
  const lines = outcomes.flatMap(({ name, warnings }) => warnings.map(({ text }) => `warning: ${name}: ${text}`))
  const parts = (['applied', 'pending', 'current', 'failed'] as const).flatMap((status) =>
    of(status) > 0 ? [`${of(status)} ${status}`] : [],
  )
  const closing = `${count(outcomes.length, 'project')}: ${parts.join(', ') || 'nothing to do'}.${of('failed') > 0 ? ' Run it again to go on with those that failed.' : ''}`
  return [table(['PROJECT', 'ORGANISATION', 'STATUS', 'MIGRATIONS', 'WARNINGS', 'ERROR'], rows), ...lines, closing].join('\n')
}

async function upMany(context: Context, options: ManyUpOptions): Promise<Answer> {
  const folder = folderOf(options.dir)
  const files = readMigrations(folder, context.note)
  const { includeAll = false, dryRun = false, parallel } = options
  const client = await context.client()
  const projects = await chosen(client, undefined, options)
  const { work, outcomeOf } = makeBringUp(client, files, { folder, includeAll, dryRun, note: context.note })
  // Each project has its own record of what was applied: the same command goes on with what is left.
  const outcomes = (await eachOf(context, projects, { parallel, continueOnError: true }, { work })).map(outcomeOf)
  return { data: outcomes, text: manyText(outcomes), exit: outcomes.some(({ status }) => status === 'failed') ? 1 : 0 }
}

const up = command<ManyUpOptions, [project?: string]>({
  use: 'up [project]',
  says: 'apply the migrations that a project, or each of many, has not',
  examples: [
    'sovra db migration up shop',
    'sovra db migration up --org acme --parallel 4',
    'sovra db migration up --label stage=test --dry-run',
  ],
  flags: [...UP_FLAGS, ...WHICH_FLAGS, ['--parallel <n>', 'of many: how many at once', { default: '4' }]],
  more: `Each file is one transaction, unless its first line says \`-- sovra: no-transaction\`. One migration at a time runs on a project.
Of many projects each one stops at its first failure and the others go on; the same command goes on with what is left. Exit code 1 when one failed.`,
  async run(context, options, given) {
    needOne(given, options)
    return given === undefined ? upMany(context, options) : upOne(context, options, given)
  },
})

const list = command<{ dir?: string }, [project: string]>({
  use: 'list <project>',
  says: 'migrations here and in the project, side by side',
  examples: ['sovra db migration list shop'],
  flags: [DIR],
  async run(context, { dir }, given) {
    const files = readMigrations(folderOf(dir), context.note)
    const client = await context.client()
    const at = await revealConnection(client, (await findProject(client, given)).ref)
    const pairs = compare(files, await withClient(at, context.note, readApplied))
    const data = pairs.map(({ version, name, file, row, changed }) => ({
      version,
      name,
      file: file?.file ?? null,
      applied: row !== undefined,
      applied_at: row?.applied_at ?? null,
      changed,
      warnings: row?.warnings ?? [],
    }))
    const rows = data.map(({ version, name, file, applied, applied_at, changed, warnings }) => [
      version,
      name,
      file === null ? 'missing' : changed ? 'changed' : 'here',
      applied ? (localTime(applied_at) ?? 'applied') : 'pending',
      warnings.join(' '),
    ])
    return { data, text: table(['VERSION', 'NAME', 'FILE', 'PROJECT', 'WARNINGS'], rows) }
  },
})

async function markApplied(session: Parameters<typeof record>[0], files: readonly Migration[]): Promise<string[]> {
  for (const file of files)
    await record(session, { ...file, statements: planOf(file.sql).statements.map(({ text }) => text), warnings: [] })
  return files.map(({ version }) => version)
}

const repair = command<{ dir?: string; status?: 'applied' | 'reverted' }, [project: string, versions: string[]]>({
  use: 'repair <project> <versions...>',
  says: 'correct what is recorded as applied; runs no SQL of the files',
  examples: [
    'sovra db migration repair shop 20261124090000 --status applied',
    'sovra db migration repair shop 20261124090000 --status reverted',
  ],
  flags: [DIR, ['--status <status>', 'what they are', { choices: ['applied', 'reverted'] }]],
  more: `applied: recorded as if its file had been run (also to accept a file that changed since). reverted: forgotten, so that it is pending again.`,
  async run(context, { dir, status }, given, versions) {
    if (status === undefined)
      throw stop('usage_wrong', { reason: 'Say what they are', hint: 'Add --status applied, or --status reverted.' })
    const folder = folderOf(dir)
    const files = readMigrations(folder).filter(({ version }) => versions.includes(version))
    const unknown = versions.filter((version) => !files.some((file) => file.version === version))
    if (status === 'applied' && unknown.length > 0)
      throw stop('usage_wrong', {
        reason: `There is no file for ${unknown.join(' ')}`,
        hint: 'Only a migration whose file is here can be recorded.',
      })
    const client = await context.client()
    const { ref, name } = await findProject(client, given)
    const at = await revealConnection(client, ref)
    const changed = await withClient(at, context.note, async (session) => {
      await lock(session, name, context.note)
      await makeTables(session)
      return status === 'applied' ? markApplied(session, files) : forget(session, versions)
    })
    const text = changed.length > 0 ? `Recorded as ${status}: ${changed.join(' ')}` : 'Nothing was recorded of them.'
    return { data: { ref, status, versions: changed }, text }
  },
})

export const migration: Group = {
  name: 'migration',
  says: 'changes of the schema as files, applied in order',
  commands: [make, up, list, repair],
}
