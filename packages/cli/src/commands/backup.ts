import { type Archive, backupFetch, backups } from '../api/local.ts'
import { type Context, command, type Group } from '../program/command.ts'
import { localTime, pairs } from '../terminal/output.ts'
import { OPEN_FLAGS, type OpenOptions, openKey } from '../terminal/seal.ts'
import { archive, store } from './backup-archive.ts'
import { create, isS3, projectsTable } from './backup-create.ts'
import { startedText, startFrom } from './backup-start.ts'

/** The file of a backup, which may lie in a bucket, for as long as `use` takes. */
export async function withFile<R>(context: Context, place: string, use: (file: string) => Promise<R>): Promise<R> {
  if (!isS3(place)) return await use(place)
  const { fetchBackup } = await backupFetch()
  const { file, done } = await context.spin('Fetching', () => fetchBackup(place))
  return await use(file).finally(done)
}

function shown(archive: Archive): string {
  const { header } = archive
  const about = pairs([
    ['Made', localTime(header.created_at)],
    ['Holds', header.scope === 'installation' ? 'a whole installation' : 'projects'],
    ['Version', header.server_version],
  ])
  return `${about}\n${projectsTable(archive)}`
}

/** Checks every byte; with a key also that its maker wrote the list. */
async function check(context: Context, file: string, key: Awaited<ReturnType<typeof openKey>>): Promise<Archive> {
  const { openBackup } = await backups()
  const archive = await openBackup(file)
  if (key) await archive.unlock(key)
  await context.spin('Checking', () => archive.verify())
  return archive
}

interface VerifyOptions extends OpenOptions {
  readonly start?: boolean
}

const verify = command<VerifyOptions, [file: string]>({
  use: 'verify <file>',
  says: 'read a backup to its end and compare it with its checksums; start it and count, if asked to',
  examples: ['sovra backup verify /mnt/backups/sovrabase-all-20261124T031500Z.tar', 'sovra backup verify backup.tar --start'],
  flags: [['--start', 'also unpack it into $TMPDIR, start each PostgreSQL of it, and count its rows'], ...OPEN_FLAGS],
  more: 'With a passphrase or key it is also checked that nobody has changed it since it was made.',
  async run(context, { start, ...options }, file) {
    return await withFile(context, file, async (path) => {
      const key = await openKey(options, start === true)
      const archive = await check(context, path, key)
      const started = start ? await startFrom(context, archive, await archive.unlock(key!)) : undefined
      const data = { file, ok: true, ...archive.header, ...archive.manifest, ...(started ? { started } : {}) }
      return { data, text: [shown(archive), ...(started ? [startedText(started)] : []), `${file} is whole.`].join('\n') }
    })
  },
})

export const backup: Group = { name: 'backup', says: 'backups of the server and of projects', commands: [create, verify, archive, store] }
