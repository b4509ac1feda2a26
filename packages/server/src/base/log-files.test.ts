import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openLogFiles } from './log-files.ts'

const base = mkdtempSync(join(tmpdir(), 'sovra-logs-'))
after(() => rmSync(base, { recursive: true, force: true }))
const DAY = 86_400_000
const START = Date.UTC(2026, 0, 1, 12)
const line = (at: number, level: string, more: object = {}) =>
  `${JSON.stringify({ level, time: new Date(at).toISOString(), ...more, msg: 'said' })}\n`

test('lines are found again by time, level, project and request, the last ones first to stay', async () => {
  const files = openLogFiles({ dir: join(base, 'find'), size: 1 << 20, keep: DAY, total: 1 << 20 })
  files.write(line(START, 'info', { project: 'a', request_id: 'r1' }))
  files.write(line(START + 1000, 'warn', { project: 'b', request_id: 'r2' }))
  files.write('no JSON\n')
  files.write(line(START + 2000, 'error', { project: 'a', request_id: 'r3' }))
  const count = async (filter: object, limit = 100) => (await files.read(filter, limit)).length
  assert.equal(await count({}), 3)
  assert.equal(await count({ level: 'warn' }), 2)
  assert.equal(await count({ project: 'a' }), 2)
  assert.equal(await count({ request: 'r2' }), 1)
  assert.equal(await count({ since: START + 1000 }), 2)
  assert.match((await files.read({}, 1))[0] ?? '', /r3/)
  files.close()
})

test('a file that is full or of yesterday is finished; what is past its time or too much is removed', () => {
  const dir = join(base, 'turn')
  let now = START
  const open = () => openLogFiles({ dir, size: 400, keep: 10 * DAY, total: 1500, now: () => now })
  const files = open()
  const finished = () => readdirSync(dir).filter((name) => name !== 'server.log')
  for (let i = 0; i < 12; i++) {
    files.write(line(now, 'error'))
    now += 10
  }
  const full = finished().length
  assert.ok(full >= 1, 'by size')
  now += DAY
  files.write(line(now, 'error'))
  assert.equal(finished().length, full + 1, 'by day')
  for (let i = 0; i < 60; i++) {
    files.write(line(now, 'error'))
    now += 10
  }
  assert.ok(files.bytes() <= 1500 + 2 * 400, 'all together stay below their limit')
  for (const name of finished()) utimesSync(join(dir, name), now / 1000, now / 1000)
  now += 11 * DAY
  assert.ok(files.sweep() > 0)
  assert.equal(finished().length, 0)
  files.close()
})

test('followers hear each line until they end it', () => {
  const files = openLogFiles({ dir: join(base, 'follow'), size: 1 << 20, keep: DAY, total: 1 << 20 })
  const heard: string[] = []
  const end = files.follow((text) => heard.push(text))
  files.write('1\n')
  files.write('2\n3\n')
  end()
  files.write('4\n')
  assert.deepEqual(heard, ['1\n', '2\n', '3\n'])
  files.close()
})
