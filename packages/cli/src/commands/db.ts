import { type Connection, findProject, revealConnection } from '../api/find.ts'
import { leavingAsleep } from '../api/sleep.ts'
import { objects, render, run, withClient } from '../database/sql.ts'
import { type Context, command, type Group } from '../program/command.ts'
import { areMany, chosen, MANY_FLAGS, MANY_MORE, type ManyOptions, onMany } from '../program/many.ts'
import { stop } from '../terminal/errors.ts'
import { change, inspect } from './db-change.ts'
import { dump, restore } from './db-dump.ts'
import { advisors, extensions, stats } from './db-inspect.ts'
import { migration } from './db-migration.ts'
import { pull } from './db-pull.ts'
import { push } from './db-push.ts'
import { reset } from './db-reset.ts'
import { seed } from './db-seed.ts'
import { readSql, sql } from './db-sql.ts'

async function connectionOf(context: Context, given: string): Promise<Connection> {
  const client = await context.client()
  return revealConnection(client, (await findProject(client, given)).ref)
}

const url = command<object, [project: string]>({
  use: 'url <project>',
  says: 'the connection string for psql, ORMs and migration tools',
  examples: ['sovra db url demo', 'pg_dump "$(sovra db url demo)"'],
  more: 'It holds the password of the role postgres; showing it is recorded.',
  async run(context, _options, given) {
    const found = await connectionOf(context, given)
    return { data: found, text: found.db_url }
  },
})

/** On each of them, in a session of its own; what they answer is in --json. */
async function execOnMany(context: Context, options: ManyOptions & { file?: string }, given: readonly (string | undefined)[]) {
  const [text, more] = given
  const asked = await readSql(text, options.file, 'exec')
  const client = await context.client()
  const projects = await chosen(client, more, options)
  return onMany(
    context,
    projects,
    options,
    async (project) => {
      const at = await revealConnection(client, project.ref)
      const work = () => withClient(at, context.note, async (session) => (await run(session, asked)).map(objects))
      return leavingAsleep(client, project, context.note, work)
    },
    (lists) => `${lists.reduce((sum, list) => sum + list.length, 0)} rows`,
  )
}

const exec = command<ManyOptions & { file?: string }, [project?: string, sql?: string]>({
  use: 'exec [project] [sql]',
  says: 'run SQL as the owner of the project',
  examples: ["sovra db exec demo 'select * from todos'", 'sovra db exec demo -f schema.sql', "sovra db exec demo 'select 1 as one' --json"],
  flags: [['-f, --file <file>', 'read the SQL from this file; - is standard input'], ...MANY_FLAGS],
  more: `Several statements are one transaction, unless they say BEGIN themselves.
--json: the rows as a list of objects; of several statements, a list of such lists.
${MANY_MORE}`,
  async run(context, options, given, text) {
    if (areMany(options)) return execOnMany(context, options, [given, text])
    if (given === undefined)
      throw stop('usage_wrong', { reason: 'Say which project, or --all, --org or --label', hint: 'sovra db exec PROJECT SQL' })
    const asked = await readSql(text, options.file, 'exec')
    const at = await connectionOf(context, given)
    return withClient(at, context.note, async (client) => {
      const results = await run(client, asked)
      const lists = results.map(objects)
      return { data: lists.length === 1 ? lists[0] : lists, text: results.map(render).join('\n\n') }
    })
  },
})

const shell = command<object, [project: string]>({
  use: 'shell <project>',
  says: 'a SQL prompt: psql where it is installed, else a small one of our own',
  examples: ['sovra db shell demo'],
  async run(context, _options, given) {
    const at = await connectionOf(context, given)
    const { hasPsql, psql, repl } = await import('../database/shell.ts')
    return { data: null, text: '', exit: hasPsql() && process.env.SOVRA_SHELL !== 'small' ? await psql(at) : await repl(at) }
  },
})

export const db: Group = {
  name: 'db',
  says: "a project's PostgreSQL",
  commands: [url, sql, exec, shell, migration, push, pull, seed, reset, inspect, change, advisors, stats, extensions, dump, restore],
}
