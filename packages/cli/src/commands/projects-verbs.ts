import type { Project } from '@sovrabase/contract/project'
import { findOrganisation, findProject } from '../api/find.ts'
import { command } from '../program/command.ts'
import { areMany, chosen, MANY_FLAGS, MANY_MORE, type ManyOptions, onMany } from '../program/many.ts'
import { stop } from '../terminal/errors.ts'
import { localTime } from '../terminal/output.ts'

/** `name=value` each; `usage_wrong`. */
export function readLabels(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? []
      if (name === undefined || value === undefined)
        throw stop('usage_wrong', { reason: `'${text}' is no label`, hint: 'Write labels as name=value.' })
      return [name, value]
    }),
  )
}

const named = (project: Project): string => `${project.organisation.name}/${project.name}`

export const sleep = command<ManyOptions & { force?: boolean }, [project?: string]>({
  use: 'sleep [project]',
  says: 'put it to sleep: no process, no memory; the next request wakes it',
  examples: ['sovra projects sleep demo', 'sovra projects sleep --label stage=test'],
  flags: [['--force', 'end what runs in it'], ...MANY_FLAGS],
  more: MANY_MORE,
  async run(context, options, given) {
    const client = await context.client()
    const projects = await chosen(client, given, options)
    const work = ({ ref }: Project) => client.request<Project>('POST', `/projects/${ref}/sleep`, { query: { force: options.force } })
    const only = projects[0]
    if (areMany(options) || !only) return onMany(context, client, projects, options, { work })
    const project = await context.spin('Putting it to sleep', () => work(only))
    return { data: project, text: `${named(project)} sleeps.` }
  },
})

export const wake = command<ManyOptions, [project?: string]>({
  use: 'wake [project]',
  says: 'wake it now',
  examples: ['sovra projects wake demo', 'sovra projects wake --org acme --parallel 4'],
  flags: MANY_FLAGS,
  more: MANY_MORE,
  async run(context, options, given) {
    const client = await context.client()
    const projects = await chosen(client, given, options)
    const work = ({ ref }: Project) => client.request<Project>('POST', `/projects/${ref}/wake`)
    const only = projects[0]
    if (areMany(options) || !only) return onMany(context, client, projects, options, { work })
    const project = await context.spin('Waking it', () => work(only))
    return { data: project, text: `${named(project)} is awake.` }
  },
})

export const rename = command<object, [project: string, name: string]>({
  use: 'rename <project> <name>',
  says: 'give it another name; ref, URL and keys stay',
  examples: ['sovra projects rename shop store'],
  async run(context, _options, given, name) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const project = await client.request<Project>('PATCH', `/projects/${ref}`, { body: { name } })
    return { data: project, text: `It is ${named(project)} now.` }
  },
})

export const label = command<object, [project: string, labels: string[]]>({
  use: 'label <project> <labels...>',
  says: 'set labels (name=value) or remove them (name-)',
  examples: ['sovra projects label shop stage=live old-'],
  async run(context, _options, given, texts) {
    const isRemoval = (text: string) => text.endsWith('-') && !text.includes('=')
    const removed = texts.filter(isRemoval).map((text) => [text.slice(0, -1), null])
    const labels = { ...readLabels(texts.filter((text) => !isRemoval(text))), ...Object.fromEntries(removed) }
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const project = await client.request<Project>('PATCH', `/projects/${ref}`, { body: { labels } })
    const shown = Object.entries(project.labels).map(([name, value]) => `${name}=${value}`)
    return { data: project, text: `${named(project)}: ${shown.join(' ') || 'no labels'}` }
  },
})

export const move = command<object, [project: string, organisation: string]>({
  use: 'move <project> <organisation>',
  says: 'give it to another organisation',
  examples: ['sovra projects move acme/shop globex'],
  async run(context, _options, given, organisation) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const target = await findOrganisation(client, organisation)
    const project = await client.request<Project>('POST', `/projects/${ref}/move`, { body: { organisation: target.name } })
    return { data: project, text: `It is ${named(project)} now.` }
  },
})

export const remove = command<object, [project: string]>({
  use: 'delete <project>',
  says: 'delete it; it can be restored for a while',
  examples: ['sovra projects delete shop'],
  async run(context, _options, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const project = await client.request<Project>('DELETE', `/projects/${ref}`)
    const text = `Deleted ${named(project)}. Until ${localTime(project.purge_at)}: sovra projects restore ${ref}`
    return { data: project, text }
  },
})

export const purge = command<{ yes?: boolean }, [project: string]>({
  use: 'purge <project>',
  says: 'remove a deleted project for good, at once',
  examples: ['sovra projects purge shop --yes'],
  flags: [['--yes', 'be sure: nothing brings it back but a backup']],
  async run(context, { yes }, given) {
    const client = await context.client()
    const { ref, organisation, name } = await findProject(client, given, 'deleted')
    if (!yes)
      throw stop('usage_wrong', {
        reason: `${organisation.name}/${name} would be gone for ever`,
        hint: 'Add --yes if that is what you want.',
      })
    await client.request('POST', `/projects/${ref}/purge`)
    return { data: { ref, purged: true }, text: `Removed ${organisation.name}/${name} for good.` }
  },
})

export const restore = command<{ name?: string }, [project: string]>({
  use: 'restore <project>',
  says: 'bring a deleted project back',
  examples: ['sovra projects restore shop', 'sovra projects restore shop --name old-shop'],
  flags: [['--name <name>', 'another name, when its own is taken by now']],
  async run(context, { name }, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given, 'deleted')
    const project = await client.request<Project>('POST', `/projects/${ref}/restore`, { ...(name ? { body: { name } } : {}) })
    return { data: project, text: `${named(project)} is back.` }
  },
})
