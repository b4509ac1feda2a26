import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { NO_ROOM, PackedTar, pour } from './pour.ts'

const dir = mkdtempSync(join(tmpdir(), 'sovra-pour-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const plain = Buffer.concat([randomBytes(6 << 20), Buffer.alloc(3 << 20)])
const packed = zstdCompressSync(plain)
let last = 0

/** A socket for one pour, and what its reader makes of it. */
async function listen<R>(read: (socket: Socket) => Promise<R>): Promise<{ path: string; read: Promise<R> }> {
  const path = join(dir, `s${++last}`)
  const { promise, resolve } = Promise.withResolvers<R>()
  const server = createServer((socket) => {
    server.close()
    resolve(read(socket))
  })
  await new Promise<void>((done) => server.listen(path, done))
  promise.catch(() => {})
  return { path, read: promise }
}
const all = async (socket: Socket) => Buffer.concat(await socket.toArray())

/** Pieces of one buffer, as they come by HTTP. */
async function* pieces(of: Buffer, error?: Error): AsyncGenerator<Buffer> {
  for (let at = 0; at < of.length; at += 65_536) yield of.subarray(at, at + 65_536)
  if (error) throw error
}

test('what comes out is what went in, and no piece of its source is taken away', async () => {
  const { path, read } = await listen(all)
  const source = Buffer.from(packed)
  await pour(new PackedTar(pieces(source)), path)
  assert.ok((await read).equals(plain))
  assert.ok(source.equals(packed))
})

test('damaged, cut off, broken off, or with nobody who reads: an error each, and an end', async () => {
  const into = async (source: AsyncIterable<Buffer>) => pour(new PackedTar(source), (await listen(all)).path)
  await assert.rejects(into(pieces(randomBytes(100_000))), (error: NodeJS.ErrnoException) => /^ZSTD_/.test(error.code ?? ''))
  await assert.rejects(into(pieces(packed.subarray(0, packed.length - 100_000))))
  await assert.rejects(into(pieces(packed, new Error('the client has gone'))), /the client has gone/)
  const gone = await listen(async (socket) => socket.destroy())
  await assert.rejects(pour(new PackedTar(pieces(packed)), gone.path), (error: NodeJS.ErrnoException) =>
    /EPIPE|ECONNRESET|PREMATURE_CLOSE/.test(error.code ?? ''),
  )
})

test('what must stay free stays free, however little was sent', async () => {
  const bomb = zstdCompressSync(Buffer.alloc(256 << 20))
  let taken = 0
  const counting = async (socket: Socket) => {
    for await (const chunk of socket) taken += (chunk as Buffer).length
  }
  const { path, read } = await listen(counting)
  await assert.rejects(pour(new PackedTar(pieces(bomb), { dir, keep: Number.MAX_SAFE_INTEGER }), path), { code: NO_ROOM })
  await read.catch(() => {})
  assert.ok(taken <= 8 << 20)
})
