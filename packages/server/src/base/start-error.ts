import { fail } from './errors.ts'

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
