import type { Project } from '@sovrabase/contract/project'
import { type Archive, backups, configuredDataDir } from '../api/local.ts'
import { type Answer, type Context, command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { OPEN_FLAGS, type OpenOptions, openKey } from '../terminal/seal.ts'
import { withFile } from './backup.ts'
import { branchText, makeBranch } from './projects-branch.ts'

interface Options extends OpenOptions {
  readonly project?: string
  readonly as?: string
  readonly org?: string
  readonly dataDir?: string
  readonly toTime?: string
}

function refOf({ manifest: { projects }, file }: Archive, wanted: string | undefined): string {
  const named = projects.filter(
    ({ ref, name, organisation }) => wanted === undefined || [ref, name, `${organisation}/${name}`].includes(wanted),
  )
  const [only] = named
  if (only && named.length === 1) return only.ref
  const known = projects.map(({ organisation, name }) => `${organisation}/${name}`).join(', ')
  if (named.length > 1) throw stop('name_ambiguous', { name: wanted ?? file, known: named.map(({ ref }) => ref).join(', ') })
  throw stop('backup_project_missing', { name: wanted ?? '', known })
}

/** Beside what runs: the server is sent this one project, after all of it was checked here. */
async function one(context: Context, archive: Archive, { project, as, org, ...open }: Options): Promise<Answer> {
  const { readProject, uploadOf } = await backups()
  const ref = refOf(archive, project)
  const client = await context.client()
  const identity = await archive.unlock((await openKey(open, true))!)
  const record = await readProject(archive, identity, ref)
  const { members, stream } = uploadOf(archive, record)
  const made = await context.spin('Checking', async (spin) => {
    await archive.verify(members)
    spin.say('Restoring')
    const asked = { query: { organisation: org, name: as }, upload: { type: 'application/x-tar', stream } }
    return (await (await client.stream('POST', '/restores', asked)).json()) as Project
  })
  return {
    data: made,
    text: `${made.organisation.name}/${made.name} (${made.ref}) is back${as ? ', with keys of its own' : ', with its keys'}.`,
  }
}

async function whole(context: Context, archive: Archive, { dataDir, ...open }: Options): Promise<Answer> {
  const { restoreInstallation } = await backups()
  const target = dataDir ?? (await configuredDataDir())
  const key = (await openKey(open, true))!
  const done = await context.spin('Restoring', (spin) => restoreInstallation({ archive, key, dataDir: target, say: spin.say }))
  const text = [`${done.dataDir}: ${done.projects} projects are back. Start the server on it.`]
  if (done.config) text.push(`The configuration that it had: ${done.config}`)
  if (done.config) text.push('Where that puts the metadata on a database server: sovra metadata import, into an empty database.')
  return { data: done, text: text.join('\n') }
}

/** Out of the project's archive, beside it. */
async function toTime(context: Context, { project, as, org, toTime: at }: Options): Promise<Answer> {
  if (project === undefined && at === undefined)
    throw stop('usage_wrong', { reason: 'There is no backup', hint: 'Give its FILE, or --project P --to-time T --as NAME.' })
  if (project === undefined || as === undefined || at === undefined)
    throw stop('usage_wrong', { reason: 'A point in time becomes a project of its own', hint: 'Give --project P --to-time T --as NAME.' })
  const made = await makeBranch(context, await context.client(), { from: project, name: as, at, ...(org === undefined ? {} : { org }) })
  return { data: made, text: branchText(made, project, at) }
}

export const restore = command<Options, [file?: string]>({
  use: 'restore [file]',
  says: 'bring back a whole server into an empty data directory, or one project beside what runs',
  examples: [
    'sovra restore backup.tar --data-dir /var/lib/sovrabase',
    'sovra restore backup.tar --project shop --as shop-of-monday',
    'sovra restore --project shop --to-time 2026-11-26T12:00:00 --as shop-at-noon',
  ],
  flags: [
    ['--project <project>', 'only this project, into the running server; same ref, keys and rows'],
    ['--as <name>', 'as a new project of this name, with keys of its own'],
    ['--to-time <time>', 'without a file: as the project was then, out of its archive (sovra backup archive)'],
    ['--org <organisation>', 'into this organisation; by default the one that it belonged to'],
    ['--data-dir <dir>', 'new data directory for a whole installation; by default the configured one'],
    ...OPEN_FLAGS,
  ],
  more: 'Everything is checked before anything is touched, and nothing is ever overwritten.',
  async run(context, options, file) {
    if (file === undefined || options.toTime !== undefined) return await toTime(context, options)
    return await withFile(context, file, async (path) => {
      const { openBackup } = await backups()
      const archive = await openBackup(path)
      const single = options.project !== undefined || options.as !== undefined
      return await (single || archive.header.scope === 'projects' ? one(context, archive, options) : whole(context, archive, options))
    })
  },
})
