import { createHash } from 'node:crypto'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { createZstdDecompress, zstdDecompress } from 'node:zlib'
import { BLOCK, padding, tarEnd, tarHeader } from '../../base/archive/tar.ts'
import { fail, isSovraError } from '../../base/errors.ts'
import { type ObjectStore, readObject } from '../../base/objects/store.ts'
import type { History, Position } from '../history.ts'
import { type BaseRecord, baseKey, hex, type LogObject, positionOf } from './layout.ts'
import { logStart, type RestorePlan } from './plan.ts'

const CHUNK = 1 << 20
/** Bytes of an object of the log, unpacked, at most. */
const LIMIT = 64 << 20
const SIZE_AT = 124
const SIZE_END = 136

/** A base's tar, compared with its record while it is read; `archive_damaged` at its end. */
export async function openBase(lineage: ObjectStore, { id, sha256 }: BaseRecord): Promise<Readable> {
  const key = baseKey(id, 'tar.zst')
  const hash = createHash('sha256')
  const measured = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
    flush(done) {
      const found = hash.digest('hex')
      done(found === sha256 ? null : fail('archive_damaged', { place: lineage.place, key, reason: 'its checksum is another one' }))
    },
  })
  const tar = createZstdDecompress({ chunkSize: CHUNK })
  pipeline(await lineage.get(key), measured, tar).catch(() => {})
  async function* told(): AsyncGenerator<Buffer> {
    try {
      yield* tar as AsyncIterable<Buffer>
    } catch (cause) {
      throw isSovraError(cause) ? cause : fail('archive_damaged', { place: lineage.place, key, reason: 'it cannot be unpacked' }, { cause })
    }
  }
  return Readable.from(told(), { objectMode: false, highWaterMark: CHUNK })
}

/** Everything of a tar but the blocks that close it. */
export async function* openEnded(tar: Readable): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0)
  /** Bytes of the member under way. */
  let left = 0
  let ended = false
  for await (const chunk of tar) {
    // To its very end, for its checksum.
    if (ended) continue
    rest = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer])
    while (!ended && rest.length > 0) {
      if (left > 0) {
        const part = rest.subarray(0, left)
        left -= part.length
        rest = rest.subarray(part.length)
        yield part
      } else if (rest.length >= BLOCK) {
        const header = rest.subarray(0, BLOCK)
        ended = header.every((byte) => byte === 0)
        if (ended) break
        left = BLOCK + blocksOf(header)
      } else break
    }
  }
}

function blocksOf(header: Buffer): number {
  const type = header.toString('latin1', 156, 157)
  const wide = header[SIZE_AT] === 0x80
  const size = wide ? Number(header.readBigUInt64BE(SIZE_AT + 4)) : Number.parseInt(header.toString('latin1', SIZE_AT, SIZE_END), 8) || 0
  // Links and directories have no contents, whatever size they say.
  return type === '0' || type === '\0' ? size + padding(size) : 0
}

async function unpacked(lineage: ObjectStore, { key, start }: LogObject): Promise<{ start: Position; bytes: Buffer }> {
  const packed = await readObject(lineage, key)
  try {
    return { start, bytes: await promisify(zstdDecompress)(packed, { maxOutputLength: LIMIT }) }
  } catch (cause) {
    throw fail('archive_damaged', { place: lineage.place, key, reason: 'it cannot be unpacked' }, { cause })
  }
}

/** The log as files, each a member of a tar; the last one is filled up with zeros. */
export async function* logMembers({ lineage, chain, log, time }: RestorePlan, history: History): AsyncGenerator<Buffer> {
  const base = chain.at(-1)!
  const { segment, timeline } = base
  let at = logStart(base)
  let file = Buffer.alloc(segment)
  let filled = 0
  const member = (position: Position) => Buffer.concat([tarHeader(history.file(timeline, position, segment), segment, 0), file])
  for (const object of log) {
    const { start, bytes } = await unpacked(lineage, object)
    if (start > at + BigInt(filled)) {
      // What comes after a gap is of no moment before it.
      if (object.at > time) break
      throw fail('archive_gap', { time: new Date(object.at).toISOString(), lsn: hex(at + BigInt(filled)) })
    }
    // What was sent twice is the same.
    let rest = bytes.subarray(Number(at + BigInt(filled) - start))
    while (rest.length > 0) {
      const part = rest.subarray(0, segment - filled)
      part.copy(file, filled)
      filled += part.length
      rest = rest.subarray(part.length)
      if (filled < segment) break
      yield member(at)
      at += BigInt(segment)
      file = Buffer.alloc(segment)
      filled = 0
    }
  }
  if (at + BigInt(filled) < positionOf(base.stop))
    throw fail('archive_gap', { time: new Date(base.ended_at).toISOString(), lsn: hex(at + BigInt(filled)) })
  if (filled > 0) yield member(at)
}

/** A data directory with its log: what a volume is laid from. */
export async function* restoreTar(plan: RestorePlan, history: History, base: Readable): AsyncGenerator<Buffer> {
  yield* openEnded(base)
  yield* logMembers(plan, history)
  yield tarEnd()
}
