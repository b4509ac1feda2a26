import { createHash, type Hash } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib'
import { fail } from '../../base/errors.ts'
import { directoryStore } from '../../base/objects/directory.ts'
import type { ObjectStore } from '../../base/objects/store.ts'

const END = '.tar.zst'
/** What zlib says of bytes that are no zstd, or end too early. */
const DAMAGED = /^Z(STD)?_/
const PART = /^\..*\.part$/
/** Of what is written once and seldom read: twice the time of the default, a fifth less. */
const LEVEL = 9

export interface PacksOptions {
  /** Directory on the node's own disk. */
  readonly dir: string
  /** Another store for new packs, once it can be opened; null: the directory. */
  readonly remote: (() => Promise<ObjectStore>) | null
}

interface Pack {
  readonly size: number
  readonly store: ObjectStore
}

/** Packed volumes of this node: where they lie, written and read whole. */
export class Packs {
  readonly #dir: string
  readonly #local: ObjectStore
  readonly #remote: (() => Promise<ObjectStore>) | null
  readonly #known = new Map<string, Pack>()
  #listed = false
  #swept = false

  constructor({ dir, remote }: PacksOptions) {
    this.#dir = dir
    this.#local = directoryStore(dir)
    this.#remote = remote
  }

  /** Bytes by volume. */
  sizes(): ReadonlyMap<string, number> {
    return new Map([...this.#known].map(([volume, { size }]) => [volume, size]))
  }

  sizeOf(volume: string): number | undefined {
    return this.#known.get(volume)?.size
  }

  async #read(store: ObjectStore, prefix = ''): Promise<void> {
    for await (const { key, size } of store.list(prefix)) if (key.endsWith(END)) this.#known.set(key.slice(0, -END.length), { size, store })
  }

  /** What a killed run was writing: once, before this one writes. */
  async #sweep(): Promise<void> {
    this.#swept = true
    for (const name of await readdir(this.#dir)) if (PART.test(name)) await rm(join(this.#dir, name), { force: true })
  }

  /** All that there are. What lies in the directory while its volume is there was left by a kill: the volume counts, the pack goes. */
  async list(volumes: readonly string[]): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 })
    if (!this.#swept) await this.#sweep()
    await this.#read(this.#local)
    const here = new Set(volumes)
    for (const volume of [...this.#known.keys()].filter((name) => here.has(name))) await this.drop(volume)
    if (this.#remote === null || this.#listed) return
    const before = new Set(this.#known.keys())
    await this.#read(await this.#remote())
    this.#listed = true
    // Not removed: another machine with a copy of this installation's data may see the same store. The next pack replaces it.
    for (const volume of this.#known.keys()) if (here.has(volume) && !before.has(volume)) this.#known.delete(volume)
  }

  /** For a volume that is not there. Rejects where it cannot be told. */
  async has(volume: string): Promise<boolean> {
    if (this.#known.has(volume)) return true
    if (this.#remote !== null && !this.#listed) await this.list([])
    else await this.#read(this.#local, volume)
    return this.#known.has(volume)
  }

  /** Writes it, reads it once more and compares. */
  async write(volume: string, tar: Readable): Promise<number> {
    const store = this.#remote === null ? this.#local : await this.#remote()
    const hash = createHash('sha256')
    const zstd = createZstdCompress({
      params: {
        [constants.ZSTD_c_compressionLevel]: LEVEL,
        [constants.ZSTD_c_checksumFlag]: 1,
        [constants.ZSTD_c_enableLongDistanceMatching]: 1,
      },
    })
    const packing = pipeline(tar, hashing(hash), zstd)
    packing.catch((error: Error) => void zstd.destroy(error))
    const [size] = await Promise.all([store.putStream(`${volume}${END}`, zstd), packing])
    const again = createHash('sha256')
    await pipeline(await store.get(`${volume}${END}`), createZstdDecompress(), hashing(again), async (source) => {
      for await (const _ of source);
    })
    if (hash.digest('hex') !== again.digest('hex')) throw fail('parcel_failed', { reason: 'what was read is not what was written' })
    this.#known.set(volume, { size, store })
    return size
  }

  /** The tar; fails where it is not whole, with `pack_damaged` or `store_failed`. */
  async read(volume: string): Promise<Readable> {
    const pack = this.#known.get(volume)
    if (!pack) throw fail('volume_missing', { volume })
    const key = `${volume}${END}`
    const { place } = pack.store
    const source = await pack.store.get(key)
    const zstd = createZstdDecompress()
    const tar = new PassThrough()
    // No pipeline: that would tell the tar zlib's words before ours, and miss what zlib finds at the very end.
    const broken = (cause: NodeJS.ErrnoException) => {
      const reason = cause.code ?? cause.message
      tar.destroy(
        DAMAGED.test(reason) ? fail('pack_damaged', { key, place }, { cause }) : fail('store_failed', { place, reason }, { cause }),
      )
    }
    source.on('error', broken).once('close', () => source.readableEnded || broken(new Error('it broke off')))
    zstd.on('error', broken)
    tar.once('close', () => {
      source.destroy()
      zstd.destroy()
    })
    source.pipe(zstd).pipe(tar)
    return tar
  }

  async drop(volume: string): Promise<void> {
    const pack = this.#known.get(volume)
    this.#known.delete(volume)
    await pack?.store.remove(`${volume}${END}`)
  }
}

const hashing = (hash: Hash): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
