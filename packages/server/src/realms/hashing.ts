import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { fail } from '../base/errors.ts'
import { foreignCheck } from './foreign-hashes.ts'

/** OWASP's second choice for argon2id: 19 MiB, two passes, one lane. */
const MEMORY_KIB = 19_456
const PASSES = 2
const LANES = 1
const SALT_BYTES = 16
const TAG_BYTES = 32
/** What an imported hash may ask of us at most. */
const MEMORY_LIMIT_KIB = 262_144
const PASSES_LIMIT = 16
const LANES_LIMIT = 8
/** Bytes of a password: more is an attack on our time, not a better secret. */
const PASSWORD_BYTES_MAX = 1024

type Kind = 'argon2id' | 'argon2i' | 'argon2d'

interface Argon2Hash {
  readonly kind: Kind
  readonly memory: number
  readonly passes: number
  readonly lanes: number
  readonly salt: Buffer
  readonly tag: Buffer
}

const PHC = /^\$(argon2(?:id|i|d))\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

const unpadded = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')

/** Reads a PHC string (github.com/P-H-C/phc-string-format); null: not argon2, or asking for more than we give. */
export function parsePhc(text: string): Argon2Hash | null {
  const found = PHC.exec(text)
  if (!found) return null
  const [memory, passes, lanes] = [Number(found[2]), Number(found[3]), Number(found[4])]
  if (memory > MEMORY_LIMIT_KIB || passes > PASSES_LIMIT || lanes > LANES_LIMIT || passes < 1 || lanes < 1 || memory < 8 * lanes)
    return null
  return { kind: found[1] as Kind, memory, passes, lanes, salt: Buffer.from(found[5]!, 'base64'), tag: Buffer.from(found[6]!, 'base64') }
}

/** A stored password that we can check. */
export const isKnownHash = (text: string): boolean => parsePhc(text) !== null || foreignCheck(text) !== null

const derive = (password: string, like: Omit<Argon2Hash, 'tag'>, tagLength: number): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const options = {
      message: password,
      nonce: like.salt,
      parallelism: like.lanes,
      tagLength,
      memory: like.memory,
      passes: like.passes,
    }
    argon2(like.kind, options, (error, tag) => (error ? reject(error) : resolve(tag)))
  })

interface Verdict {
  readonly ok: boolean
  /** The password is right but its hash is weaker than what we make now: hash it again. */
  readonly outdated: boolean
}

export interface Hasher {
  /** A PHC string of argon2id. Rejects with `too_many_sign_ins` when the queue is full, `password_too_weak` when over PASSWORD_BYTES_MAX. */
  hash(password: string): Promise<string>
  /** Without a stored hash (unknown user, no password) it takes the same time and answers false. */
  verify(password: string, stored: string | null): Promise<Verdict>
  /** Hashes waiting for a turn. */
  readonly waiting: number
  /** The same for another realm, which has its own place in the row. */
  of(realm: string): Hasher
}

interface HasherOptions {
  /** Hashes at a time: each takes 19 MiB and one thread of libuv's pool. */
  readonly concurrency?: number
  /** Hashes of a realm that may wait; beyond, sign-ins are refused with 429. */
  readonly queue?: number
  /** KiB of each; less for tests of what is around it. */
  readonly memory?: number
}

/** Realms that may have a full queue at a time. */
const FULL_QUEUES = 8

/**
 * Runs at most `concurrency` at a time, at most `queue` of one realm wait. Realms take turns: the hashes that one has imported may be the
 * dearest that there are, and nobody else waits for more than one of them.
 */
function turns(concurrency: number, queue: number) {
  const lines = new Map<string, (() => void)[]>()
  let running = 0
  let waiting = 0

  function wait(who: string): Promise<void> {
    const line = lines.get(who) ?? []
    if (line.length >= queue || waiting >= queue * FULL_QUEUES) throw fail('too_many_sign_ins', {}, { headers: { 'retry-after': '2' } })
    lines.set(who, line)
    waiting++
    return new Promise((resolve) => line.push(resolve))
  }

  /** The realm whose turn it is goes to the end. */
  function next(): (() => void) | undefined {
    const [first] = lines
    if (first === undefined) return undefined
    const [who, line] = first
    const turn = line.shift()
    lines.delete(who)
    if (line.length > 0) lines.set(who, line)
    waiting--
    return turn
  }

  return {
    async run<T>(who: string, work: () => Promise<T>): Promise<T> {
      if (running >= concurrency) await wait(who)
      else running++
      try {
        return await work()
      } finally {
        const turn = next()
        if (turn) turn()
        else running--
      }
    },
    get waiting() {
      return waiting
    },
  }
}

/** Half of the cores: a storm of sign-ins leaves the others to everybody else. Two at most: libuv has four threads, for files and names too. */
const CONCURRENCY = Math.max(1, Math.min(2, availableParallelism() >> 1))

/** argon2id off the event loop with bounded memory, so that a storm of sign-ins neither blocks reads nor exhausts the machine. */
export function makeHasher({ concurrency = CONCURRENCY, queue = 64, memory = MEMORY_KIB }: HasherOptions = {}): Hasher {
  const line = turns(concurrency, queue)
  const decoy: Argon2Hash = {
    kind: 'argon2id',
    memory,
    passes: PASSES,
    lanes: LANES,
    salt: randomBytes(SALT_BYTES),
    tag: randomBytes(TAG_BYTES),
  }
  return hasherOf('')

  function hasherOf(who: string): Hasher {
    return {
      of: hasherOf,
      async hash(password) {
        if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX)
          throw fail('password_too_weak', { reason: `at most ${PASSWORD_BYTES_MAX} bytes` })
        const like = { kind: 'argon2id' as const, memory, passes: PASSES, lanes: LANES, salt: randomBytes(SALT_BYTES) }
        const tag = await line.run(who, () => derive(password, like, TAG_BYTES))
        return `$argon2id$v=19$m=${memory},t=${PASSES},p=${LANES}$${unpadded(like.salt)}$${unpadded(tag)}`
      },

      async verify(password, stored) {
        if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX) return { ok: false, outdated: false }
        const known = stored === null ? null : parsePhc(stored)
        const foreign = stored === null || known !== null ? null : foreignCheck(stored)
        if (foreign) return { ok: await line.run(who, () => foreign(password)), outdated: true }
        const like = known ?? decoy
        const tag = await line.run(who, () => derive(password, like, like.tag.length))
        const ok = timingSafeEqual(tag, like.tag) && known !== null
        return {
          ok,
          outdated: ok && (like.kind !== 'argon2id' || like.memory < memory || like.passes < PASSES || like.tag.length < TAG_BYTES),
        }
      },

      get waiting() {
        return line.waiting
      },
    }
  }
}
