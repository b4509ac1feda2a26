import { chmodSync, createWriteStream, existsSync, renameSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { type Archive, backups } from '../api/local.ts'
import { type Answer, type Context, command } from '../program/command.ts'
import { chosen, MANY_FLAGS, type ManyOptions, onMany } from '../program/many.ts'
import { stop } from '../terminal/errors.ts'
import { bytes, count, type Spinner, table } from '../terminal/output.ts'
import { newSeal, SEAL_FLAGS, type SealOptions } from '../terminal/seal.ts'

interface CreateOptions extends SealOptions, ManyOptions {
  readonly to: string
  readonly project?: string[]
  readonly each?: boolean
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

function unwritable(file: string, cause: NodeJS.ErrnoException): Error {
  return stop('backup_unwritable', { file, reason: cause.code ?? 'unknown' }, { cause })
}

/** Written beside, checked as `verify` does, then put in place: what has the name is whole. */
async function save(body: Readable, file: string, spin: Pick<Spinner, 'say'>): Promise<Archive> {
  const part = `${file}.part`
  let seen = 0
  body.on('data', (chunk: Buffer) => {
    seen += chunk.length
    spin.say(`Backing up: ${bytes(seen)}`)
  })
  try {
    await pipeline(body, createWriteStream(part, { mode: PRIVATE })).catch((cause: NodeJS.ErrnoException) => {
      // Ours, or the server's.
      throw cause.syscall === 'open' || cause.syscall === 'write' ? unwritable(file, cause) : stop('backup_broken_off', {}, { cause })
    })
    chmodSync(part, PRIVATE)
    spin.say('Checking')
    const { openBackup } = await backups()
    const archive = await openBackup(part).catch((cause: { code?: string }) => {
      throw cause.code === 'backup_truncated' ? stop('backup_broken_off', {}, { cause }) : cause
    })
    await archive.verify()
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

export const isS3 = (place: string): boolean => place.startsWith('s3://')

async function refsOf(client: Client, { project = [] }: CreateOptions): Promise<{ projects?: string[] }> {
  if (project.length === 0) return {}
  return { projects: await Promise.all(project.map(async (name) => (await findProject(client, name)).ref)) }
}

/** The server writes it: its credentials, and no way over this machine. */
async function inStore(context: Context, client: Client, body: object): Promise<Answer> {
  const made = await context.spin('Backing up', async () => (await (await client.stream('POST', '/backups', { body })).json()) as MadeIn)
  return { data: made, text: `${made.place}: ${made.projects} projects, ${bytes(made.bytes)}, checked.` }
}

export const projectsTable = ({ manifest }: Archive): string =>
  table(
    ['PROJECT', 'REF', 'STATE', 'SERVICES'],
    manifest.projects.map(({ ref, name, organisation, state, services }) => [
      `${organisation}/${name}`,
      ref,
      state,
      services.map((service) => `${service.name} ${bytes(service.bytes)}${service.awake ? ', awake' : ''}`).join('; '),
    ]),
  )

/** A file for each of many. */
async function eachInto(context: Context, client: Client, options: CreateOptions): Promise<Answer> {
  const dir = resolve(options.to)
  if (options.project || !statSync(dir, { throwIfNoEntry: false })?.isDirectory())
    throw stop('usage_wrong', {
      reason: '--each needs many projects and a directory',
      hint: 'Give --all, --org or --label, and --to DIRECTORY.',
    })
  const projects = await chosen(client, undefined, options)
  const seal = await newSeal(options)
  const said = { ...options, anew: !options.resume }
  return onMany(context, client, projects, said, {
    recorded: { command: 'backup create', dir },
    async work({ ref, name }) {
      // Two organisations may have the same name.
      const file = fileFor(dir, `${name}-${ref}`)
      const response = await client.stream('POST', `/projects/${ref}/backup`, { body: seal })
      await save(Readable.fromWeb(response.body as never), file, { say: () => {} })
      return { file, bytes: statSync(file).size }
    },
    says: ({ file, bytes: size }) => `${file}, ${bytes(size)}`,
  })
}

export const create = command<CreateOptions>({
  use: 'create',
  says: 'back up a running server, or some of its projects, into one file',
  examples: ['sovra backup create --all --to /mnt/backups', 'sovra backup create --project shop --to shop.tar --recipient age1…'],
  flags: [
    ['--to <file>', 'a new file, a directory that gets one, or s3://bucket/prefix, which the server writes (sovra backup store)'],
    ['--project <project>', 'this project with its keys; more than once for several', { many: true }],
    ['--each', 'of many: a file for each project in the directory --to, so that one that fails stops no other'],
    ...MANY_FLAGS,
    ['--resume', 'with --each: pass over those that an unfinished run of the last day has done'],
    ...SEAL_FLAGS,
  ],
  more: `Nothing is woken, nothing stops. Keys are sealed; rows are not: keep the file where only you can read it.
--all without --each is everything in one file: metadata, root key and configuration too. --parallel and --continue-on-error go with --each.`,
  async run(context, given) {
    if (!given.to) throw stop('usage_wrong', { reason: 'There is no target', hint: 'Give --to FILE or --to DIRECTORY.' })
    const client = await context.client()
    if (given.each) return await eachInto(context, client, given)
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
    const text = `${projectsTable(archive)}\n${file}: ${count(archive.manifest.projects.length, 'project')}, ${bytes(size)}, checked.`
    return { data, text }
  },
})
