/** What is chosen for a moment, what is kept, and a log that is written again: on a directory, without an engine. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'
import { isSovraError } from '../../base/errors.ts'
import { directoryStore } from '../../base/objects/directory.ts'
import { type ObjectStore, readObject, within } from '../../base/objects/store.ts'
import type { History, Position } from '../history.ts'
import {
  type BaseRecord,
  baseId,
  baseKey,
  FORMAT,
  followedLineage,
  hex,
  lineageFolder,
  lineageName,
  logKey,
  logOf,
  VERSION,
} from './layout.ts'
import { LogWriter } from './log-writer.ts'
import { planRestore, rangesOf } from './plan.ts'
import { pruneProject } from './prune.ts'
import { logMembers } from './restore-tar.ts'
import { signedStore } from './signed.ts'

const dir = mkdtempSync(join(tmpdir(), 'sovra-archive-'))
const root = directoryStore(dir)
after(() => rmSync(dir, { recursive: true, force: true }))

const SEGMENT = 1 << 20
const MIB = BigInt(SEGMENT)
const HOUR = 3_600_000
const pack = promisify(zstdCompress)

async function addBase(ref: string, lineage: string, at: number, start: Position, parent: string | null = null): Promise<BaseRecord> {
  const id = baseId(at, 0n)
  const record: BaseRecord = {
    ...{ format: FORMAT, version: VERSION, id, ref, lineage, service: 'db', engine: 'postgres', engine_version: '18.4' },
    ...{ began_at: at, ended_at: at, timeline: 1, start: hex(start), stop: hex(start + 100n), segment: SEGMENT },
    ...{ size: 1, sha256: '', bytes: 1, parent, manifest: true },
  }
  const store = within(root, lineageFolder(ref, lineage))
  await store.put(baseKey(id, 'tar.zst'), Buffer.from('x'))
  await store.put(baseKey(id, 'json'), Buffer.from(JSON.stringify(record)))
  return record
}

async function addLog(ref: string, lineage: string, at: number, start: Position, bytes: number): Promise<void> {
  await within(root, lineageFolder(ref, lineage)).put(logKey(1, start, at), await pack(Buffer.alloc(bytes, Number(start % 251n))))
}

const logs = async (store: ObjectStore) => {
  const found: number[] = []
  for await (const { start } of logOf(store)) found.push(Number(start / MIB))
  return found
}

describe('a plan', () => {
  const ref = 'planned'

  test('base, log from the beginning of its file, one object beyond the moment', async () => {
    await addBase(ref, 'one', 10 * HOUR, 5n * MIB + 200n)
    for (let n = 4; n < 12; n++) await addLog(ref, 'one', n * 2 * HOUR, BigInt(n) * MIB, SEGMENT)
    const { chain, log, more } = await planRestore(root, ref, 13 * HOUR)
    assert.equal(chain.length, 1)
    assert.deepEqual(
      log.map(({ start }) => Number(start / MIB)),
      [5, 6, 7],
    )
    assert.equal(more, true)
    assert.equal((await planRestore(root, ref, 13 * HOUR, true)).log.at(-1)?.start, 11n * MIB)
  })

  test('a later lineage takes over from its first base on', async () => {
    await addBase(ref, 'two', 15 * HOUR, 8n * MIB)
    await addLog(ref, 'two', 15 * HOUR, 8n * MIB, SEGMENT)
    assert.match((await planRestore(root, ref, 14 * HOUR)).lineage.place, /one$/)
    assert.match((await planRestore(root, ref, 16 * HOUR)).lineage.place, /two$/)
    assert.deepEqual(await rangesOf(root, ref), [
      { from: 10 * HOUR, to: 15 * HOUR },
      { from: 15 * HOUR, to: null },
    ])
    await assert.rejects(planRestore(root, ref, 9 * HOUR), (error) => isSovraError(error, 'archive_time_outside'))
    await assert.rejects(planRestore(root, 'nobody', 9 * HOUR), (error) => isSovraError(error, 'archive_off'))
  })

  test('a log with a gap is refused, unless the gap comes after the moment', async () => {
    const history = { file: (_timeline: number, at: Position) => `pg_wal/${hex(at)}` } as unknown as History
    const members = async (time: number) => {
      let size = 0
      for await (const part of logMembers(await planRestore(root, 'gap', time, true), history)) size += part.length
      return Math.round(size / SEGMENT)
    }
    await addBase('gap', 'one', HOUR, 0n)
    await addLog('gap', 'one', HOUR, 0n, 2 * SEGMENT)
    // Sent twice after a crash: the second begins within the first.
    await addLog('gap', 'one', 2 * HOUR, MIB, 2 * SEGMENT)
    await addLog('gap', 'one', 4 * HOUR, 9n * MIB, SEGMENT)
    assert.equal(await members(3 * HOUR), 3)
    await assert.rejects(members(5 * HOUR), (error) => isSovraError(error, 'archive_gap'))
  })
})

test('what is followed goes on where it was, unless another volume was followed since', () => {
  const names = [lineageName('a', 'here', 1), lineageName('a', 'here', 3), lineageName('a', 'else', 9)]
  assert.equal(followedLineage(names, 'a', 'here'), names[1])
  assert.equal(followedLineage(names, 'b', 'here'), null)
  const moved = [...names, lineageName('a-v18-00000000', 'here', 5)]
  assert.equal(followedLineage(moved, 'a', 'here'), null)
  assert.equal(followedLineage(moved, 'a-v18-00000000', 'here'), moved[3])
  assert.equal(followedLineage([...moved, lineageName('a', 'here', 7)], 'a', 'here'), lineageName('a', 'here', 7))
})

test('thinning out keeps what a moment within the days needs, and whole chains', async () => {
  const ref = 'pruned'
  const store = within(root, lineageFolder(ref, 'one'))
  const first = await addBase(ref, 'one', 1 * HOUR, 1n * MIB)
  const second = await addBase(ref, 'one', 10 * HOUR, 10n * MIB)
  await addBase(ref, 'one', 20 * HOUR, 20n * MIB, second.id)
  for (let n = 1; n < 30; n++) await addLog(ref, 'one', n * HOUR, BigInt(n) * MIB, 1000)
  assert.equal(await pruneProject(root, ref, 9 * HOUR, false), 0)
  assert.ok((await pruneProject(root, ref, 21 * HOUR, false)) > 0)
  await assert.rejects(readObject(store, baseKey(first.id, 'json')), (error) => isSovraError(error, 'object_missing'))
  assert.equal((await logs(store))[0], 10)
  assert.equal((await planRestore(root, ref, 21 * HOUR)).chain.length, 2)
  // One that is followed by another goes once nobody needs it, and so does one that nothing comes to any more.
  await addBase(ref, 'two', 31 * HOUR, 40n * MIB)
  await addLog(ref, 'two', 31 * HOUR, 40n * MIB, 1000)
  await pruneProject(root, ref, 32 * HOUR, false)
  assert.deepEqual(await logs(store), [])
  assert.deepEqual(await rangesOf(root, ref), [{ from: 31 * HOUR, to: null }])
  await pruneProject(root, ref, 30 * HOUR, true)
  assert.equal((await rangesOf(root, ref)).length, 1)
  await pruneProject(root, ref, 40 * HOUR, true)
  assert.deepEqual(await rangesOf(root, ref), [])
})

test('what this server has not signed is refused where others may write', async () => {
  const [ours, theirs] = [signedStore(root, 'our key', true), signedStore(root, 'their key', true)]
  const body = await pack(Buffer.from('a piece of the log'))
  await ours.put('signed/log/a.zst', body)
  assert.deepEqual(await readObject(ours, 'signed/log/a.zst'), body)
  // By hand: zstd skips the frame with the signature.
  const stored = await readObject(root, 'signed/log/a.zst')
  assert.ok(stored.length > body.length)
  const refused = (error: unknown) => isSovraError(error, 'archive_foreign')
  await assert.rejects(readObject(theirs, 'signed/log/a.zst'), refused)
  await root.put('signed/log/b.zst', stored)
  await assert.rejects(readObject(ours, 'signed/log/b.zst'), refused, 'of another name')
  await root.put('signed/log/a.zst', body)
  await assert.rejects(readObject(ours, 'signed/log/a.zst'), refused, 'unsigned')
  assert.deepEqual(await readObject(signedStore(root, 'our key', false), 'signed/log/a.zst'), body)
})

test('a log object grows until it is large, and is confirmed only when it is stored', async () => {
  const store = within(root, 'written/one')
  const confirmed: Position[] = []
  const options = { store, timeline: 1, after: () => 60_000, stored: (end: Position) => void confirmed.push(end), now: () => 5000 }
  const writer = new LogWriter({ ...options, failed: (error) => assert.fail(String(error)) })
  writer.write(0n, Buffer.from('one'))
  assert.equal(writer.unstoredSince, 5000)
  await writer.flush()
  writer.write(3n, Buffer.from('two'))
  await writer.flush()
  assert.deepEqual(confirmed, [3n, 6n])
  assert.equal((await promisify(zstdDecompress)(await readObject(store, logKey(1, 0n, 5000)))).toString(), 'onetwo')
  writer.write(6n, Buffer.alloc(SEGMENT))
  await writer.flush()
  writer.write(6n + MIB, Buffer.from('next'))
  await writer.flush()
  const starts: Position[] = []
  for await (const { start } of logOf(store)) starts.push(start)
  assert.deepEqual(starts, [0n, 6n + MIB])
  assert.equal(writer.unstoredSince, null)
  writer.close()
})

test('a store that fails confirms nothing, and says since when', async () => {
  const failures: unknown[] = []
  const store = { ...root, put: () => Promise.reject(new Error('away')) }
  const writer = new LogWriter({
    store,
    timeline: 1,
    after: () => 60_000,
    stored: () => assert.fail('it was not stored'),
    failed: (error) => void failures.push(error),
    now: () => 7000,
  })
  writer.write(0n, Buffer.from('x'))
  await writer.flush()
  assert.equal(failures.length, 1)
  assert.equal(writer.unstoredSince, 7000)
  writer.write(9n, Buffer.from('a gap'))
  assert.equal(failures.length, 2)
  writer.close()
})
