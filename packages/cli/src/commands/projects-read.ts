import type { Connection as ConnectionSchema, Project, RevealedKeys as RevealedSchema } from '@sovrabase/contract/project'
import type { ServiceUpgrade } from '@sovrabase/contract/service'
import type { Static } from 'typebox'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { command } from '../program/command.ts'
import { CliError } from '../terminal/errors.ts'
import { localTime, pairs, table } from '../terminal/output.ts'

type Connection = Static<typeof ConnectionSchema>
type Revealed = Static<typeof RevealedSchema>

const statusOf = (project: Project): string =>
  project.state === 'deleted' ? 'deleted' : (project.services.find(({ name }) => name === 'db')?.status ?? 'none')

/** Why it is awake, or what is wrong, or when it will be gone. */
function because(project: Project): string {
  if (project.state === 'deleted') return project.purge_at === null ? '' : `can be restored until ${localTime(project.purge_at)}`
  const several = project.services.length > 1
  return project.services
    .flatMap(({ name, awake_because, detail }) => {
      const reasons = [...awake_because, ...(detail.message ? [detail.message] : [])]
      return reasons.length === 0 ? [] : [`${several ? `${name}: ` : ''}${reasons.join(', ')}`]
    })
    .join('; ')
}

const labelsOf = (project: Project): string =>
  Object.entries(project.labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')

interface ListOptions {
  readonly org?: string
  readonly label?: string
  readonly status?: string
  readonly deleted?: boolean
  readonly sort?: string
}

export const list = command<ListOptions>({
  use: 'list',
  says: 'projects, and why each awake one is awake',
  examples: ['sovra projects list', 'sovra projects list --label stage=test --sort -created_at', 'sovra projects list --deleted'],
  flags: [
    ['--org <name>', 'of this organisation only'],
    ['--label <name[=value]>', 'with this label only'],
    ['--status <status>', 'awake, asleep, degraded …'],
    ['--deleted', 'those that can still be restored'],
    ['--sort <column>', 'name or created_at, with - in front descending', { choices: ['name', '-name', 'created_at', '-created_at'] }],
  ],
  async run(context, { org, label, status, deleted, sort }) {
    const client = await context.client()
    const query = { organisation: org, label, status, sort, state: deleted ? 'deleted' : undefined }
    const all = await client.all<Project>('/projects', query)
    const rows = all.map((project) => [
      project.name,
      project.organisation.name,
      project.ref,
      statusOf(project),
      because(project),
      labelsOf(project),
    ])
    return { data: all, text: table(['NAME', 'ORGANISATION', 'REF', 'STATUS', 'BECAUSE', 'LABELS'], rows) }
  },
})

/** Null where the role may not see it, the listener is off, or the project is deleted. */
async function reveal<T>(client: Client, ref: string, what: 'keys' | 'connection'): Promise<T | null> {
  try {
    return await client.request<T>('POST', `/projects/${ref}/${what}/reveal`)
  } catch (error) {
    if (error instanceof CliError && ['forbidden', 'wire_off', 'project_deleted', 'not_found'].includes(error.shown.code)) return null
    throw error
  }
}

function upgradeText({ state, from, to, step, failure }: ServiceUpgrade): string {
  if (state === 'failed') return `could not move from ${from} to ${to}: ${failure?.message ?? ''}`
  if (state === 'kept') return `moved from ${from} to ${to}; the former directory is kept: sovra upgrade --confirm, or --back`
  if (state === 'dropping') return 'a directory that is not needed any more is being removed'
  return `moving from ${from} to ${to}: ${step ?? 'waiting'}`
}

export const show = command<{ secrets?: boolean }, [project: string]>({
  use: 'show <project>',
  says: 'all that an application needs: URL, keys, storageKey for supabase-js, connection string',
  examples: ['sovra projects show demo', 'sovra projects show demo --json | jq -r .anon_key'],
  flags: [['--secrets', 'print what must stay secret too (--json always does)']],
  more: 'Keys and passwords are shown to roles that may see them; it is recorded.',
  async run(context, { secrets = false }, given) {
    const client = await context.client()
    const project = await findProject(client, given)
    const [keys, connection] = await Promise.all([
      reveal<Revealed>(client, project.ref, 'keys'),
      reveal<Connection>(client, project.ref, 'connection'),
    ])
    const data = {
      ...project,
      anon_key: keys?.anon_key ?? null,
      service_role_key: keys?.service_role_key ?? null,
      jwt_secret: keys?.jwt_secret ?? null,
      db_url: connection?.db_url ?? null,
    }
    const hidden = (value: string | null) => (value === null || secrets ? value : '(secret: --secrets or --json)')
    const text = pairs([
      ['Project', `${project.organisation.name}/${project.name}`],
      ['Ref', project.ref],
      ['URL', project.url],
      ['Anon key', data.anon_key],
      ['Service role', hidden(data.service_role_key)],
      ['JWT secret', hidden(data.jwt_secret)],
      ['Database', data.db_url !== null && !secrets ? data.db_url.replace(/:[^:@/]*@/, ':***@') : data.db_url],
      ['storageKey', project.storage_key],
      ['Status', [statusOf(project), because(project)].filter(Boolean).join(': ')],
      ['Mail', project.mail_waiting ? `mail_not_configured, ${project.mail_waiting} waiting` : null],
      ['Isolation', project.isolation],
      ['Region', project.region],
      ...project.services.flatMap(({ upgrade }) => (upgrade ? [['PostgreSQL', upgradeText(upgrade)] as [string, string]] : [])),
      ['Services', project.services.map((service) => `${service.name} (${service.engine} ${service.engine_version ?? ''})`).join(', ')],
      ['Labels', labelsOf(project) || null],
      ['Created', localTime(project.created_at)],
    ])
    return { data, text }
  },
})
