import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fail } from '../base/errors.ts'
import { randomToken } from '../base/ids.ts'

/** Lets whoever may read the data directory act as the installation's owner from this machine. */
export const LOCAL_TOKEN_PREFIX = 'sovra_local_'
const BYTES = 32
const OWNER_ONLY = 0o600
const TEXT = /^sovra_local_[\w-]{43}$/

/** The token in this file; made (0600, whole or not at all) where there is none. `secret_file_unusable` when that cannot be done. */
export function ensureLocalToken(file: string): string {
  const known = tryRead(file)
  if (known !== null) return known
  const fresh = LOCAL_TOKEN_PREFIX + randomToken(BYTES)
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    rmSync(`${file}.new`, { force: true })
    writeFileSync(`${file}.new`, fresh, { mode: OWNER_ONLY, flag: 'wx' })
    renameSync(`${file}.new`, file)
  } catch (error) {
    throw unusable(file, error)
  }
  return fresh
}

/** null: there is none, or what is there is no token (a torn write): nothing depends on it, so another may be made. */
function tryRead(file: string): string | null {
  if (!existsSync(file)) return null
  try {
    const text = readFileSync(file, 'utf8').trim()
    return TEXT.test(text) ? text : null
  } catch (error) {
    throw unusable(file, error)
  }
}

/** For the CLI beside a local server. `secret_file_unusable` when it may not read it, or there is none. */
export function readLocalToken(file: string): string {
  const text = tryRead(file)
  if (text === null) throw unusable(file, 'it holds no token; the server makes it at its start')
  return text
}

const unusable = (file: string, cause: unknown): Error =>
  fail('secret_file_unusable', { file, reason: cause instanceof Error ? cause.message : String(cause) }, { cause })
