import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { fail } from './errors.ts'
import { randomToken } from './ids.ts'

const OWNER_ONLY = 0o600
const OWNER_FOLDER = 0o700
/** Codes of file systems that know no hard links. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown'
const unusable = (file: string, cause: unknown) => fail('secret_file_unusable', { file, reason: codeOf(cause) }, { cause })

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

function writeSynced(file: string, text: string): void {
  const handle = openSync(file, 'wx', OWNER_ONLY)
  try {
    writeSync(handle, text)
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/** Puts a finished temporary file in place unless one is there; true when it was put. */
function place(temporary: string, file: string, text: string): boolean {
  try {
    linkSync(temporary, file)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    if (!NO_LINKS.has(codeOf(error))) throw error
  }
  try {
    writeSynced(file, text)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** The text without space around it; undefined when there is no such file. Throws `secret_file_unusable`, also for an empty one. */
export function readSecretFile(file: string): string | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8').trim()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw unusable(file, error)
  }
  if (text === '') throw fail('secret_file_unusable', { file, reason: 'it is empty' })
  return text
}

/**
 * Makes the file (0600, its folder 0700) with the text of `make` unless it is there, and answers what is in it then. Whole or not at all after
 * a crash; of two processes at once one wins and both answer the same.
 */
export function secretFile(file: string, make: () => string): { readonly text: string; readonly made: boolean } {
  const before = readSecretFile(file)
  if (before !== undefined) return { text: before, made: false }
  const temporary = `${file}.${randomToken(6)}.new`
  const text = `${make()}\n`
  let made: boolean
  try {
    mkdirSync(dirname(file), { recursive: true, mode: OWNER_FOLDER })
    writeSynced(temporary, text)
    made = place(temporary, file, text)
    syncFolder(dirname(file))
  } catch (error) {
    throw unusable(file, error)
  } finally {
    rmSync(temporary, { force: true })
  }
  return { text: readSecretFile(file) ?? text.trim(), made }
}

/** Replaces the file at once, or not at all. */
export function replaceSecretFile(file: string, text: string): void {
  const temporary = `${file}.${randomToken(6)}.new`
  try {
    writeSynced(temporary, `${text}\n`)
    renameSync(temporary, file)
    syncFolder(dirname(file))
  } catch (error) {
    throw unusable(file, error)
  } finally {
    rmSync(temporary, { force: true })
  }
}
