import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { KEY_BYTES, type Keyring, keyIdOf, makeKeyring, type Vault } from './crypto.ts'
import { fail } from './errors.ts'
import { randomToken } from './ids.ts'
import { readSecretFile, replaceSecretFile, secretFile } from './secret-files.ts'

export interface SecretsOptions {
  /** `<data>/keys` */
  readonly folder: string
  readonly env?: NodeJS.ProcessEnv
  /** `jwt.secret` of the configuration. */
  readonly jwtSecret: string | null
  /** Whether metadata or a data directory holds anything: then a root key is never made. */
  readonly dataExists: boolean
  /** Id of the root key as recorded in metadata; null: none recorded yet. */
  readonly knownKeyId: string | null
}

export interface Secrets {
  readonly vault: Vault
  /** Ids of all root keys at hand, the current one first. */
  readonly keyIds: readonly string[]
  /** Where the root key comes from: a file, or a variable's name. */
  readonly source: string
  readonly jwtSecret: string
  /** The root keys themselves, hexadecimal, the current one first: for the safe. */
  revealRootKeys(): string[]
  /** A new current one, in its file and in use; the former ones still open. Answers its id. `root_key_elsewhere`. */
  rotateRootKey(): string
  /** Takes the former ones from the file and from memory; answers how many. `root_key_elsewhere`. */
  forgetFormerRootKeys(): number
  /** Files that this start has made: they need a backup. */
  readonly made: readonly string[]
}

const ROOT_KEY = 'SOVRABASE_ROOT_KEY'
const ROOT_KEY_FILE = 'SOVRABASE_ROOT_KEY_FILE'
const JWT_BYTES = 48

export const rootKeyFile = (folder: string): string => join(folder, 'root.key')
export const jwtSecretFile = (folder: string): string => join(folder, 'jwt.secret')

function parseKey(text: string, source: string): Buffer {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  const bytes = /^[\w+/-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined
  if (bytes?.length !== KEY_BYTES) throw fail('root_key_malformed', { source })
  return bytes
}

/** Keys apart by space or line ends: the current one first, then former ones that only open. Lines that begin with # are remarks. */
function parseKeys(text: string, source: string): Buffer[] {
  const words = text.split('\n').flatMap((line) => (line.trimStart().startsWith('#') ? [] : line.split(/\s+/).filter(Boolean)))
  const keys = words.map((word) => parseKey(word, source))
  if (keys.length === 0) throw fail('root_key_malformed', { source })
  return keys
}

interface Found {
  readonly keys: readonly Buffer[]
  readonly source: string
  readonly made: boolean
}

function findRootKey(options: SecretsOptions): Found {
  const env = options.env ?? process.env
  const given = env[ROOT_KEY]
  if (given) return { keys: parseKeys(given, ROOT_KEY), source: ROOT_KEY, made: false }
  const named = env[ROOT_KEY_FILE]
  const file = named || rootKeyFile(options.folder)
  const mayMake = !named && !options.dataExists && options.knownKeyId === null
  const text = mayMake ? undefined : readSecretFile(file)
  if (text !== undefined) return { keys: parseKeys(text, file), source: file, made: false }
  if (!mayMake && named && options.knownKeyId === null) throw fail('secret_file_unusable', { file, reason: 'it does not exist' })
  if (!mayMake) throw fail('root_key_missing', { file, key_id: options.knownKeyId ?? 'of unknown id' })
  const fresh = secretFile(file, () => randomBytes(KEY_BYTES).toString('hex'))
  return { keys: parseKeys(fresh.text, file), source: file, made: fresh.made }
}

/** Throws `root_key_wrong` unless the key that stored secrets were sealed with is at hand (current or former). */
export function checkRootKey(secrets: Pick<Secrets, 'keyIds' | 'source'>, knownKeyId: string, folder: string): void {
  if (secrets.keyIds.includes(knownKeyId)) return
  throw fail('root_key_wrong', { source: secrets.source, found: secrets.keyIds.join(', '), key_id: knownKeyId, file: rootKeyFile(folder) })
}

/**
 * Finds the root key and the secret of members' sessions, and makes each once where it may. The root key comes from nowhere else, and is
 * never made while there is data. The caller records `vault.keyId` in metadata; where another node was faster, it calls checkRootKey() with what
 * is recorded then. Throws `root_key_missing`, `root_key_wrong`, `root_key_malformed`, `secret_file_unusable`.
 */
export function loadSecrets(options: SecretsOptions): Secrets {
  const { keys, source, made } = findRootKey(options)
  const [current, ...former] = keys as [Buffer, ...Buffer[]]
  const keyIds = keys.map(keyIdOf)
  if (options.knownKeyId !== null) checkRootKey({ keyIds, source }, options.knownKeyId, options.folder)
  const file = jwtSecretFile(options.folder)
  const jwt = options.jwtSecret === null ? secretFile(file, () => randomToken(JWT_BYTES)) : { text: options.jwtSecret, made: false }
  const ring = makeKeyring(current, former)
  return {
    vault: ring.vault,
    keyIds,
    source,
    jwtSecret: jwt.text,
    revealRootKeys: () => ring.keys().map((key) => key.toString('hex')),
    made: [...(made ? [source] : []), ...(jwt.made ? [file] : [])],
    ...rotationOf(ring, source),
  }
}

/** The file first, then memory: what is sealed can be opened after a crash at any moment. */
function rotationOf(ring: Keyring, file: string): Pick<Secrets, 'rotateRootKey' | 'forgetFormerRootKeys'> {
  const write = (keys: readonly Buffer[]) => {
    if (file === ROOT_KEY) throw fail('root_key_elsewhere', { source: file })
    try {
      replaceSecretFile(file, keys.map((key) => key.toString('hex')).join('\n'))
    } catch (cause) {
      throw fail('root_key_elsewhere', { source: file }, { cause })
    }
  }
  return {
    rotateRootKey() {
      const fresh = randomBytes(KEY_BYTES)
      write([fresh, ...ring.keys()])
      ring.turn(fresh)
      return ring.vault.keyId
    },
    forgetFormerRootKeys() {
      const [current, ...former] = ring.keys()
      if (former.length > 0) write([current!])
      ring.forgetFormer()
      return former.length
    },
  }
}
