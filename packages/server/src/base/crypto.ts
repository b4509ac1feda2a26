import { createCipheriv, createDecipheriv, createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { fail } from './errors.ts'

/** Seals secrets that are stored. `context` says what the text is ('api_keys/<id>') and must be the same at opening: a sealed text cannot be moved. */
export interface Vault {
  /** Names the key in use without telling it: 12 hex digits. */
  readonly keyId: string
  /** Answers `v1.<key id>.<base64url>`. */
  seal(plain: string, context: string): string
  /** Rejects with `secret_key_unknown` (sealed by a key that is not here) or `secret_damaged` (changed, or of another context). */
  open(sealed: string, context: string): string
  /** False: sealed by a former key; open and seal it again. */
  isCurrent(sealed: string): boolean
}

/** Bytes of a root key. */
export const KEY_BYTES = 32
const VERSION = 'v1'
const CIPHER = 'aes-256-gcm'
const IV_BYTES = 12
const TAG_BYTES = 16
const KEY_ID_DIGITS = 12

/** The name of a root key: told in messages and stored beside what it seals. */
export const keyIdOf = (key: Buffer): string => createHmac('sha256', key).update('sovrabase key id').digest('hex').slice(0, KEY_ID_DIGITS)

interface Sealed {
  readonly keyId: string
  readonly bytes: Buffer
}

function parse(sealed: string, context: string): Sealed {
  const [version, keyId, body, rest] = sealed.split('.')
  if (version !== VERSION || !keyId || !body || rest !== undefined) throw fail('secret_damaged', { context })
  const bytes = Buffer.from(body, 'base64url')
  if (bytes.length < IV_BYTES + TAG_BYTES) throw fail('secret_damaged', { context })
  return { keyId, bytes }
}

/** A vault whose key changes while it is in use. */
export interface Keyring {
  readonly vault: Vault
  /** The current key first. */
  keys(): readonly Buffer[]
  /** Seals by this one from now on; all others still open. */
  turn(fresh: Buffer): void
  /** Only the current one is left. */
  forgetFormer(): void
}

export const makeVault = (current: Buffer, former: readonly Buffer[] = []): Vault => makeKeyring(current, former).vault

/** AES-256-GCM (NIST SP 800-38D), a random 96-bit nonce for each text, the context as additional data. Former keys still open. */
export function makeKeyring(first: Buffer, former: readonly Buffer[] = []): Keyring {
  const keys = new Map<string, Buffer>()
  const add = (key: Buffer): string => {
    if (key.length !== KEY_BYTES) throw fail('root_key_malformed', { source: 'A root key' })
    const id = keyIdOf(key)
    keys.set(id, key)
    return id
  }
  for (const key of former) add(key)
  let current = first
  let keyId = add(first)

  const vault: Vault = {
    get keyId() {
      return keyId
    },

    seal(plain, context) {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv(CIPHER, current, iv).setAAD(Buffer.from(context))
      const text = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
      return `${VERSION}.${keyId}.${Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64url')}`
    },

    open(sealed, context) {
      const { keyId: id, bytes } = parse(sealed, context)
      const key = keys.get(id)
      if (!key) throw fail('secret_key_unknown', { context, key_id: id })
      const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
      try {
        return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]).toString('utf8')
      } catch (cause) {
        throw fail('secret_damaged', { context }, { cause })
      }
    },

    isCurrent: (sealed) => sealed.startsWith(`${VERSION}.${keyId}.`),
  }
  return {
    vault,
    keys: () => [current, ...[...keys.values()].filter((key) => key !== current)],
    turn(fresh) {
      keyId = add(fresh)
      current = fresh
    },
    forgetFormer() {
      for (const id of [...keys.keys()]) if (id !== keyId) keys.delete(id)
    },
  }
}

/** Hexadecimal. */
export const sha256 = (text: string | Buffer): string => hash('sha256', text, 'hex')

/** Compares without telling by time where, or whether in length, the texts differ. */
export function safeEqual(a: string, b: string): boolean {
  return timingSafeEqual(hash('sha256', a, 'buffer'), hash('sha256', b, 'buffer'))
}
