/** The same on a directory and on a real S3 server that checks signatures. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { ACCESS, type S3Server, startS3 } from '../../../../../test/s3.ts'
import { isSovraError } from '../errors.ts'
import { makeOutbound, type Outbound } from '../outbound.ts'
import { directoryStore } from './directory.ts'
import { makeStoreOutbounds } from './outbound.ts'
import { placeOf } from './place.ts'
import { s3Store } from './s3.ts'
import { type ObjectStore, readObject, type Stored, within } from './store.ts'

const dir = mkdtempSync(join(tmpdir(), 'sovra-objects-'))
let s3: S3Server
let outbound: Outbound
const stores: { directory?: ObjectStore; s3?: ObjectStore } = {}

before(async () => {
  s3 = await startS3()
  outbound = makeStoreOutbounds({ allow: ['127.0.0.0/8'], caFile: null, proxy: null }).outbound
  stores.directory = directoryStore(dir)
  stores.s3 = s3Store({ bucket: s3.bucket, prefix: 'a/prefix', access: { ...ACCESS, endpoint: s3.endpoint }, outbound })
})
after(async () => {
  await outbound?.close()
  await s3?.stop()
  rmSync(dir, { recursive: true, force: true })
})

const listed = async (found: AsyncIterable<Stored>) => {
  const keys: string[] = []
  for await (const { key } of found) keys.push(key)
  return keys
}

for (const kind of ['directory', 's3'] as const) {
  describe(kind, () => {
    const store = () => stores[kind]!

    test('puts, replaces, reads, lists in order, removes', async () => {
      const sub = within(store(), 'one')
      for (const key of ['wal/b', 'wal/a', 'wal/c/d', 'base/x.json', 'wal/c.e']) await sub.put(key, Buffer.from(key))
      await sub.put('wal/a', Buffer.from('again'))
      assert.equal((await readObject(sub, 'wal/a')).toString(), 'again')
      assert.deepEqual(await listed(sub.list('wal/')), ['wal/a', 'wal/b', 'wal/c.e', 'wal/c/d'])
      assert.deepEqual(await listed(sub.list('wal/', 'wal/b')), ['wal/c.e', 'wal/c/d'])
      assert.deepEqual(await listed(sub.list('wal/c')), ['wal/c.e', 'wal/c/d'])
      assert.deepEqual(await listed(store().list('one/')), ['one/base/x.json', 'one/wal/a', 'one/wal/b', 'one/wal/c.e', 'one/wal/c/d'])
      assert.deepEqual(await listed(sub.list('nothing/')), [])
      await sub.remove('wal/a')
      await sub.remove('wal/a')
      await assert.rejects(sub.get('wal/a'), (error) => isSovraError(error, 'object_missing'))
    })

    test('a stream of more than a part, and an empty one', async () => {
      const chunk = randomBytes(1 << 20)
      const size = 33
      assert.equal(await store().putStream('large', Readable.from(Array(size).fill(chunk))), size << 20)
      let seen = 0
      for await (const part of await store().get('large')) seen += (part as Buffer).length
      assert.equal(seen, size << 20)
      assert.equal(await store().putStream('empty', Readable.from([])), 0)
      assert.equal((await readObject(store(), 'empty')).length, 0)
    })

    test('a stream that breaks off leaves nothing', async () => {
      const broken = Readable.from(
        (async function* () {
          yield randomBytes(1000)
          throw new Error('broken off')
        })(),
      )
      await assert.rejects(store().putStream('broken', broken))
      assert.deepEqual(await listed(store().list('broken')), [])
    })
  })
}

test('the answer to the last step of an upload is lost: it is done all the same', async () => {
  let lost = 0
  const losing: Pick<Outbound, 'fetch'> = {
    async fetch(url, request) {
      const answer = await outbound.fetch(url, request)
      if (request?.method !== 'POST' || !url.includes('uploadId=') || lost++ > 0) return answer
      await answer.text()
      throw new Error('the connection broke')
    },
  }
  const store = s3Store({ bucket: s3.bucket, prefix: 'lost', access: { ...ACCESS, endpoint: s3.endpoint }, outbound: losing })
  const chunk = randomBytes(1 << 20)
  assert.equal(await store.putStream('large', Readable.from(Array(33).fill(chunk))), 33 << 20)
  assert.equal(lost, 2)
  assert.deepEqual(await listed(store.list('')), ['large'])
})

test('a wrong secret is refused, and never shown', async () => {
  const access = { ...ACCESS, endpoint: s3.endpoint, secret_access_key: 'another secret' }
  const store = s3Store({ bucket: s3.bucket, prefix: '', access, outbound })
  for (const work of [() => store.put('x', Buffer.from('x')), () => store.get('x'), () => listed(store.list(''))])
    await assert.rejects(work, (error: Error) => {
      assert.ok(isSovraError(error, 'store_denied'), error.message)
      assert.match(error.message, /SignatureDoesNotMatch/)
      return !error.message.includes('another secret')
    })
  const nowhere = s3Store({ bucket: 'not-there', prefix: '', access: { ...ACCESS, endpoint: s3.endpoint }, outbound })
  await assert.rejects(nowhere.get('x'), (error: Error) => isSovraError(error, 'store_failed') && error.message.includes('NoSuchBucket'))
  const closed = makeOutbound({ allow: [], ownListeners: () => [], caFile: null, proxy: null })
  const inside = s3Store({ bucket: s3.bucket, prefix: '', access, outbound: closed })
  await assert.rejects(inside.put('x', Buffer.from('x')), (error) => isSovraError(error, 'store_failed'))
  await closed.close()
})

test('a directory that is not there is not made; one that cannot be written says so', async () => {
  const gone = directoryStore(join(dir, 'not-mounted'))
  await assert.rejects(gone.put('x', Buffer.from('x')), (error) => isSovraError(error, 'store_failed'))
  writeFileSync(join(dir, 'file'), '')
  await assert.rejects(directoryStore(join(dir, 'file')).put('a/x', Buffer.from('x')), (error) => isSovraError(error, 'store_failed'))
  assert.ok(!readdirSync(dir).includes('not-mounted'))
})

test('places', () => {
  assert.deepEqual(placeOf('/mnt/x'), { kind: 'directory', dir: '/mnt/x' })
  assert.deepEqual(placeOf('s3://bucket'), { kind: 's3', bucket: 'bucket', prefix: '' })
  assert.deepEqual(placeOf('s3://bucket/a/b/'), { kind: 's3', bucket: 'bucket', prefix: 'a/b' })
  for (const wrong of ['x', 's3://', 's3://b/../c', 's3://Bucket', 'https://x/y'])
    assert.throws(
      () => placeOf(wrong),
      (error) => isSovraError(error, 'store_place_invalid'),
    )
})
