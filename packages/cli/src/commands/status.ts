import { command } from '../program/command.ts'
import { bytes, localTime, pairs } from '../terminal/output.ts'

interface Backup {
  readonly scheduled: boolean
  readonly last_at: string | null
  readonly problem: 'failed' | 'old' | 'never' | null
  readonly reason: string | null
  readonly root_key_exported: boolean
}

function backupLine({ last_at, problem, reason, scheduled }: Backup): string {
  const last = last_at === null ? 'none' : `last ${localTime(last_at)}`
  if (problem === 'failed') return `FAILED, ${last}: ${reason}`
  if (problem === 'old') return `OVERDUE, ${last}`
  if (problem === 'never') return 'NONE YET: sovra backup create --all'
  return scheduled ? last : `${last}, none scheduled (backup.dir)`
}

interface Archives {
  readonly projects: number
  readonly late: readonly { readonly ref: string; readonly since: string; readonly reason: string | null }[]
}

function archiveLine({ projects, late }: Archives): string | null {
  if (projects === 0) return null
  const [first] = late
  if (!first) return `${projects} archived`
  const more = late.length > 1 ? ` and ${late.length - 1} more` : ''
  return `NOT ARCHIVED: ${first.ref} since ${localTime(first.since)}${more}${first.reason ? `: ${first.reason}` : ''}`
}

interface Status {
  readonly backup: Backup
  readonly archives: Archives
  readonly version: string
  readonly node: { readonly name: string; readonly region: string }
  readonly started_at: string
  readonly url: string
  readonly wire: { readonly host: string; readonly port: number } | null
  readonly metadata: string
  readonly isolation: string
  readonly disk: { readonly free: number; readonly total: number; readonly reserve: number; readonly low: boolean }
  readonly mail: { readonly waiting: number; readonly projects: number }
  readonly upgrades: { readonly running: number; readonly failed: number; readonly kept: number; readonly kept_since: string | null }
  readonly projects: { readonly active: number; readonly awake: number; readonly queued: number; readonly degraded: number }
}

/** Days after which what is kept is asked about. */
const LONG_KEPT = 14
const DAY = 86_400_000

function upgradeLine({ running, failed, kept, kept_since: since }: Status['upgrades']): string | null {
  const old = since !== null && Date.now() - Date.parse(since) > LONG_KEPT * DAY
  const parts = [
    running > 0 ? `${running} under way` : '',
    failed > 0 ? `${failed} FAILED (see sovra projects show)` : '',
    kept > 0 ? `${kept} to confirm since ${localTime(since)}${old ? ', LONG AGO' : ''}: sovra upgrade --confirm --all` : '',
  ].filter(Boolean)
  return parts.length === 0 ? null : parts.join('; ')
}

export const status = command({
  use: 'status',
  says: 'whether the server runs, where, how isolated, with how many projects awake',
  examples: ['sovra status', 'sovra status --json | jq .isolation'],
  async run(context) {
    const client = await context.client()
    const found = await client.request<Status>('GET', '/status')
    const { projects, wire, node, backup } = found
    const text = pairs([
      ['Server', `${client.name}, version ${found.version}`],
      ['URL', found.url],
      ['PostgreSQL', wire ? `${wire.host}:${wire.port}` : 'off'],
      ['Isolation', found.isolation],
      ['Node', `${node.name}, region ${node.region}`],
      ['Metadata', found.metadata],
      [
        'Disk',
        `${found.disk.low ? `LOW: nothing new is made below ${bytes(found.disk.reserve)} free; ` : ''}${bytes(found.disk.free)} free of ${bytes(found.disk.total)}`,
      ],
      ['Running since', localTime(found.started_at)],
      ['Backup', backupLine(backup)],
      ['Points in time', archiveLine(found.archives)],
      ['Root key', backup.root_key_exported ? null : 'NOT IN THE SAFE YET: sovra keys export-root --to FILE'],
      ['Newer PostgreSQL', upgradeLine(found.upgrades)],
      ['Projects', `${projects.active}, ${projects.awake} awake`],
      ['Waiting', projects.queued > 0 ? `${projects.queued} for a place` : null],
      ['Mail', found.mail.waiting > 0 ? `mail_not_configured, ${found.mail.waiting} waiting` : null],
      ['Degraded', projects.degraded > 0 ? `${projects.degraded} (see sovra projects list)` : null],
    ])
    return { data: { server: client.name, ...found }, text }
  },
})
