import { chmodSync, createWriteStream, existsSync, renameSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { type Archive, backupFetch, backups } from '../api/local.ts'
import { type Answer, type Context, command, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { bytes, localTime, pairs, type Spinner, table } from '../terminal/output.ts'
import { newSeal, OPEN_FLAGS, type OpenOptions, openKey, SEAL_FLAGS, type SealOptions } from '../terminal/seal.ts'
import { archive, store } from './backup-archive.ts'
import { startedText, startFrom } from './backup-start.ts'

interface CreateOptions extends SealOptions {
  readonly to: string
  readonly project?: string[]
  readonly all?: boolean
  readonly org?: string
  readonly label?: string
}

const PRIVATE = 0o600

/** A directory gets a name of its own in it. */
function fileFor(to: string, what: string): string {
  const path = resolve(to)
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const file = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? join(path, `sovrabase-${what}-${stamp}.tar`) : path
  if (existsSync(file)) throw stop('backup_exists', { file })
  return file
}

/** Written beside, checked as `verify` does, then put in place: what has the name is whole. */
async function save(body: Readable, file: string, spin: Spinner): Promise<Archive> {
  const part = `${file}.part`
  let seen = 0
  body.on('data', (chunk: Buffer) => {
    seen += chunk.length
    spin.say(`Backing up: ${bytes(seen)}`)
  })
  try {
    await pipeline(body, createWriteStream(part, { mode: PRIVATE })).catch((cause: unknown) => {
      throw stop('backup_truncated', { file }, { cause })
    })
    chmodSync(part, PRIVATE)
    spin.say('Checking')
    const { openBackup } = await backups()
    await (await openBackup(part)).verify()
    renameSync(part, file)
    return await openBackup(file)
  } catch (error) {
    rmSync(part, { force: true })
    throw error
  }
}

/** Those that --org and --label say, as if each was named. */
async function named(client: Client, { project = [], org, label }: CreateOptions): Promise<Pick<CreateOptions, 'project'>> {
  if (org === undefined && label === undefined) return { project }
  const found = await client.all<Project>('/projects', { organisation: org, label })
  if (found.length === 0) throw stop('usage_wrong', { reason: 'There is no such project', hint: 'Look at `sovra projects list`.' })
  return { project: [...project, ...found.map(({ ref }) => ref)] }
}

async function orderOf(client: Client, { project = [], all }: CreateOptions): Promise<{ path: string; what: string; body: object }> {
  if ((all === true) === project.length > 0)
    throw stop('usage_wrong', {
      reason: 'It must be said what is backed up',
      hint: 'Give --all, or --project once or more, or --org or --label.',
    })
  if (all) return { path: '/backups', what: 'all', body: {} }
  const found = await Promise.all(project.map((name) => findProject(client, name)))
  const [only] = found
  if (only && found.length === 1) return { path: `/projects/${only.ref}/backup`, what: only.name, body: {} }
  return { path: '/backups', what: 'projects', body: { projects: found.map(({ ref }) => ref) } }
}

interface MadeIn {
  readonly place: string
  readonly bytes: number
  readonly projects: number
}

const isS3 = (place: string): boolean => place.startsWith('s3://')

async function refsOf(client: Client, { project = [] }: CreateOptions): Promise<{ projects?: string[] }> {
  if (project.length === 0) return {}
  return { projects: await Promise.all(project.map(async (name) => (await findProject(client, name)).ref)) }
}

/** The server writes it: its credentials, and no way over this machine. */
async function inStore(context: Context, client: Client, body: object): Promise<Answer> {
  const made = await context.spin('Backing up', async () => (await (await client.stream('POST', '/backups', { body })).json()) as MadeIn)
  return { data: made, text: `${made.place}: ${made.projects} projects, ${bytes(made.bytes)}, checked.` }
}

/** The file of a backup, which may lie in a bucket, for as long as `use` takes. */
export async function withFile<R>(context: Context, place: string, use: (file: string) => Promise<R>): Promise<R> {
  if (!isS3(place)) return await use(place)
  const { fetchBackup } = await backupFetch()
  const { file, done } = await context.spin('Fetching', () => fetchBackup(place))
  return await use(file).finally(done)
}

const create = command<CreateOptions>({
  use: 'create',
  says: 'back up a running server, or some of its projects, into one file',
  examples: ['sovra backup create --all --to /mnt/backups', 'sovra backup create --project shop --to shop.tar --recipient age1…'],
  flags: [
    ['--to <file>', 'a new file, a directory that gets one, or s3://bucket/prefix, which the server writes (sovra backup store)'],
    ['--all', 'everything: metadata, keys, configuration, each project'],
    ['--project <project>', 'this project with its keys; more than once for several', { many: true }],
    ['--org <name>', 'every project of this organisation'],
    ['--label <name[=value]>', 'every project with this label'],
    ...SEAL_FLAGS,
  ],
  more: 'Nothing is woken, nothing stops. Keys are sealed; rows are not: keep the file where only you can read it.',
  async run(context, given) {
    if (!given.to) throw stop('usage_wrong', { reason: 'There is no target', hint: 'Give --to FILE or --to DIRECTORY.' })
    const client = await context.client()
    const options = { ...given, ...(await named(client, given)) }
    const order = await orderOf(client, options)
    const body = { ...order.body, ...(await newSeal(options)) }
    const began = Date.now()
    if (isS3(options.to)) return await inStore(context, client, { ...body, to: options.to, ...(await refsOf(client, options)) })
    const file = fileFor(options.to, order.what)
    const archive = await context.spin('Backing up', async (spin) => {
      const response = await client.stream('POST', order.path, { body })
      return await save(Readable.fromWeb(response.body as never), file, spin)
    })
    const { size } = statSync(file)
    const data = { file, bytes: size, ms: Date.now() - began, ...archive.header, projects: archive.manifest.projects }
    return { data, text: `${file}: ${archive.manifest.projects.length} projects, ${bytes(size)}, checked.` }
  },
})

function shown({ header, manifest }: Archive): string {
  const rows = manifest.projects.map(({ ref, name, organisation, state, services }) => [
    `${organisation}/${name}`,
    ref,
    state,
    services.map((service) => `${service.name} ${bytes(service.bytes)}${service.awake ? ', awake' : ''}`).join('; '),
  ])
  const about = pairs([
    ['Made', localTime(header.created_at)],
    ['Holds', header.scope === 'installation' ? 'a whole installation' : 'projects'],
    ['Version', header.server_version],
  ])
  return `${about}\n${table(['PROJECT', 'REF', 'STATE', 'SERVICES'], rows)}`
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
