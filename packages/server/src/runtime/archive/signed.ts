import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Vault } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import type { ObjectStore } from '../../base/objects/store.ts'
import { claimFact, getFact } from '../../metadata/facts.ts'
import type { Metadata } from '../../metadata/open.ts'

/** The key of this installation's archives: a fact, sealed with the root key. */
const FACT = 'archives_key'
const CONTEXT = `facts/${FACT}`
const BYTES = 32
/** A frame that every zstd skips, and its length. */
const FRAME = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, BYTES, 0, 0, 0])
/** Bytes of a small object at most. */
const LIMIT = 64 << 20
/** Large, and told by its checksum in a record that is signed. */
const isLarge = (key: string): boolean => key.endsWith('.tar.zst')

/** Made at its first use; several at once get the same. */
export async function archivesKey(metadata: Metadata, vault: Vault): Promise<string> {
  const known = await getFact<string>(metadata.kysely, FACT)
  if (known !== undefined) return vault.open(known, CONTEXT)
  const fresh = vault.seal(randomBytes(BYTES).toString('hex'), CONTEXT)
  await metadata.transaction((trx) => claimFact(trx, FACT, fresh))
  return vault.open((await getFact<string>(metadata.kysely, FACT)) ?? fresh, CONTEXT)
}

async function readSmall({ place }: ObjectStore, key: string, source: Readable): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of source) {
    parts.push(part as Buffer)
    size += (part as Buffer).length
    if (size > LIMIT) throw fail('archive_damaged', { place, key, reason: 'it is larger than anything of an archive' })
  }
  return Buffer.concat(parts, size)
}

/**
 * Signs what goes into an archive, in a frame at its end that zstd skips, and takes it away again. `strict`: what is not signed by this installation is
 * refused. Whoever can write into the place could otherwise make a data directory by hand, and be master of the cluster that is started from it.
 */
export function signedStore(store: ObjectStore, secret: string, strict: boolean): ObjectStore {
  const macOf = (key: string, body: Buffer) => createHmac('sha256', secret).update(`${key}\n`).update(body).digest()

  function opened(key: string, bytes: Buffer): Buffer {
    const at = bytes.length - BYTES - FRAME.length
    const signed = at >= 0 && bytes.subarray(at, at + FRAME.length).equals(FRAME)
    const body = signed ? bytes.subarray(0, at) : bytes
    if (!strict) return body
    if (signed && timingSafeEqual(macOf(key, body), bytes.subarray(at + FRAME.length))) return body
    throw fail('archive_foreign', { place: store.place, key, reason: 'this server has not written it so' })
  }

  return {
    ...store,
    put: (key, body) => store.put(key, Buffer.concat([body, FRAME, macOf(key, body)])),
    async get(key) {
      const source = await store.get(key)
      if (isLarge(key)) return source
      return Readable.from([opened(key, await readSmall(store, key, source))], { objectMode: false })
    },
  }
}
