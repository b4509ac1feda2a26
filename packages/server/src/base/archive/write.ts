import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { Transform, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createZstdCompress } from 'node:zlib'
import { sha256 } from '../crypto.ts'
import { fail } from '../errors.ts'
import { END, MANIFEST, type Manifest, type ManifestProject, type Member } from './format.ts'
import { macOf } from './seal.ts'
import { padding, tarEnd, tarHeader } from './tar.ts'

const LEVEL = 3
/** Bytes a step: each is a trip to another thread. */
const CHUNK = 1 << 20
const PRIVATE = 0o600

export interface Spooled {
  readonly size: number
  readonly sha256: string
  /** Before compression. */
  readonly bytes: number
}

/** Each chunk is the source's again once the next is asked for. */
async function feed(source: AsyncIterable<Buffer>, into: Writable): Promise<void> {
  for await (const chunk of source)
    await new Promise<void>((resolve, reject) => into.write(chunk, (error) => (error ? reject(error) : resolve())))
  into.end()
}

/** Compresses a stream into a file: what a slow reader would hold up is over as soon as this disk has it. */
export async function spool(source: AsyncIterable<Buffer>, file: string, signal?: AbortSignal): Promise<Spooled> {
  const hash = createHash('sha256')
  let size = 0
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      hash.update(chunk)
      done(null, chunk)
    },
  })
  const zstd = createZstdCompress({
    chunkSize: CHUNK,
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 1 },
  })
  const written = pipeline([zstd, measure, createWriteStream(file, { mode: PRIVATE })], signal ? { signal } : {})
  const fed = feed(source, zstd).catch((error: Error) => {
    zstd.destroy(error)
    throw error
  })
  await Promise.all([fed, written])
  return { size, bytes: zstd.bytesWritten, sha256: hash.digest('hex') }
}

/** Writes the members of a backup one after the other and remembers them for the manifest. Rejects once the reader is gone. */
export class ArchiveWriter {
  readonly #out: Writable
  readonly #now: number
  readonly #members: Member[] = []

  constructor(out: Writable, now: number) {
    this.#out = out
    this.#now = now
  }

  async #write(chunk: Buffer): Promise<void> {
    if (this.#out.destroyed) throw fail('backup_reader_gone')
    if (this.#out.write(chunk)) return
    const gone = new AbortController()
    const closed = () => gone.abort()
    this.#out.once('close', closed)
    try {
      await once(this.#out, 'drain', { signal: gone.signal })
    } catch (cause) {
      throw fail('backup_reader_gone', {}, { cause })
    } finally {
      this.#out.off('close', closed)
    }
  }

  async bytes(name: string, content: Buffer): Promise<void> {
    this.#members.push({ name, size: content.length, sha256: sha256(content) })
    await this.#plain(name, content)
  }

  async #plain(name: string, content: Buffer): Promise<void> {
    await this.#write(tarHeader(name, content.length, this.#now))
    await this.#write(content)
    await this.#write(Buffer.alloc(padding(content.length)))
  }

  async file(name: string, file: string, { size, sha256: hash }: Spooled): Promise<void> {
    this.#members.push({ name, size, sha256: hash })
    await this.#write(tarHeader(name, size, this.#now))
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK })) await this.#write(chunk as Buffer)
    await this.#write(Buffer.alloc(padding(size)))
  }

  async end(projects: readonly ManifestProject[], identity: string): Promise<void> {
    const manifest = Buffer.from(JSON.stringify({ members: this.#members, projects } satisfies Manifest))
    await this.#plain(MANIFEST, manifest)
    const end = { manifest_sha256: sha256(manifest), manifest_hmac: macOf(identity, manifest) }
    await this.#plain(END, Buffer.from(JSON.stringify(end)))
    await this.#write(tarEnd())
    this.#out.end()
  }
}
