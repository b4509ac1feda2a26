import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { sha256 } from '../crypto.ts'
import { fail } from '../errors.ts'
import { END, type End, HEADER, MANIFEST, type Manifest } from './format.ts'
import { parsedAs, SHAPES } from './schemas.ts'
import { tarMembers } from './tar.ts'

const SMALL = 64 << 20

/** Reads a backup that comes as a stream to its end and compares it with its own list, as `Archive.verify` does with one in a file. */
export async function verifyStream(source: Readable, file: string): Promise<Manifest> {
  const seen = new Map<string, string>()
  const texts = new Map<string, Buffer>()
  for await (const { name, size, body } of tarMembers(source, file)) {
    if (seen.size === 0 && name !== HEADER) throw fail('backup_foreign', { file, reason: `it does not begin with ${HEADER}` })
    const hash = createHash('sha256')
    const kept: Buffer[] = []
    const keep = (name === MANIFEST || name === END) && size <= SMALL
    for await (const part of body) {
      hash.update(part)
      if (keep) kept.push(Buffer.from(part))
    }
    seen.set(name, hash.digest('hex'))
    if (keep) texts.set(name, Buffer.concat(kept))
  }
  const [list, end] = [texts.get(MANIFEST), texts.get(END)]
  if (!list || !end) throw fail('backup_truncated', { file })
  const { manifest_sha256 } = parsedAs<End>(SHAPES.end, end.toString(), { file, member: END })
  if (sha256(list) !== manifest_sha256) throw fail('backup_damaged', { file, member: MANIFEST })
  const manifest = parsedAs<Manifest>(SHAPES.manifest, list.toString(), { file, member: MANIFEST })
  for (const { name, sha256: wanted } of manifest.members)
    if (seen.get(name) !== wanted) throw fail('backup_damaged', { file, member: name })
  return manifest
}
