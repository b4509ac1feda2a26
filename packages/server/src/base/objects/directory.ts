import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fail, isSovraError } from '../errors.ts'
import { checkKey, type ObjectStore, type Stored } from './store.ts'

const PRIVATE = { file: 0o600, folder: 0o700 } as const
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''

async function sync(dir: string): Promise<void> {
  const handle = await open(dir)
  await handle.sync().finally(() => handle.close())
}

/** Names in the order of whole keys: `a.b` before `a/b`, as S3 lists them. */
async function* walk(root: string, folder: string, wanted: (key: string) => boolean): AsyncGenerator<Stored> {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return []
    throw error
  })
  const named = entries.map((entry) => ({ entry, name: entry.isDirectory() ? `${entry.name}/` : entry.name }))
  named.sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const { entry, name } of named) {
    const key = `${folder}${name}`
    if (entry.name.startsWith('.') || !wanted(key)) continue
    if (entry.isDirectory()) yield* walk(root, key, wanted)
    else if (entry.isFile()) yield { key, size: (await stat(join(root, key)).catch(() => null))?.size ?? 0 }
  }
}

/** Objects as files of a directory, each written beside and renamed. `store_failed`. */
export function directoryStore(root: string): ObjectStore {
  const failed = (cause: unknown) =>
    isSovraError(cause)
      ? cause
      : fail('store_failed', { place: root, reason: codeOf(cause) || 'unknown', uid: process.geteuid?.() ?? 0 }, { cause })
  const made = new Set<string>()

  async function folderOf(key: string): Promise<string> {
    const dir = dirname(join(root, checkKey(key)))
    if (!made.has(dir)) {
      // The root itself is the operator's to make: a disk that is not mounted must not become a folder of the disk below.
      await stat(root)
      await mkdir(dir, { recursive: true, mode: PRIVATE.folder })
      if (made.size > 10_000) made.clear()
      made.add(dir)
    }
    return dir
  }

  async function write(key: string, source: Readable): Promise<number> {
    const dir = await folderOf(key)
    const part = join(dir, `.${randomBytes(6).toString('hex')}.part`)
    try {
      const file = createWriteStream(part, { mode: PRIVATE.file, flags: 'wx', flush: true })
      await pipeline(source, file)
      await rename(part, join(root, key))
      await sync(dir)
      return file.bytesWritten
    } catch (error) {
      made.delete(dir)
      await rm(part, { force: true }).catch(() => {})
      throw error
    }
  }

  return {
    place: root,
    async put(key, body) {
      await write(key, Readable.from([body])).catch((cause) => Promise.reject(failed(cause)))
    },
    putStream: (key, source) => write(key, source).catch((cause) => Promise.reject(failed(cause))),
    async get(key) {
      const handle = await open(join(root, checkKey(key))).catch((cause) => {
        throw codeOf(cause) === 'ENOENT' ? fail('object_missing', { place: root, key }) : failed(cause)
      })
      return createReadStream('', { fd: handle, highWaterMark: 1 << 20 })
    },
    async *list(prefix, after) {
      // A folder is entered where something in it may be wanted.
      const wanted = (key: string) =>
        key.endsWith('/')
          ? (key.startsWith(prefix) || prefix.startsWith(key)) && (after === undefined || key >= after || after.startsWith(key))
          : key.startsWith(prefix) && (after === undefined || key > after)
      const top = prefix.includes('/') ? prefix.slice(0, prefix.lastIndexOf('/') + 1) : ''
      try {
        yield* walk(root, top, wanted)
      } catch (cause) {
        throw failed(cause)
      }
    },
    async remove(key) {
      await rm(join(root, checkKey(key)), { force: true }).catch((cause) => Promise.reject(failed(cause)))
    },
  }
}
