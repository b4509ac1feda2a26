import { findProject } from '../api/find.ts'
import { command, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'

interface Options {
  readonly project?: string
  readonly lang: string
  readonly schema?: string[]
}

interface Types {
  readonly lang: string
  readonly schemas: readonly string[]
  readonly types: string
}

const types = command<Options>({
  use: 'types',
  says: 'types of tables, views, functions and enums, for programs',
  examples: ['sovra gen types --project shop > database.types.ts', 'sovra gen types --project shop --lang go --schema public --schema api'],
  flags: [
    ['--project <project>', 'the project'],
    ['--lang <language>', 'the language', { default: 'ts', choices: ['ts', 'go', 'python'] }],
    ['--schema <name>', 'this schema; may be given more than once. Without it those that the API exposes', { many: true }],
  ],
  more: 'The TypeScript is what createClient<Database>() of supabase-js is typed with.',
  async run(context, { project, lang, schema }) {
    if (project === undefined) throw stop('usage_wrong', { reason: 'Say which project', hint: 'sovra gen types --project PROJECT' })
    const client = await context.client()
    const { ref } = await findProject(client, project)
    const found = await client.request<Types>('GET', `/projects/${ref}/database/types`, { query: { lang, schemas: schema?.join(',') } })
    return { data: found, text: found.types.trimEnd() }
  },
})

export const gen: Group = { name: 'gen', says: 'source text made from a project', commands: [types] }
