import { findOrganisation, type Organisation } from '../api/find.ts'
import { command, type Group } from '../program/command.ts'
import { localTime, pairs, table } from '../terminal/output.ts'

const list = command({
  use: 'list',
  says: 'the organisations that you may know of',
  examples: ['sovra orgs list'],
  async run(context) {
    const all = await (await context.client()).all<Organisation>('/organisations')
    const rows = all.map(({ name, title, created_at }) => [name, title, localTime(created_at)])
    return { data: all, text: table(['NAME', 'TITLE', 'CREATED'], rows) }
  },
})

const create = command<{ title?: string }, [name: string]>({
  use: 'create <name>',
  says: 'make an organisation',
  examples: ["sovra orgs create acme --title 'Acme Ltd'"],
  flags: [['--title <text>', 'what people read; the name by default']],
  async run(context, { title }, name) {
    const client = await context.client()
    const made = await client.request<Organisation>('POST', '/organisations', { body: { name, ...(title ? { title } : {}) } })
    return { data: made, text: `Made the organisation ${made.name}. Next: sovra projects create NAME --org ${made.name}` }
  },
})

const show = command<object, [name?: string]>({
  use: 'show [name]',
  says: 'one organisation with its limits',
  examples: ['sovra orgs show acme'],
  async run(context, _options, name) {
    const client = await context.client()
    const found = await findOrganisation(client, name)
    const quotas = await client.request<{ projects: { limit: number; used: number } }>('GET', `/organisations/${found.name}/quotas`)
    const { limit, used } = quotas.projects
    const text = pairs([
      ['Name', found.name],
      ['Title', found.title],
      ['Id', found.id],
      ['Projects', limit > 0 ? `${used} of ${limit}` : used],
      ['Created', localTime(found.created_at)],
    ])
    return { data: { ...found, quotas }, text }
  },
})

export const orgs: Group = { name: 'orgs', says: 'organisations', commands: [list, create, show] }
