import { createWriteStream, statfsSync } from 'node:fs'
import { chmod, mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { unpackedMember } from './base/archive/bounded.ts'
import {
  INSTALLATION,
  type Installation,
  METADATA,
  type ProjectRecord,
  projectMember,
  RECORD,
  serviceMember,
  uploadMember,
} from './base/archive/format.ts'
import { Archive } from './base/archive/read.ts'
import type { OpenWith } from './base/archive/seal.ts'
import { padding, tarEnd, tarHeader } from './base/archive/tar.ts'
import { fail, isSovraError } from './base/errors.ts'
import { removeOnInterrupt } from './base/interrupted.ts'
import { acquireLock, type Lock } from './base/lock.ts'
import { unpack } from './runtime/drivers/embedded/parcel.ts'
import { must, syncDirectory } from './runtime/drivers/embedded/shell.ts'

export type { Archive, OpenWith, ProjectRecord }
export { removeOnInterrupt }

/** A backup in a file; its list is checked, its contents not yet. */
export const openBackup = (file: string): Promise<Archive> => Archive.open(resolve(file))

export const readProject = (archive: Archive, identity: string, ref: string): Promise<ProjectRecord> =>
  archive.open<ProjectRecord>(projectMember(ref), identity, 'record')

/** What a server takes to restore one project, and which members it is made of. */
export function uploadOf(archive: Archive, record: ProjectRecord): { readonly members: ReadonlySet<string>; readonly stream: Readable } {
  const made = record.services.filter(({ sha256 }) => sha256 !== null)
  async function* parts(): AsyncGenerator<Buffer> {
    const text = Buffer.from(JSON.stringify(record))
    yield Buffer.concat([tarHeader(RECORD, text.length, 0), text, Buffer.alloc(padding(text.length))])
    for (const { name } of made) {
      const member = serviceMember(record.ref, name)
      const size = archive.size(member)
      yield tarHeader(uploadMember(name), size, 0)
      for await (const chunk of archive.stream(member)) yield chunk as Buffer
      yield Buffer.alloc(padding(size))
    }
    yield tarEnd()
  }
  return {
    members: new Set([projectMember(record.ref), ...made.map(({ name }) => serviceMember(record.ref, name))]),
    stream: Readable.from(parts()),
  }
}

export interface RestoreOptions {
  readonly archive: Archive
  readonly key: OpenWith
  /** Not there yet, or empty. */
  readonly dataDir: string
  /** Told what is being done. */
  readonly say?: (text: string) => void
}

export interface Restored {
  readonly dataDir: string
  readonly projects: number
  /** Where the configuration of the backup lies now; null: it had none. */
  readonly config: string | null
}

const PRIVATE = { file: 0o600, folder: 0o700 } as const

/** Refuses what holds anything: nothing is ever overwritten. */
async function refuseUsed(dataDir: string): Promise<void> {
  const names = await readdir(dataDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw fail('directory_unusable', { dir: dataDir, reason: error.code ?? 'unknown' }, { cause: error })
  })
  if (names.length > 0) throw fail('restore_target_used', { dir: dataDir })
}

const LOCK = 'lock'

/** The directory beside it that it is made in, held by this process alone; what a killed one has left there goes. */
async function holdFresh(fresh: string, target: string): Promise<Lock> {
  await mkdir(fresh, { recursive: true, mode: PRIVATE.folder }).catch((cause: NodeJS.ErrnoException) => {
    throw fail('directory_unusable', { dir: dirname(fresh), reason: cause.code ?? 'unknown' }, { cause })
  })
  const lock = await acquireLock(fresh).catch((error: unknown) => {
    throw isSovraError(error, 'already_running') ? fail('restore_under_way', { dir: target }, { cause: error }) : error
  })
  try {
    for (const name of await readdir(fresh)) if (name !== LOCK) await rm(join(fresh, name), { recursive: true, force: true })
    return lock
  } catch (error) {
    lock.release()
    throw error
  }
}

/** A whole installation into a new data directory, put in place by one rename: until then nothing is there. Everything is verified first. */
export async function restoreInstallation({ archive, key, dataDir, say = () => {} }: RestoreOptions): Promise<Restored> {
  const target = resolve(dataDir)
  if (archive.header.scope !== 'installation') throw fail('backup_not_whole', { file: archive.file })
  await refuseUsed(target)
  const identity = await archive.unlock(key)
  say('Checking')
  await archive.verify()
  const fresh = join(dirname(target), `.${target.split('/').at(-1)}.restoring`)
  const lock = await holdFresh(fresh, target)
  const interrupted = removeOnInterrupt(fresh)
  try {
    refuseNoRoom(archive, fresh)
    const config = await fill(archive, identity, fresh, say)
    await must('sync', ['-f', '--', fresh], dirname(target))
    // Another one may have been done meanwhile.
    await refuseUsed(target)
    await rmdir(target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw fail('directory_unusable', { dir: target, reason: error.code ?? 'unknown' }, { cause: error })
    })
    interrupted.end()
    await rename(fresh, target)
    await rm(join(target, LOCK), { recursive: true, force: true })
    await syncDirectory(dirname(target))
    return { dataDir: target, projects: archive.manifest.projects.length, config: config === null ? null : join(target, config) }
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    throw error
  } finally {
    interrupted.end()
    lock.release()
  }
}

/** Answers the configuration's path within. */
async function fill(archive: Archive, identity: string, dir: string, say: (text: string) => void): Promise<string | null> {
  const keys = join(dir, 'keys')
  await mkdir(keys, { recursive: true, mode: PRIVATE.folder })
  await mkdir(join(dir, 'projects'), { mode: PRIVATE.folder })
  const made = await archive.open<Installation>(INSTALLATION, identity, 'installation')
  const secret = (name: string, text: string) => writeFile(join(keys, name), `${text}\n`, { mode: PRIVATE.file, flag: 'wx' })
  await secret('root.key', made.root_keys.join('\n'))
  await secret('jwt.secret', made.jwt_secret)
  await secret('template.key', made.template_key)
  await secret('node.name', made.node_name)
  if (made.config !== null) await secret('config.yaml', made.config)
  await unpackMetadata(archive, dir)
  for (const [index, { ref, name }] of archive.manifest.projects.entries()) {
    say(`Unpacking ${name} (${index + 1} of ${archive.manifest.projects.length})`)
    await unpackProject(archive, await readProject(archive, identity, ref), join(dir, 'projects'))
  }
  return made.config === null ? null : 'keys/config.yaml'
}

async function unpackMetadata(archive: Archive, dir: string): Promise<void> {
  const file = createWriteStream(join(dir, 'metadata.sqlite'), { mode: PRIVATE.file, flags: 'wx' })
  const { stream, ended } = unpackedMember(archive, METADATA, freeIn(dir) - needOf(archive))
  // Why there is no more of it says more than that there is not.
  await pipeline(stream, file).catch(async (error: unknown) => {
    await ended
    throw error
  })
}

const mebibytes = (bytes: number): number => Math.ceil(bytes / 2 ** 20)

/** Bytes of all projects' data, as the list has it. */
const needOf = ({ manifest: { projects } }: Archive): number =>
  projects.reduce((sum, { services }) => services.reduce((all, { bytes }) => all + bytes, sum), 0)

function freeIn(dir: string): number {
  const { bavail, bsize } = statfsSync(dir)
  return bavail * bsize
}

/** Before anything is written: a disk that fills up half-way would take what else lies on it along. */
function refuseNoRoom(archive: Archive, dir: string): void {
  const [need, free] = [needOf(archive) + (archive.has(METADATA) ? archive.size(METADATA) : 0), freeIn(dir)]
  if (need > free) throw fail('restore_no_room', { dir: dirname(dir), need: mebibytes(need), free: mebibytes(free) })
}

export interface UnpackedVolume {
  readonly volume: string
  readonly project: string
  readonly service: string
}

/** The data of all services into a data directory without metadata: to be looked at, not to be served. */
export async function unpackVolumes(archive: Archive, identity: string, dir: string): Promise<UnpackedVolume[]> {
  const volumes: UnpackedVolume[] = []
  await mkdir(join(dir, 'projects'), { recursive: true, mode: PRIVATE.folder })
  refuseNoRoom(archive, dir)
  for (const { ref, name, organisation } of archive.manifest.projects) {
    const record = await readProject(archive, identity, ref)
    await unpackProject(archive, record, join(dir, 'projects'))
    for (const { name: service, volume, sha256 } of record.services)
      if (sha256 !== null) volumes.push({ volume, project: `${organisation}/${name}`, service })
  }
  return volumes
}

async function unpackProject(archive: Archive, { ref, services }: ProjectRecord, projects: string): Promise<void> {
  for (const { name, volume, sha256 } of services) {
    if (sha256 === null) continue
    if (!/^[a-z0-9][a-z0-9._-]{0,99}$/.test(volume)) throw fail('backup_damaged', { file: archive.file, member: projectMember(ref) })
    const dir = join(projects, volume)
    await mkdir(dir, { mode: PRIVATE.folder }).catch((cause: NodeJS.ErrnoException) => {
      throw cause.code === 'EEXIST' ? fail('backup_damaged', { file: archive.file, member: projectMember(ref) }, { cause }) : cause
    })
    const stated = archive.manifest.projects.find((project) => project.ref === ref)?.services.find((service) => service.name === name)
    const { stream, ended } = unpackedMember(archive, serviceMember(ref, name), stated?.bytes ?? 0)
    await unpack(dir, null, stream).catch(async (error: unknown) => {
      await ended
      throw error
    })
    await ended
    // Whatever its archive says.
    await chmod(dir, PRIVATE.folder)
  }
}
