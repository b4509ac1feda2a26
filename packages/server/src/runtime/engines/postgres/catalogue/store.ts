import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'
import { buildCatalogue, QUERY_MARK } from './read.ts'
import type { Catalogue } from './types.ts'

/** Catalogues of clusters on disk, so that the first wakes after a restart of the server do not wait for a read. Never the truth: what cannot be used is read anew. */
export interface CatalogueStore {
  /** The catalogue as it was at `xid`, the next transaction of the cluster; undefined where another one has been since, or none is kept. */
  get(id: string, xid: string): Promise<Catalogue | undefined>
  /** A text that was read. */
  keep(id: string, text: string): Promise<void>
  /** The kept text was still the catalogue when `xid` was the cluster's next transaction: whatever changes a schema takes one. */
  stamp(id: string, digest: string, xid: string): Promise<void>
  forget(id: string): Promise<void>
}

const ID = /^[\w-]{1,64}$/
const md5 = (text: string): string => createHash('md5').update(text).digest('hex')

/** Written beside and renamed: a reader finds the old one or the new one. */
async function put(path: string, data: string | Buffer): Promise<void> {
  const fresh = `${path}.${randomUUID()}`
  try {
    await writeFile(fresh, data, { mode: 0o600 })
    await rename(fresh, path)
  } catch (error) {
    await rm(fresh, { force: true })
    throw error
  }
}

/** Files of one folder: `<id>.zst` the text, `<id>.stamp` when it was last known to be true. */
export function catalogueStore(folder: string): CatalogueStore {
  const made = mkdir(folder, { recursive: true, mode: 0o700 })
  made.catch(() => undefined)
  const path = (id: string, ending: string): string => join(folder, `${ID.test(id) ? id : md5(id)}.${ending}`)
  const stampOf = (digest: string, xid: string): string => `${QUERY_MARK} ${digest} ${xid}\n`

  return {
    async get(id, xid) {
      try {
        const [mark, digest = '', seen] = (await readFile(path(id, 'stamp'), 'utf8')).trim().split(' ')
        if (mark !== QUERY_MARK || seen !== xid) return undefined
        const text = (await promisify(zstdDecompress)(await readFile(path(id, 'zst')))).toString('utf8')
        return md5(text) === digest ? await buildCatalogue(digest, text) : undefined
      } catch {
        return undefined
      }
    },
    async keep(id, text) {
      await made
      await put(path(id, 'zst'), await promisify(zstdCompress)(text))
    },
    async stamp(id, digest, xid) {
      await made
      await put(path(id, 'stamp'), stampOf(digest, xid))
    },
    async forget(id) {
      const own = path(id, '')
      const files = (await readdir(folder).catch(() => [])).filter((file) => join(folder, file).startsWith(own))
      await Promise.all(files.map((file) => rm(join(folder, file), { force: true })))
    },
  }
}
