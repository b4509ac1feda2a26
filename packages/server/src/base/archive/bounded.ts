import type { Readable } from 'node:stream'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdDecompress } from 'node:zlib'
import { fail } from '../errors.ts'
import type { Archive } from './read.ts'

const CHUNK = 1 << 20

function atMost(limit: number, beyond: () => Error): Transform {
  let left = limit
  return new Transform({
    highWaterMark: CHUNK,
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length
      if (left < 0) done(beyond())
      else done(null, chunk)
    },
  })
}

/** A compressed member of a backup, unpacked: `backup_damaged` where it is none, or longer than it says. */
export function unpackedMember(
  archive: Archive,
  member: string,
  bytes: number,
): { readonly stream: Readable; readonly ended: Promise<void> } {
  const damaged = (cause?: unknown) => fail('backup_damaged', { file: archive.file, member }, { cause })
  const stream = atMost(bytes, () => damaged('it is longer than it says'))
  const ended = pipeline(archive.stream(member), createZstdDecompress({ chunkSize: CHUNK }), stream).catch(
    (error: NodeJS.ErrnoException) => {
      throw error.code?.startsWith('ZSTD_') || error.code?.startsWith('Z_') ? damaged(error) : error
    },
  )
  ended.catch(() => {})
  return { stream, ended }
}
