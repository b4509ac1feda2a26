/** What tar makes of what comes to it: on the real program. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { after, describe, test } from 'node:test'
import { pack, unpack } from './parcel.ts'

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

describe('made by hand', () => {
  /** An archive of what `make` puts into a directory, with more arguments for tar. */
  function tarOf(make: (dir: string) => void, ...args: string[]): Buffer {
    const dir = mkdtempSync(join(parent, 'made-'))
    writeFileSync(join(dir, 'first'), 'first')
    make(dir)
    return execFileSync('tar', ['-C', dir, '-cf', '-', ...args, 'first', ...readdirSync(dir).filter((name) => name !== 'first')], {
      stdio: 'pipe',
    })
  }
  const outside = join(parent, 'outside')
  mkdirSync(outside)
  writeFileSync(join(outside, 'victim'), 'untouched')
  let made = 0
  const unpacked = (tar: Buffer) => unpack(target(`hostile-${++made}`), null, Readable.from([tar]))
  const into = (name: string) => (dir: string) => symlinkSync(outside, join(dir, name))

  test('links and devices are refused: within, and as a way out', async () => {
    for (const link of [
      into('link'),
      (dir: string) => symlinkSync('/etc/passwd', join(dir, 'link')),
      (dir: string) => symlinkSync('first', join(dir, 'link')),
    ])
      await assert.rejects(unpacked(tarOf(link)), { code: 'volume_foreign', message: /link, which/ })
    await assert.rejects(unpacked(tarOf((dir) => void execFileSync('sh', ['-c', 'mkfifo "$1"', 'sh', join(dir, 'pipe')]))), {
      code: 'volume_foreign',
    })
    // A link, then a file that would go through it.
    const through = Buffer.concat([
      tarOf(into('way')).subarray(0, 3 * 512),
      tarOf((dir) => {
        mkdirSync(join(dir, 'way'))
        writeFileSync(join(dir, 'way/evil'), 'evil')
      }),
    ])
    await unpacked(through).catch(() => {})
    assert.deepEqual(readdirSync(outside), ['victim'])
  })

  test('names that lead out, too long ones and second names of others are refused', async () => {
    await assert.rejects(unpacked(tarOf(() => {}, '--absolute-names', '--transform=s,^,../,')), {
      code: 'parcel_failed',
      message: /contains '\.\.'/,
    })
    await assert.rejects(
      unpacked(tarOf(() => {}, `--transform=s,^,${'n'.repeat(10_000)},`)),
      (error: Error) => error.message.length < 500 && /name too long/.test(error.message),
    )
    assert.ok(!existsSync(join(parent, 'first')))
    await unpacked(tarOf(() => {}, '--absolute-names', `--transform=s,^,${outside}/,`))
    assert.deepEqual(readdirSync(outside), ['victim'])
  })

  test('no bits that lend rights', async () => {
    await unpacked(
      tarOf((dir) => {
        writeFileSync(join(dir, 'tool'), '')
        chmodSync(join(dir, 'tool'), 0o6755)
      }),
    )
    assert.equal(statSync(join(parent, `hostile-${made}`, 'tool')).mode & 0o7000, 0)
  })

  test('what could not come back is not packed', async () => {
    const dir = target('linked')
    into('pg_wal')(dir)
    await assert.rejects(pack(dir, null, new Socket()), { code: 'volume_foreign' })
  })
})
