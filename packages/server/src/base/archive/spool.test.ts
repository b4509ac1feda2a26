import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { zstdDecompressSync } from 'node:zlib'
import { fail, isSovraError } from '../errors.ts'
import { Spooler } from './spool.ts'
import { openTar, type TarApart } from './tar-apart.ts'

const dir = mkdtempSync(join(tmpdir(), 'sovra-spool-'))
const spooler = new Spooler()
after(async () => {
  await spooler.close()
  rmSync(dir, { recursive: true, force: true })
})

/** 3 MiB, each piece in the same buffer: it counts until the next is asked for. */
const pieces = `const b = Buffer.alloc(65536); for (let n = 0; n < 48; n++) { b.fill(n); yield b }`
const apart = (body: string, whole: Promise<unknown> = Promise.resolve()): TarApart => ({
  module: `data:text/javascript,${encodeURIComponent(`export async function* open(args) { ${body} }`)}`,
  args: { text: 'given' },
  whole,
})
const wanted = Buffer.concat(Array.from({ length: 48 }, (_, n) => Buffer.alloc(65_536, n)))

test('what another thread reads is in the file, with its sizes and checksum', async () => {
  const file = join(dir, 'one')
  const [made, given] = await Promise.all([
    spooler.spool(apart(pieces), file),
    spooler.spool(apart('yield Buffer.from(args.text)'), join(dir, 'two')),
  ])
  const written = readFileSync(file)
  assert.deepEqual(zstdDecompressSync(written), wanted)
  const sha256 = createHash('sha256').update(written).digest('hex')
  assert.deepEqual(made, { size: written.length, bytes: wanted.length, sha256 })
  assert.equal(given.bytes, 5)
  assert.deepEqual(Buffer.concat(await openTar(apart(pieces)).toArray()), wanted)
})

test('half of it is an error, who finds it: the source, its writer, or this disk', async () => {
  const failed = (reason: string) => Promise.reject(fail('parcel_failed', { reason }))
  await assert.rejects(spooler.spool(apart(`${pieces}; throw new Error('gone')`), join(dir, 'a')), /gone/)
  await assert.rejects(spooler.spool(apart(pieces, failed('tar')), join(dir, 'b')), (error) => isSovraError(error, 'parcel_failed'))
  await assert.rejects(openTar(apart(pieces, failed('tar'))).toArray(), (error) => isSovraError(error, 'parcel_failed'))
  const endless = 'for (;;) yield Buffer.alloc(65536)'
  await assert.rejects(spooler.spool(apart(endless, failed('tar')), join(dir, 'c')), (error) => isSovraError(error, 'parcel_failed'))
  await assert.rejects(spooler.spool(apart(endless), join(dir, 'nowhere/d')), /ENOENT/)
  await assert.rejects(spooler.spool({ ...apart(''), module: 'file:///nowhere.ts' }, join(dir, 'e')), /nowhere/)
  // It goes on after each of these.
  assert.equal((await spooler.spool(apart(pieces), join(dir, 'f'))).bytes, wanted.length)
})

test('a thread that is closed answers what was open', async () => {
  const other = new Spooler()
  const open = assert.rejects(other.spool(apart('await new Promise((resolve) => setTimeout(resolve, 60_000))'), join(dir, 'g')), /ended/)
  await other.close()
  await open
})
