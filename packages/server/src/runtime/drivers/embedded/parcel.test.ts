/** What tar makes of what comes to it: on the real program. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { after, test } from 'node:test'
import { unpack } from './parcel.ts'

const parent = mkdtempSync(join(tmpdir(), 'sovra-parcel-'))
after(() => rmSync(parent, { recursive: true, force: true }))
mkdirSync(join(parent, 'from'))
for (const name of ['a', 'b']) writeFileSync(join(parent, 'from', name), name.repeat(100_000))
const archive = execFileSync('tar', ['-C', join(parent, 'from'), '-cf', '-', 'a', 'b'])
/** One header block and 100,000 bytes in blocks of 512. */
const MEMBER = 512 + Math.ceil(100_000 / 512) * 512

function target(name: string): string {
  const dir = join(parent, name)
  mkdirSync(dir)
  return dir
}

test('padding behind the archive is read, however much and however late', async () => {
  const dir = target('padded')
  async function* parts() {
    yield archive
    for (let index = 0; index < 64; index++) {
      await new Promise(setImmediate)
      yield Buffer.alloc(1 << 16)
    }
  }
  await unpack(dir, null, Readable.from(parts(), { objectMode: false }))
  assert.deepEqual(readdirSync(dir), ['a', 'b'])
  assert.equal(readFileSync(join(dir, 'b'), 'utf8'), 'b'.repeat(100_000))
})

test('an archive that is cut is refused, also between two members', async () => {
  await assert.rejects(unpack(target('inside'), null, Readable.from([archive.subarray(0, MEMBER + 1000)])), { code: 'parcel_failed' })
  async function* broken() {
    yield archive.subarray(0, MEMBER)
    throw new Error('the sender went away')
  }
  await assert.rejects(unpack(target('between'), null, Readable.from(broken(), { objectMode: false })), /the sender went away/)
  const gone = new PassThrough()
  gone.write(archive.subarray(0, MEMBER), () => gone.destroy())
  await assert.rejects(unpack(target('gone'), null, gone), { code: 'ERR_STREAM_PREMATURE_CLOSE' })
})

test('where tar ends early, its own reason is told', async () => {
  const endless = Readable.from(
    (function* () {
      for (;;) yield archive
    })(),
    { objectMode: false },
  )
  await assert.rejects(unpack(join(parent, 'nowhere'), null, endless), { code: 'parcel_failed' })
})
