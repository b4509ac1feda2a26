import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fail } from '../base/errors.ts'
import { randomToken } from '../base/ids.ts'

/** Lets whoever may read the data directory act as the installation's owner from this machine. */
export const LOCAL_TOKEN_PREFIX = 'sovra_local_'
const BYTES = 32
const OWNER_ONLY = 0o600
const TEXT = /^sovra_local_[\w-]{43}$/

const isCode = (error: unknown, code: string): boolean => error instanceof Error && 'code' in error && error.code === code

/** The token in this file, made (0600) when there is none. `secret_file_unusable` when it can be neither read nor made. */
export function ensureLocalToken(file: string): string {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(file, LOCAL_TOKEN_PREFIX + randomToken(BYTES), { mode: OWNER_ONLY, flag: 'wx' })
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw unusable(file, error)
  }
  return readLocalToken(file)
}

/** For the CLI beside a local server. */
export function readLocalToken(file: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw unusable(file, error)
  }
  if (!TEXT.test(text)) throw unusable(file, 'it holds no token; remove it and start again')
  return text
}

const unusable = (file: string, cause: unknown): Error =>
  fail('secret_file_unusable', { file, reason: cause instanceof Error ? cause.message : String(cause) }, { cause })
