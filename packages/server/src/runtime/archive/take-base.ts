import { createHash } from 'node:crypto'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { constants, createZstdCompress, zstdCompress, zstdDecompress } from 'node:zlib'
import { type ObjectStore, readObject } from '../../base/objects/store.ts'
import type { Endpoint } from '../driver.ts'
import type { History } from '../history.ts'
import type { Service } from '../services.ts'
import { type BaseRecord, baseId, baseKey, FORMAT, hex, VERSION } from './layout.ts'

const LEVEL = 3
const CHUNK = 1 << 20

function counted(seen: (chunk: Buffer) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seen(chunk)
      done(null, chunk)
    },
  })
}

async function pack(store: ObjectStore, key: string, tar: Readable) {
  const hash = createHash('sha256')
  let bytes = 0
  const zstd = createZstdCompress({
    chunkSize: CHUNK,
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 1 },
  })
  const out = counted((chunk) => hash.update(chunk))
  const packed = pipeline(
    tar,
    counted((chunk) => {
      bytes += chunk.length
    }),
    zstd,
    out,
  )
  // Its failure is that of `out`, which the store sees.
  packed.catch(() => {})
  const size = await store.putStream(key, out)
  await packed
  return { size, bytes, sha256: hash.digest('hex') }
}

export interface TakeOptions {
  readonly lineage: string
  /** Of this lineage. */
  readonly store: ObjectStore
  readonly history: History
  readonly endpoint: Endpoint
  readonly service: Service
  /** The base that this one may say the changes of. */
  readonly parent: BaseRecord | null
  /** Whether a later one may build on it. */
  readonly manifest: boolean
  readonly now: () => number
}

/** A base of a running service into its archive; it counts once its record is there. */
export async function takeBase({ lineage, store, history, endpoint, service, parent, manifest, now }: TakeOptions): Promise<BaseRecord> {
  const began = now()
  const known = parent?.manifest ? await promisify(zstdDecompress)(await readObject(store, baseKey(parent.id, 'manifest.zst'))) : null
  const { tar, made } = await history.base(endpoint, service, { manifest, parent: known })
  const id = baseId(began, 0n)
  const stored = await pack(store, baseKey(id, 'tar.zst'), tar)
  const base = await made
  if (base.manifest) await store.put(baseKey(id, 'manifest.zst'), await promisify(zstdCompress)(base.manifest))
  const record: BaseRecord = {
    format: FORMAT,
    version: VERSION,
    id,
    ref: service.project,
    lineage,
    service: service.name,
    engine: service.engine,
    engine_version: service.engineVersion,
    began_at: began,
    ended_at: now(),
    timeline: base.timeline,
    start: hex(base.start),
    stop: hex(base.stop),
    segment: base.segment,
    ...stored,
    parent: known ? (parent?.id ?? null) : null,
    manifest: base.manifest !== null,
  }
  await store.put(baseKey(id, 'json'), Buffer.from(JSON.stringify(record)))
  return record
}
