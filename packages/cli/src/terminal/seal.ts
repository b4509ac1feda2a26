import { readFileSync } from 'node:fs'
import type { Flag } from '../program/command.ts'
import { stop } from './errors.ts'
import { askSecret } from './prompt.ts'

export interface SealOptions {
  readonly passphraseFile?: string
  readonly recipient?: string[]
}
export interface OpenOptions {
  readonly passphraseFile?: string
  readonly identityFile?: string
}

const VARIABLE = 'SOVRABASE_BACKUP_PASSPHRASE'
const LEAST = 8
const PASSPHRASE: Flag = ['--passphrase-file <file>', `first line is the passphrase; else ${VARIABLE}, else it is asked for`]
export const SEAL_FLAGS: readonly Flag[] = [
  PASSPHRASE,
  ['--recipient <key>', 'public key (age1…) instead of a passphrase; more than once for several', { many: true }],
]
export const OPEN_FLAGS: readonly Flag[] = [
  PASSPHRASE,
  ['--identity-file <file>', 'private keys (AGE-SECRET-KEY-1…) instead of a passphrase'],
]

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw stop('backup_unreadable', { file, reason: (cause as NodeJS.ErrnoException).code ?? 'unknown' }, { cause })
  }
}

const given = (file: string | undefined): string | undefined =>
  file === undefined ? process.env[VARIABLE] || undefined : read(file).split(/\r?\n/, 1)[0]

/** For a new backup; a passphrase that is typed is typed twice. */
export async function newSeal({ passphraseFile, recipient }: SealOptions): Promise<{ passphrase?: string; recipients?: string[] }> {
  if (recipient) return { recipients: recipient }
  const known = given(passphraseFile)
  const passphrase = known ?? (await askSecret('Passphrase for the backup: '))
  if (passphrase.length < LEAST) throw stop('backup_unsealed')
  if (known === undefined && process.stdin.isTTY && (await askSecret('Once more: ')) !== passphrase)
    throw stop('usage_wrong', { reason: 'The two are not the same', hint: 'Try again.' })
  return { passphrase }
}

/** Of a backup that is there; `ask` false: undefined where none is given. */
export async function openKey(options: OpenOptions, ask: boolean): Promise<{ passphrase?: string; identities?: string[] } | undefined> {
  if (options.identityFile !== undefined)
    return {
      identities: read(options.identityFile)
        .split(/\r?\n/)
        .filter((line) => line.startsWith('AGE-SECRET-KEY-')),
    }
  const passphrase = given(options.passphraseFile)
  if (passphrase !== undefined) return { passphrase }
  return ask ? { passphrase: await askSecret('Passphrase of the backup: ') } : undefined
}
