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
import { t } from './words.ts'

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
  const both = own === version ? t('same version', { version }) : t('two versions', { version, own })
  return [
    own === version ? ok('versions', both) : warn('versions', both, t('match versions')),
    ...(behind.length === 0 ? [] : [warn('engines', t('engines behind', { count: behind.length }), 'sovra upgrade --engines --all')]),
  ]
}

function projects(all: readonly Project[]): Check {
  const ill = all.filter(({ services }) => services.some(({ status }) => status === 'degraded' || status === 'failed'))
  if (ill.length === 0) return ok('projects', t('projects well', { count: all.length }))
  const names = ill.slice(0, 5).map(({ ref }) => ref)
  return bad('projects', t('projects ill', { count: ill.length, names: names.join(', ') }), t('why ill', { name: names[0] ?? '' }))
}

function backups({ backup }: Status): Check[] {
  if (!backup) return []
  const { problem, reason, root_key_exported } = backup
  const how = t('do backups')
  return [
    problem === 'failed' || problem === 'old'
      ? bad('backups', problem === 'failed' ? t('backup failed', { reason: reason ?? '' }) : t('backup old'), how)
      : problem === 'never'
        ? warn('backups', t('backup none'), how)
        : ok('backups', t('backup good')),
    root_key_exported ? ok('root-key', t('root exported')) : warn('root-key', t('root here only'), t('export root')),
  ]
}

function isolation({ isolation: kind }: Status): Check {
  if (kind === 'full') return ok('isolation', t('isolation full'))
  return warn('isolation', t('isolation less', { kind }), t('start as root'))
}

async function volumes(client: Client): Promise<Check> {
  const { orphans } = await client.request<Static<typeof DiskSchema>>('GET', '/disk')
  if (orphans.length === 0) return ok('orphans', t('volumes owned'))
  const size = orphans.reduce((sum, one) => sum + one.bytes, 0)
  return warn('orphans', t('volumes orphaned', { count: orphans.length, size: bytes(size) }), t('look at volumes'))
}

async function drift(client: Client): Promise<Check> {
  const asked = Date.now()
  const there = await client.clock()
  if (Number.isNaN(there)) return skipped('drift', t('no time'))
  const apart = Math.abs(there - asked)
  return apart > DRIFT
    ? bad('drift', t('clocks apart', { seconds: Math.round(apart / 1000) }), t('set both'))
    : ok('drift', t('clocks agree'))
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
    if (code === 'server_not_running') return [skipped('server', t('none runs'))]
    return [bad('server', message, hint ?? t('look at log'))]
  }
  const { active, awake, queued } = status.projects
  return [
    ok('server', t('server', { version: status.version, active, awake })),
    ...(queued > 0 ? [warn('queue', t('queue', { queued }), t('more places'))] : []),
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
