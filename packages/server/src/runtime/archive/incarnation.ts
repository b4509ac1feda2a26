import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const NAME = 'archive.id'
const PRIVATE = 0o600
const BYTES = 4

/**
 * Tells a data directory from one that was restored out of its backup: that goes on from an older state, and what both write from there on must not mix.
 * Made at a first start, and part of no backup.
 */
export function incarnationOf(dataDir: string): string {
  const file = join(dataDir, NAME)
  try {
    writeFileSync(file, `${randomBytes(BYTES).toString('hex')}\n`, { mode: PRIVATE, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFileSync(file, 'utf8').trim()
}
