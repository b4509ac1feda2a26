import { findProject, revealConnection } from '../api/find.ts'
import { leavingAsleep } from '../api/sleep.ts'
import { runOnce } from '../database/once.ts'
import { objects, render, run, withClient } from '../database/sql.ts'
import { controlsTransactions } from '../migrations/files.ts'
import { type Context, command } from '../program/command.ts'
import { areMany, chosen, DONE_BEFORE, MANY_FLAGS, type ManyOptions, onMany, RUN_FLAGS, RUN_MORE } from '../program/many.ts'
import { stop } from '../terminal/errors.ts'
import { count } from '../terminal/output.ts'
import { readSql } from './db-sql.ts'

type Options = ManyOptions & { readonly file?: string }

/** On each of them, in a session of its own; what they answer is in --json. */
async function onEach(context: Context, options: Options, given: readonly (string | undefined)[]) {
  const [text, more] = given
  const asked = await readSql(text, options.file, 'exec')
  const own = controlsTransactions(asked)
  const client = await context.client()
  const projects = await chosen(client, more, options)
  return onMany(context, client, projects, options, {
    recorded: { command: 'db exec', sql: asked },
    async work(project, step) {
      const at = await revealConnection(client, project.ref)
      const results = await leavingAsleep(client, project, context.note, () =>
        withClient(at, context.note, (session) => runOnce(session, asked, own, step)),
      )
      return results === null ? DONE_BEFORE : results.map(objects)
    },
    says: (lists) =>
      count(
        lists.reduce((sum, list) => sum + list.length, 0),
        'row',
      ),
  })
}

export const exec = command<Options, [project?: string, sql?: string]>({
  use: 'exec [project] [sql]',
  says: 'run SQL as the owner of the project',
  examples: [
    "sovra db exec demo 'select * from todos'",
    'sovra db exec demo -f schema.sql',
    "sovra db exec --label stage=live 'analyze' --parallel 4 --continue-on-error",
  ],
  flags: [['-f, --file <file>', 'read the SQL from this file; - is standard input'], ...MANY_FLAGS, ...RUN_FLAGS],
  more: `Several statements are one transaction, unless they say BEGIN themselves.
--json: the rows as a list of objects; of several statements, a list of such lists.
${RUN_MORE} Rows of those that are done before
are not asked for again, unless nothing was written.`,
  async run(context, options, given, text) {
    if (areMany(options)) return onEach(context, options, [given, text])
    if (given === undefined)
      throw stop('usage_wrong', { reason: 'Say which project, or --all, --org or --label', hint: 'sovra db exec PROJECT SQL' })
    const asked = await readSql(text, options.file, 'exec')
    const client = await context.client()
    const at = await revealConnection(client, (await findProject(client, given)).ref)
    return withClient(at, context.note, async (session) => {
      const results = await run(session, asked)
      const lists = results.map(objects)
      return { data: lists.length === 1 ? lists[0] : lists, text: results.map(render).join('\n\n') }
    })
  },
})
