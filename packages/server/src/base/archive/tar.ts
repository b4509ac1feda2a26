import { fail } from '../errors.ts'

/** The outer shape of a backup: POSIX ustar of plain files, so that it can be taken apart by hand. Sizes of 8 GiB and more in base 256, as GNU tar writes them. */
export const BLOCK = 512
const OCTAL_LIMIT = 8 ** 11
const NAME_BYTES = 100
const AT = { size: 124, sum: 148, type: 156, magic: 257 } as const
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,99}$/

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`

/** Bytes from a member's end to the next block. */
export const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK

const sumOf = (header: Buffer): number => {
  let sum = 0
  for (const [index, byte] of header.entries()) sum += index >= AT.sum && index < AT.sum + 8 ? 32 : byte
  return sum
}

export function tarHeader(name: string, size: number, mtime: number): Buffer {
  if (!NAME.test(name) || Buffer.byteLength(name) > NAME_BYTES) throw fail('internal', {}, { cause: `no name of a member: ${name}` })
  const header = Buffer.alloc(BLOCK)
  header.write(name)
  header.write(octal(0o600, 8), 100)
  header.write(octal(0, 8), 108)
  header.write(octal(0, 8), 116)
  if (size < OCTAL_LIMIT) header.write(octal(size, 12), AT.size)
  else {
    header[AT.size] = 0x80
    header.writeBigUInt64BE(BigInt(size), AT.size + 4)
  }
  header.write(octal(Math.floor(mtime / 1000), 12), 136)
  header.write('0', AT.type)
  header.write('ustar\x0000', AT.magic, 'latin1')
  header.write(`${sumOf(header).toString(8).padStart(6, '0')}\0 `, AT.sum)
  return header
}

/** What closes an archive. */
export const tarEnd = (): Buffer => Buffer.alloc(2 * BLOCK)

/** Name and size of the next member; null at the archive's end; undefined where these 512 bytes are no header. */
export function readHeader(header: Buffer): { readonly name: string; readonly size: number } | null | undefined {
  if (header.every((byte) => byte === 0)) return null
  if (header.toString('latin1', AT.magic, AT.magic + 5) !== 'ustar') return undefined
  if (Number.parseInt(header.toString('latin1', AT.sum, AT.sum + 7), 8) !== sumOf(header)) return undefined
  const name = header.toString('latin1', 0, NAME_BYTES).replace(/\0.*/s, '')
  const wide = header[AT.size] === 0x80
  const size = wide ? Number(header.readBigUInt64BE(AT.size + 4)) : Number.parseInt(header.toString('latin1', AT.size, AT.size + 12), 8)
  if (!NAME.test(name) || name.includes('..') || header.toString('latin1', AT.type, AT.type + 1) !== '0') return undefined
  return Number.isSafeInteger(size) && size >= 0 ? { name, size } : undefined
}

export interface TarMember {
  readonly name: string
  readonly size: number
  /** To be read to its end before the next member is asked for. */
  readonly body: AsyncIterable<Buffer>
}

/** Members of an archive that comes as a stream. `backup_truncated`, `backup_foreign`. */
export async function* tarMembers(source: AsyncIterable<Buffer>, file: string): AsyncGenerator<TarMember> {
  const chunks = source[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)
  async function more(): Promise<void> {
    const { done, value } = await chunks.next()
    if (done) throw fail('backup_truncated', { file })
    rest = rest.length === 0 ? value : Buffer.concat([rest, value])
  }
  async function* take(size: number): AsyncGenerator<Buffer> {
    let left = size
    while (left > 0) {
      if (rest.length === 0) await more()
      const part = rest.subarray(0, left)
      rest = rest.subarray(part.length)
      left -= part.length
      yield part
    }
  }
  for (;;) {
    while (rest.length < BLOCK) await more()
    const header = readHeader(rest.subarray(0, BLOCK))
    rest = rest.subarray(BLOCK)
    if (header === undefined) throw fail('backup_foreign', { file, reason: 'it is no archive of ours' })
    if (header === null) return
    yield { ...header, body: take(header.size) }
    for await (const _ of take(padding(header.size)));
  }
}
