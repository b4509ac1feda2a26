import { fail, SovraError } from './errors.ts'

const FULL = new Set(['ENOSPC', 'EDQUOT'])
const SQLITE_FULL = 13

/** A start writes in many places (engine, keys, metadata): wherever the disk was full, the operator is told that. Else the error as it is. */
export function startError(error: unknown, dir: string): unknown {
  let found = error
  while (found instanceof Error) {
    const { code, errcode } = found as { code?: unknown; errcode?: unknown }
    if ((typeof code === 'string' && FULL.has(code)) || errcode === SQLITE_FULL) return fail('disk_full', { dir }, { cause: error })
    found = found.cause
  }
  return error
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
