import { randomBytes } from 'node:crypto'
import { lstat, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { fail } from '../../../base/errors.ts'
import type { Usage } from '../../driver.ts'
import type { Accounts } from './accounts.ts'
import { type UidPool, uidPool } from './accounts.ts'
import type { Layout } from './layout.ts'
import { pack, unpack } from './parcel.ts'
import { must, run, syncDirectory } from './shell.ts'

const LOG_LIMIT = 4 << 20
const COPY = ['-a', '--no-preserve=ownership', '--reflink=auto', '--sparse=always'] as const
// What begins with a dot is never a volume: unfinished copies, and removed ones that are not physically gone yet.
const visible = (names: string[]): string[] => names.filter((name) => !name.startsWith('.')).sort()

/** Project directories: made, copied, renamed, measured, removed; whole or absent at any moment of a power cut. */
export class Volumes {
  readonly #layout: Layout
  /** null: everything is this process's own. */
  readonly #pool: UidPool | null

  private constructor(layout: Layout, pool: UidPool | null) {
    this.#layout = layout
    this.#pool = pool
  }

  static async open(layout: Layout, { projects }: Accounts): Promise<Volumes> {
    const names = visible(await readdir(layout.projects))
    const owners = await Promise.all(names.map((name) => ownerOf(join(layout.projects, name))))
    if (projects === null) return new Volumes(layout, null)
    const used = owners.filter((uid) => uid !== null)
    const volumes = new Volumes(layout, uidPool(projects, used))
    if (projects.count > 1) await volumes.#separate(names, owners)
    return volumes
  }

  path(volume: string): string {
    return join(this.#layout.projects, volume)
  }

  /** Its uid; null when there is no such volume. */
  async owner(volume: string): Promise<number | null> {
    return await ownerOf(this.path(volume))
  }

  async list(): Promise<string[]> {
    return visible(await readdir(this.#layout.projects))
  }

  async templates(): Promise<string[]> {
    return visible(await readdir(this.#layout.templates))
  }

  #logPath(volume: string): string {
    return join(this.#layout.logs, `${volume}.log`)
  }

  #hidden(kind: 'new' | 'gone', name: string): string {
    return join(this.#layout.projects, `.${kind}-${name}-${randomBytes(6).toString('hex')}`)
  }

  /** A volume that came from another machine or another kind of start gets a uid of its own; chown gives the top directory last, so that a half way is done again. */
  async #separate(names: string[], owners: (number | null)[]): Promise<void> {
    const seen = new Set<number>()
    for (const [index, name] of names.entries()) {
      const uid = owners[index]
      if (uid === null || uid === undefined || !this.#pool) continue
      if (this.#pool.fits(uid) && !seen.has(uid)) seen.add(uid)
      else await give(this.path(name), this.#pool.take())
    }
  }

  async #fill(from: string | null, to: string): Promise<boolean> {
    if ((await this.owner(to)) !== null) return false
    const fresh = this.#hidden('new', to)
    const uid = this.#pool?.take()
    try {
      if (from === null) await mkdir(fresh, { mode: 0o700 })
      else await must('cp', [...COPY, '--', from, fresh], this.#layout.projects)
      await must('chmod', ['0700', '--', fresh], fresh)
      if (uid !== undefined) await give(fresh, uid)
      // cp alone is not power-safe: the whole file system is written out once, cheaper than a thousand fsyncs.
      await must('sync', ['-f', '--', fresh], this.#layout.projects)
      await rename(fresh, this.path(to))
      await syncDirectory(this.#layout.projects)
      return true
    } catch (error) {
      if (uid !== undefined) this.#pool?.free(uid)
      await must('rm', ['-rf', '--one-file-system', '--', fresh], this.#layout.projects).catch(() => {})
      throw error
    }
  }

  /** The volume as a tar. */
  async pack(volume: string, to: Socket): Promise<void> {
    const owner = await this.#present(volume)
    await pack(this.path(volume), this.#pool ? owner : null, to)
  }

  /** A new volume from a tar; `volume_exists`. */
  async unpack(volume: string, from: Socket): Promise<void> {
    if ((await this.owner(volume)) !== null) throw fail('volume_exists', { volume })
    const fresh = this.#hidden('new', volume)
    const uid = this.#pool?.take()
    try {
      await mkdir(fresh, { mode: 0o700 })
      if (uid !== undefined) await give(fresh, uid)
      await unpack(fresh, uid ?? null, from)
      await must('chmod', ['0700', '--', fresh], fresh)
      await must('sync', ['-f', '--', fresh], this.#layout.projects)
      await rename(fresh, this.path(volume))
      await syncDirectory(this.#layout.projects)
    } catch (error) {
      if (uid !== undefined) this.#pool?.free(uid)
      await must('rm', ['-rf', '--one-file-system', '--', fresh], this.#layout.projects).catch(() => {})
      throw error
    }
  }

  async #present(volume: string): Promise<number> {
    const uid = await this.owner(volume)
    if (uid === null) throw fail('volume_missing', { volume })
    return uid
  }

  /** What a killed run left unfinished: asked before anything new is begun. */
  async leftovers(): Promise<string[]> {
    return (await readdir(this.#layout.projects)).filter((name) => /^\.(new|gone)-/.test(name))
  }

  async sweep(leftovers: readonly string[]): Promise<void> {
    const paths = leftovers.map((name) => join(this.#layout.projects, name))
    if (paths.length > 0) await must('rm', ['-rf', '--one-file-system', '--', ...paths], this.#layout.projects)
  }

  async make(volume: string, template: string | null): Promise<boolean> {
    if (template !== null && !(await lstat(join(this.#layout.templates, template)).catch(() => null)))
      throw fail('template_missing', { template })
    return await this.#fill(template === null ? null : join(this.#layout.templates, template), volume)
  }

  async copy(from: string, to: string): Promise<void> {
    await this.#present(from)
    if (!(await this.#fill(this.path(from), to))) throw fail('volume_exists', { volume: to })
  }

  /** A new volume, under a uid of its own, that holds a copy of another; the rest is made beside it. Reflinks where the file system has them. */
  async stage(from: string, to: string, files: Readonly<Record<string, string>>): Promise<void> {
    await this.#present(from)
    if ((await this.owner(to)) !== null) throw fail('volume_exists', { volume: to })
    const fresh = this.#hidden('new', to)
    const uid = this.#pool?.take()
    try {
      await mkdir(fresh, { mode: 0o700 })
      await must('cp', [...COPY, '--', this.path(from), join(fresh, 'old')], this.#layout.projects)
      for (const [name, text] of Object.entries(files)) await writeFile(join(fresh, name), text, { mode: 0o600 })
      if (uid !== undefined) await give(fresh, uid)
      await rename(fresh, this.path(to))
    } catch (error) {
      if (uid !== undefined) this.#pool?.free(uid)
      await must('rm', ['-rf', '--one-file-system', '--', fresh], this.#layout.projects).catch(() => {})
      throw error
    }
  }

  /** Not whole at any moment, as one that is moved is: nobody counts on it before it is done. */
  async unfold(volume: string, inner: string): Promise<void> {
    await this.#present(volume)
    const from = join(this.path(volume), inner)
    if ((await ownerOf(from)) === null) throw fail('volume_missing', { volume: `${volume}/${inner}` })
    const [fresh, gone] = [this.#hidden('new', volume), this.#hidden('gone', volume)]
    await rename(from, fresh)
    await must('chmod', ['0700', '--', fresh], fresh)
    await must('sync', ['-f', '--', fresh], this.#layout.projects)
    await rename(this.path(volume), gone)
    await rename(fresh, this.path(volume))
    await syncDirectory(this.#layout.projects)
    await must('rm', ['-rf', '--one-file-system', '--', gone], this.#layout.projects)
  }

  async move(from: string, to: string): Promise<void> {
    if ((await this.owner(to)) !== null) throw fail('volume_exists', { volume: to })
    await this.#present(from)
    await rename(this.path(from), this.path(to))
    await rename(this.#logPath(from), this.#logPath(to)).catch(() => {})
    await syncDirectory(this.#layout.projects)
  }

  async remove(volume: string): Promise<void> {
    const uid = await this.owner(volume)
    if (uid !== null) {
      const gone = this.#hidden('gone', volume)
      await rename(this.path(volume), gone)
      await syncDirectory(this.#layout.projects)
      await must('rm', ['-rf', '--one-file-system', '--', gone], this.#layout.projects)
      this.#pool?.free(uid)
    }
    for (const file of [this.#logPath(volume), `${this.#logPath(volume)}.1`]) await rm(file, { force: true })
  }

  /** Allocated bytes (sparse files count what they hold); files that vanish meanwhile are no error. */
  async disk(volume: string): Promise<number> {
    await this.#present(volume)
    const { out } = await run('du', ['-s', '-x', '-B1', '--', this.path(volume)])
    await limitLog(this.#logPath(volume))
    return Number(out.split('\t')[0]) || 0
  }

  async usage(volume: string): Promise<Usage> {
    await this.#present(volume)
    const path = this.path(volume)
    const { out } = await run('du', ['-x', '-B1', '-d1', '--', path])
    const sizes = new Map(out.split('\n').map((line) => [line.slice(line.indexOf('\t') + 1), Number.parseInt(line, 10) || 0]))
    const parts: Record<string, number> = {}
    for (const [name, size] of sizes) if (name.startsWith(`${path}/`)) parts[name.slice(path.length + 1)] = size
    const logs = await Promise.all([this.#logPath(volume), `${this.#logPath(volume)}.1`].map((file) => lstat(file).catch(() => null)))
    return { total: sizes.get(path) ?? 0, parts, log: logs.reduce((sum, found) => sum + (found?.size ?? 0), 0) }
  }

  async promote(volume: string, template: string): Promise<void> {
    await this.#present(volume)
    if (await lstat(join(this.#layout.templates, template)).catch(() => null)) throw fail('volume_exists', { volume: template })
    if (this.#pool) await give(this.path(volume), 0)
    await must('sync', ['-f', '--', this.path(volume)], this.#layout.projects)
    await rename(this.path(volume), join(this.#layout.templates, template))
    await syncDirectory(this.#layout.templates)
    await syncDirectory(this.#layout.projects)
    await rm(this.#logPath(volume), { force: true })
  }

  /** For appending: what the process writes. */
  async openLog(volume: string) {
    await limitLog(this.#logPath(volume))
    return await open(this.#logPath(volume), 'a', 0o600)
  }

  async readLog(volume: string, bytes: number): Promise<string> {
    return await tail(this.#logPath(volume), bytes)
  }
}

async function ownerOf(path: string): Promise<number | null> {
  const found = await lstat(path).catch(() => null)
  return found?.isDirectory() ? found.uid : null
}

const give = (dir: string, uid: number): Promise<string> => must('chown', ['-R', '-h', `${uid}:${uid}`, '--', dir], dir)

async function tail(file: string, bytes: number): Promise<string> {
  const handle = await open(file, 'r').catch(() => null)
  if (!handle) return ''
  try {
    const { size } = await handle.stat()
    const length = Math.min(size, bytes)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** A process appends to the open file, so it is cut where it lies; its last part stays as `.1`. */
async function limitLog(file: string): Promise<void> {
  const found = await lstat(file).catch(() => null)
  if (!found || found.size <= LOG_LIMIT) return
  const last = await tail(file, LOG_LIMIT >> 2)
  const old = await open(`${file}.1`, 'w', 0o600)
  await old.writeFile(last).finally(() => old.close())
  const handle = await open(file, 'r+')
  await handle.truncate(0).finally(() => handle.close())
}
