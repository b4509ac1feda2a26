import { fail, SovraError } from './errors.ts'

/** Of the file system, PostgreSQL and MySQL. */
const FULL = new Set<unknown>(['ENOSPC', 'EDQUOT', '53100', 'ER_DISK_FULL', 'ER_RECORD_FILE_FULL'])
const SQLITE_FULL = 13

/** Whoever it was that found no room to write. */
export function isDiskFull(error: unknown): boolean {
  for (let found = error; found instanceof Error; found = found.cause) {
    const { code, errcode } = found as { code?: unknown; errcode?: unknown }
    if (FULL.has(code) || errcode === SQLITE_FULL) return true
  }
  return false
}

interface Known {
  readonly dataDir: string
  readonly shownDataDir: string
}

/** Under a keeper the server may know the data directory by another path than people do: an error that names files names theirs. */
export function withShownPaths(error: unknown, { dataDir, shownDataDir }: Known): unknown {
  if (!(error instanceof SovraError) || dataDir === shownDataDir) return error
  const params = Object.entries(error.params).map(([name, value]) => [
    name,
    typeof value === 'string' ? value.replaceAll(dataDir, shownDataDir) : value,
  ])
  return fail(error.code, Object.fromEntries(params), { cause: error, details: error.details })
}

/** A start writes in many places (engine, keys, metadata): wherever the disk was full, the operator is told that. Else the error as it is. */
export const startError = (error: unknown, dir: string): unknown =>
  isDiskFull(error) ? fail('disk_full', { dir }, { cause: error }) : error
