import { type Connection, findProject, revealConnection } from '../api/find.ts'
import { type Context, command, type Group } from '../program/command.ts'
import { change, inspect } from './db-change.ts'
import { dump, restore } from './db-dump.ts'
import { exec } from './db-exec.ts'
import { advisors, extensions, stats } from './db-inspect.ts'
import { migration } from './db-migration.ts'
import { pull } from './db-pull.ts'
import { push } from './db-push.ts'
import { reset } from './db-reset.ts'
import { seed } from './db-seed.ts'
import { sql } from './db-sql.ts'

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
