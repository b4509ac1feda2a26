import { createCipheriv, pbkdf2, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { verifyBcrypt } from './bcrypt.ts'

/** Password hashes of imported users. Each is checked as its system made it, within what we give; all are replaced at the next sign-in. */

const derivePbkdf2 = promisify(pbkdf2)
const deriveScrypt = promisify(scrypt) as (
  password: string,
  salt: Buffer,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer>

const PBKDF2_ROUNDS_MAX = 5_000_000
const SCRYPT_BYTES_MAX = 256 * 1024 * 1024
const BCRYPT_COST_MAX = 15
/** Bytes of a derived key, as of SHA-512: PBKDF2 takes all its rounds again for each piece of a longer one. */
const KEY_BYTES_MAX = 64
/** Characters of a stored hash. */
const STORED_MAX = 2_048
const SIGNER_BYTES = 32

type Check = (password: string) => Promise<boolean>

const equal = (a: Buffer, b: Buffer): boolean => a.length > 0 && a.length === b.length && timingSafeEqual(a, b)
/** passlib writes '.' for '+'. */
const bytes = (text: string): Buffer => Buffer.from(text.replaceAll('.', '+'), 'base64')
/** `n=14,r=8` as numbers and texts. */
const parameters = (text: string): Map<string, string> =>
  new Map(
    text.split(',').map((pair) => {
      const at = pair.indexOf('=')
      return [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )

function scryptOptions(log2: number, r: number, p: number) {
  const N = 2 ** log2
  const needed = 128 * N * r * p
  if (![log2, r, p].every((n) => Number.isInteger(n) && n > 0) || !(needed <= SCRYPT_BYTES_MAX)) return null
  return { N, r, p, maxmem: 2 * needed + 1024 * 1024 }
}

/** Firebase's: the key that scrypt derives encrypts the project's signer key (AES-256-CTR), and that is the hash. */
function firebase(stored: string): Check | null {
  const found = /^\$fbscrypt\$(v=1,[^$]+)\$([^$]+)\$([^$]+)$/.exec(stored)
  if (!found) return null
  const given = parameters(found[1]!)
  const options = scryptOptions(Number(given.get('n')), Number(given.get('r')), Number(given.get('p')))
  if (!options) return null
  const salt = Buffer.concat([Buffer.from(found[2]!, 'base64'), Buffer.from(given.get('ss') ?? '', 'base64')])
  const signer = Buffer.from(given.get('sk') ?? '', 'base64')
  const hash = Buffer.from(found[3]!, 'base64')
  return async (password) => {
    const key = await deriveScrypt(password, salt, SIGNER_BYTES, options)
    const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
    return equal(Buffer.concat([cipher.update(signer), cipher.final()]), hash)
  }
}

function scryptPhc(stored: string): Check | null {
  const found = /^\$scrypt\$(ln=[^$]+)\$([^$]+)\$([^$]+)$/.exec(stored)
  if (!found) return null
  const given = parameters(found[1]!)
  const options = scryptOptions(Number(given.get('ln')), Number(given.get('r')), Number(given.get('p')))
  const [salt, hash] = [bytes(found[2]!), bytes(found[3]!)]
  if (hash.length > KEY_BYTES_MAX) return null
  return options && (async (password) => equal(await deriveScrypt(password, salt, hash.length, options), hash))
}

/** PHC and passlib (`$pbkdf2-sha256$i=600000$…`, `$pbkdf2-sha256$29000$…`) and Django (`pbkdf2_sha256$600000$salt$…`). */
function pbkdf2Hash(stored: string): Check | null {
  const phc = /^\$pbkdf2(?:-(sha1|sha256|sha512))?\$(?:i=)?(\d{1,8})(?:,l=\d+)?\$([^$]+)\$([^$]+)$/.exec(stored)
  const django = phc ? null : /^pbkdf2_(sha1|sha256|sha512)\$(\d{1,8})\$([^$]+)\$([^$]+)$/.exec(stored)
  const found = phc ?? django
  if (!found) return null
  const rounds = Number(found[2])
  if (rounds < 1 || rounds > PBKDF2_ROUNDS_MAX) return null
  const salt = phc ? bytes(found[3]!) : Buffer.from(found[3]!)
  const hash = bytes(found[4]!)
  if (hash.length > KEY_BYTES_MAX) return null
  return async (password) => equal(await derivePbkdf2(password, salt, rounds, hash.length, found[1] ?? 'sha1'), hash)
}

function bcryptHash(stored: string): Check | null {
  const found = /^\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(stored)
  return found && Number(found[1]) <= BCRYPT_COST_MAX ? (password) => verifyBcrypt(password, stored) : null
}

/** How a hash of another system is checked; null: it is none that we know. */
export const foreignCheck = (stored: string): Check | null =>
  stored.length > STORED_MAX ? null : (bcryptHash(stored) ?? firebase(stored) ?? scryptPhc(stored) ?? pbkdf2Hash(stored))
