/** What can be wrong with a server that runs. */
import type { Disk as DiskSchema } from '@sovrabase/contract/disk'
import type { Project } from '@sovrabase/contract/project'
import type { Static } from 'typebox'
import type { Client } from '../api/client.ts'
import type { Context } from '../program/command.ts'
import { ownVersion } from '../program/version.ts'
import { CliError } from '../terminal/errors.ts'
import { bytes } from '../terminal/output.ts'
import { bad, type Check, look, ok, skipped, warn } from './check.ts'

interface Status {
  readonly version: string
  readonly engines?: readonly { readonly name: string; readonly version: string | null }[]
  readonly isolation: string
  readonly projects: { readonly active: number; readonly awake: number; readonly queued: number; readonly degraded: number }
  readonly backup?: {
    readonly problem: 'failed' | 'old' | 'never' | null
    readonly reason: string | null
    readonly root_key_exported: boolean
  }
}

/** ms that two clocks may differ before tokens of one are refused by the other. */
const DRIFT = 30_000

function versions({ version, engines = [] }: Status, all: readonly Project[]): Check[] {
  const wanted = new Map(engines.map(({ name, version: newest }) => [name, newest]))
  const behind = all.filter(({ services }) =>
    services.some(
      ({ status, engine, engine_version: runs }) => status === 'awake' && runs !== null && (wanted.get(engine) ?? runs) !== runs,
    ),
  )
  const own = ownVersion()
  const both = own === version ? `version ${version} of both` : `the server has ${version}, this sovra ${own}`
  return [
    own === version
      ? ok('versions', both)
      : warn('versions', both, 'Restart the server after an upgrade (systemctl reload sovrabase), or upgrade this one.'),
    ...(behind.length === 0
      ? []
      : [warn('engines', `${behind.length} projects run an older PostgreSQL than the next wake brings`, 'sovra upgrade --engines --all')]),
  ]
}

function projects(all: readonly Project[]): Check {
  const ill = all.filter(({ services }) => services.some(({ status }) => status === 'degraded' || status === 'failed'))
  if (ill.length === 0) return ok('projects', `${all.length}, none is degraded`)
  const names = ill.slice(0, 5).map(({ ref }) => ref)
  return bad(
    'projects',
    `${ill.length} degraded or failed: ${names.join(', ')}`,
    `Why: sovra logs ${names[0]} --level error, sovra projects list`,
  )
}

function backups({ backup }: Status): Check[] {
  if (!backup) return []
  const { problem, reason, root_key_exported } = backup
  const how = 'sovra backup create --all --to FILE, and backup.dir for scheduled ones'
  return [
    problem === 'failed' || problem === 'old'
      ? bad('backups', problem === 'failed' ? `the last one failed: ${reason}` : 'the last one is overdue', how)
      : problem === 'never'
        ? warn('backups', 'there is none yet', how)
        : ok('backups', 'the last one is as it should be'),
    root_key_exported
      ? ok('root-key', 'it was exported once')
      : warn('root-key', 'it lies on this machine only', 'sovra keys export-root, and into the safe with it.'),
  ]
}

function isolation({ isolation: kind }: Status): Check {
  if (kind === 'full') return ok('isolation', 'full: each cluster has a uid of its own')
  return warn(
    'isolation',
    `${kind}: clusters are apart by their passwords and sockets only`,
    'Start it as root (sudo make install): the server itself runs without rights all the same.',
  )
}

async function volumes(client: Client): Promise<Check> {
  const { orphans } = await client.request<Static<typeof DiskSchema>>('GET', '/disk')
  if (orphans.length === 0) return ok('orphans', 'every volume belongs to a project')
  const size = orphans.reduce((sum, one) => sum + one.bytes, 0)
  return warn(
    'orphans',
    `${orphans.length} volumes of no project, ${bytes(size)}`,
    'sovra disk --json names them. Look at each before you remove it below projects/.',
  )
}

async function drift(client: Client): Promise<Check> {
  const asked = Date.now()
  const response = await fetch(`${client.url}/health`)
  const there = Date.parse(response.headers.get('date') ?? '')
  if (Number.isNaN(there)) return skipped('drift', 'the server says no time')
  const apart = Math.abs(there - asked)
  return apart > DRIFT
    ? bad('drift', `its clock and this one are ${Math.round(apart / 1000)} s apart`, 'Set both by NTP (timedatectl set-ntp true).')
    : ok('drift', 'its clock and this one agree')
}

/** Skipped where none runs: then that is all there is to say. */
export async function serverChecks(context: Context): Promise<Check[]> {
  let client: Client
  let status: Status
  try {
    client = await context.client()
    status = await client.request<Status>('GET', '/status')
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    const { code, message, hint } = error.shown
    if (code === 'server_not_running') return [skipped('server', 'none runs here')]
    return [bad('server', message, hint ?? 'Look at its log.')]
  }
  const { active, awake, queued } = status.projects
  return [
    ok('server', `version ${status.version}, ${active} projects, ${awake} awake`),
    ...(queued > 0
      ? [warn('queue', `${queued} callers wait for a place`, 'Raise limits.awake.clusters, or give the machine more memory.')]
      : []),
    isolation(status),
    ...backups(status),
    ...(await look('projects', async () => {
      const all = await client.all<Project>('/projects')
      return [projects(all), ...versions(status, all)]
    })),
    ...(await look('orphans', () => volumes(client))),
    ...(await look('drift', () => drift(client))),
  ]
}
