import type { Disk as DiskSchema } from '@sovrabase/contract/disk'
import type { Static } from 'typebox'
import { command } from '../program/command.ts'
import { bytes, count, localTime, pairs, table } from '../terminal/output.ts'

type Disk = Static<typeof DiskSchema>

function freeableText({ freeable }: Disk): string {
  const [trash, orphans, kept] = (['trash', 'orphans', 'kept'] as const).map((kind) => freeable.find((one) => one.kind === kind))
  const lines = [
    trash
      ? `${bytes(trash.bytes)} in ${count(trash.count, 'deleted project')}: goes by itself, or at once by \`sovra projects purge\`.`
      : '',
    orphans
      ? `${bytes(orphans.bytes)} in ${count(orphans.count, 'volume')} of no project: see --json; remove them by hand below projects/.`
      : '',
    kept
      ? `${bytes(kept.bytes)} of the former PostgreSQL of ${count(kept.count, 'project')}: by \`sovra upgrade --confirm\` once all is well.`
      : '',
  ].filter(Boolean)
  return lines.length === 0 ? 'Nothing waits to be freed.' : ['Could be freed:', ...lines.map((line) => `  ${line}`)].join('\n')
}

export const disk = command({
  use: 'disk',
  says: 'what takes the disk, by kind and project, and what could be freed',
  examples: ['sovra disk', 'sovra disk --json | jq .free'],
  more: 'Below the reserve (disk.reserve) nothing new and nothing large is taken (disk_low), until there is more room.',
  async run(context) {
    const client = await context.client()
    const found = await context.spin('Measuring', () => client.request<Disk>('GET', '/disk'))
    const { kinds, projects, orphans: _, ...more } = found
    const rows = projects.map((project) => [
      project.name,
      project.organisation,
      project.ref,
      bytes(project.bytes.total - project.bytes.wal),
      bytes(project.bytes.wal),
      bytes(project.bytes.log),
      project.bytes.kept > 0
        ? `${bytes(project.bytes.kept)} kept of a former PostgreSQL`
        : project.state === 'deleted'
          ? `deleted, goes ${localTime(project.purge_at) ?? 'soon'}`
          : project.packed
            ? 'packed'
            : '',
    ])
    const head = pairs([
      ['Free', `${bytes(more.free)} of ${bytes(more.total)}, reserve ${bytes(more.reserve)}${more.low ? ': LOW' : ''}`],
      ['Projects', `${bytes(kinds.projects)}${kinds.packed > 0 ? `, of that ${bytes(kinds.packed)} packed` : ''}`],
      ['Trash', bytes(kinds.trash)],
      ['Kept', kinds.kept > 0 ? `${bytes(kinds.kept)} of a former PostgreSQL` : null],
      ['Logs', `${bytes(kinds.logs)} of the server, ${bytes(kinds.cluster_logs)} of clusters`],
      ['Metadata', bytes(kinds.metadata)],
    ])
    const list = table(['PROJECT', 'ORGANISATION', 'REF', 'DATA', 'WAL', 'LOG', ''], rows, new Set([3, 4, 5]))
    return { data: found, text: [head, '', ...(rows.length > 0 ? [list, ''] : []), freeableText(found)].join('\n') }
  },
})
