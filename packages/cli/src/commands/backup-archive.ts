import type { ProjectArchive } from '@sovrabase/contract/backup'
import { findProject } from '../api/find.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, pairs } from '../terminal/output.ts'
import { askSecret } from '../terminal/prompt.ts'

interface ArchiveOptions {
  readonly on?: boolean
  readonly off?: boolean
  readonly within?: string
  readonly keepDays?: string
  readonly baseEvery?: string
  readonly base?: boolean
}

/** Of standard S3 tools: what others understand is understood here. */
const SECRET = 'AWS_SECRET_ACCESS_KEY'

function whole(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,6}$/.test(text)) throw stop('usage_wrong', { reason: `${name} is a whole number`, hint: `For example ${name} 10.` })
  return Number(text)
}

function wanted({ on, off, within, keepDays, baseEvery }: ArchiveOptions): Record<string, unknown> {
  if (on && off) throw stop('usage_wrong', { reason: '--on and --off exclude each other', hint: 'Give one of them.' })
  const given = {
    point_in_time: on ? true : off ? false : undefined,
    within: whole('--within', within),
    keep_days: whole('--keep-days', keepDays),
    base_every: whole('--base-every', baseEvery),
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

const rangeText = ({ from, to }: ProjectArchive['ranges'][number]): string => `${localTime(from)} to ${to === null ? 'now' : localTime(to)}`

function shown(name: string, { point_in_time, ranges, unstored_since, failed_at, reason }: ProjectArchive): string {
  return pairs([
    ['Project', name],
    ['Points in time', point_in_time ? 'on' : 'off'],
    ['Can be restored', ranges.length === 0 ? 'not yet: there is no base backup' : ranges.map(rangeText).join('; ')],
    // Switched off, nothing is to come.
    ['Not in the archive', unstored_since === null || !point_in_time ? null : `changes since ${localTime(unstored_since)}`],
    ['FAILING', failed_at === null ? null : `since ${localTime(failed_at)}: ${reason}`],
  ])
}

export const archive = command<ArchiveOptions, [project: string]>({
  use: 'archive <project>',
  says: 'points in time of a project: switch them on or off, see how far back it can be restored',
  examples: ['sovra backup archive shop --on', 'sovra backup archive shop', 'sovra backup archive shop --base'],
  flags: [
    ['--on', 'archive every change from now on'],
    ['--off', 'archive nothing more; what is there stays for its days'],
    ['--within <seconds>', 'from a commit until it is in the archive, 10 by default'],
    ['--keep-days <days>', 'how far back, 7 by default'],
    ['--base-every <hours>', 'between two base backups, 24 by default'],
    ['--base', 'take a base backup now: restores from here on are quicker'],
  ],
  async run(context, options, name) {
    const client = await context.client()
    const project = await findProject(client, name)
    const patch = wanted(options)
    if (Object.keys(patch).length > 0) await client.request('PATCH', `/projects/${project.ref}/settings/backup`, { body: patch })
    if (options.base) await context.spin('Taking a base backup', () => client.request('POST', `/projects/${project.ref}/archive/base`))
    const data = await client.request<ProjectArchive>('GET', `/projects/${project.ref}/archive`)
    return { data, text: shown(`${project.organisation.name}/${project.name}`, data) }
  },
})

interface StoreOptions {
  readonly endpoint?: string
  readonly region?: string
  readonly accessKeyId?: string
}

export const store = command<StoreOptions>({
  use: 'store',
  says: 'the S3 credentials that the server writes s3://… backups and archives with',
  examples: ['sovra backup store --endpoint https://s3.example.eu --region eu-1 --access-key-id AKIA…', 'sovra backup store'],
  flags: [
    ['--endpoint <url>', 'address of a provider other than AWS'],
    ['--region <region>', 'by default us-east-1'],
    ['--access-key-id <id>', `sets them; the secret is asked for, or read from ${SECRET}`],
  ],
  more: 'The secret is kept sealed with the root key, and never shown.',
  async run(context, { endpoint, region, accessKeyId }) {
    const client = await context.client()
    if (accessKeyId !== undefined) {
      const secret = process.env[SECRET] || (await askSecret('Secret access key: '))
      const body = {
        access_key_id: accessKeyId,
        secret_access_key: secret,
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(region === undefined ? {} : { region }),
      }
      await client.request('PUT', '/backups/store', { body })
    }
    const data = await client.request<{ store: Record<string, string> | null }>('GET', '/backups/store')
    const text = data.store ? pairs(Object.entries(data.store)) : 'None is set: sovra backup store --access-key-id …'
    return { data, text }
  },
})
