import { randomBytes } from 'node:crypto'
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fail } from '../../../base/errors.ts'
import type { Accounts } from './accounts.ts'
import { uidPool } from './accounts.ts'
import type { Layout } from './layout.ts'
import { must, run, syncDirectory } from './shell.ts'

const LOG_LIMIT = 4 << 20
// What begins with a dot is never a volume: unfinished copies, and removed ones that are not physically gone yet.
const visible = (names: string[]): string[] => names.filter((name) => !name.startsWith('.')).sort()

/** Project directories: made, copied, renamed, measured, removed; whole or absent at any moment of a power cut. */
export async function openVolumes(layout: Layout, accounts: Accounts) {
  const { projects, templates, logs } = layout
  const path = (volume: string): string => join(projects, volume)
  const logPath = (volume: string): string => join(logs, `${volume}.log`)
  const hidden = (kind: 'new' | 'gone', name: string): string => join(projects, `.${kind}-${name}-${randomBytes(6).toString('hex')}`)

  const give = (dir: string, uid: number): Promise<string> => must('chown', ['-R', '-h', `${uid}:${uid}`, '--', dir], dir)

  async function owner(volume: string): Promise<number | null> {
    const found = await lstat(path(volume)).catch(() => null)
    return found?.isDirectory() ? found.uid : null
  }

  const names = visible(await readdir(projects))
  const owners = await Promise.all(names.map(owner))
  const pool =
    accounts.projects &&
    uidPool(
      accounts.projects,
      owners.filter((uid) => uid !== null),
    )
  if (pool && accounts.projects!.count > 1) await separate(names, owners)

  /** A volume that came from another machine or another kind of start gets a uid of its own; chown gives the top directory last, so that a half way is done again. */
  async function separate(all: string[], uids: (number | null)[]): Promise<void> {
    const seen = new Set<number>()
    for (const [index, name] of all.entries()) {
      const uid = uids[index]
      if (uid === null || uid === undefined) continue
      if (pool!.fits(uid) && !seen.has(uid)) seen.add(uid)
      else await give(path(name), pool!.take())
    }
  }

  async function fill(from: string | null, to: string): Promise<boolean> {
    if ((await owner(to)) !== null) return false
    const fresh = hidden('new', to)
    const uid = pool?.take()
    try {
      if (from === null) await mkdir(fresh, { mode: 0o700 })
      else await must('cp', ['-a', '--no-preserve=ownership', '--reflink=auto', '--sparse=always', '--', from, fresh], projects)
      await must('chmod', ['0700', '--', fresh], fresh)
      if (uid !== undefined) await give(fresh, uid)
      // cp alone is not power-safe: the whole file system is written out once, cheaper than a thousand fsyncs.
      await must('sync', ['-f', '--', fresh], projects)
      await rename(fresh, path(to))
      await syncDirectory(projects)
      return true
    } catch (error) {
      if (uid !== undefined) pool?.free(uid)
      await must('rm', ['-rf', '--one-file-system', '--', fresh], projects).catch(() => {})
      throw error
    }
  }

  async function present(volume: string): Promise<number> {
    const uid = await owner(volume)
    if (uid === null) throw fail('volume_missing', { volume })
    return uid
  }

  async function sweep(): Promise<void> {
    for (const name of (await readdir(projects)).filter((one) => /^\.(new|gone)-/.test(one))) {
      await must('rm', ['-rf', '--one-file-system', '--', join(projects, name)], projects)
    }
  }

  return {
    path,
    logPath,
    owner,
    list: async (): Promise<string[]> => visible(await readdir(projects)),
    templates: async (): Promise<string[]> => visible(await readdir(templates)),
    /** Removes what a killed run left unfinished. */
    sweep,

    async make(volume: string, template: string | null): Promise<boolean> {
      if (template !== null && !(await lstat(join(templates, template)).catch(() => null))) throw fail('template_missing', { template })
      return await fill(template === null ? null : join(templates, template), volume)
    },

    async copy(from: string, to: string): Promise<void> {
      await present(from)
      if (!(await fill(path(from), to))) throw fail('volume_exists', { volume: to })
    },

    async move(from: string, to: string): Promise<void> {
      if ((await owner(to)) !== null) throw fail('volume_exists', { volume: to })
      await present(from)
      await rename(path(from), path(to))
      await rename(logPath(from), logPath(to)).catch(() => {})
      await syncDirectory(projects)
    },

    async remove(volume: string): Promise<void> {
      const uid = await owner(volume)
      if (uid !== null) {
        const gone = hidden('gone', volume)
        await rename(path(volume), gone)
        await syncDirectory(projects)
        await must('rm', ['-rf', '--one-file-system', '--', gone], projects)
        pool?.free(uid)
      }
      for (const file of [logPath(volume), `${logPath(volume)}.1`]) await rm(file, { force: true })
    },

    /** Allocated bytes (sparse files count what they hold); files that vanish meanwhile are no error. */
    async disk(volume: string): Promise<number> {
      await present(volume)
      const { out } = await run('du', ['-s', '-x', '-B1', '--', path(volume)])
      await limitLog(logPath(volume))
      return Number(out.split('\t')[0]) || 0
    },

    async promote(volume: string, template: string): Promise<void> {
      await present(volume)
      if (await lstat(join(templates, template)).catch(() => null)) throw fail('volume_exists', { volume: template })
      if (pool) await give(path(volume), 0)
      await must('sync', ['-f', '--', path(volume)], projects)
      await rename(path(volume), join(templates, template))
      await syncDirectory(templates)
      await syncDirectory(projects)
      await rm(logPath(volume), { force: true })
    },

    /** For appending: what the process writes. */
    async openLog(volume: string) {
      await limitLog(logPath(volume))
      return await open(logPath(volume), 'a', 0o600)
    },

    async readLog(volume: string, bytes: number): Promise<string> {
      return await tail(logPath(volume), bytes)
    },
  }
}
export type Volumes = Awaited<ReturnType<typeof openVolumes>>

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
