import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { leakedList } from './leaked-list.ts'

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex').toUpperCase()

test('each of a list is found, and none beside them: with counts and without, CRLF, one line, no line', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sovra-leaked-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'list')
  const known = Array.from({ length: 501 }, (_, i) => sha1(`known ${i}`)).sort()
  for (const [end, counts] of [
    ['\n', true],
    ['\r\n', true],
    ['\n', false],
  ] as const) {
    writeFileSync(path, known.map((hash, i) => (counts ? `${hash}:${i * 97}` : hash) + end).join(''))
    const isLeaked = leakedList(path)
    for (const hash of known) assert.equal(await isLeaked(hash), true, hash)
    for (let i = 0; i < 50; i++) assert.equal(await isLeaked(sha1(`other ${i}`)), false)
  }
  for (const lines of [[known[0]!], []]) {
    writeFileSync(path, lines.join('\n'))
    assert.equal(await leakedList(path)(known[0]!), lines.length === 1)
    assert.equal(await leakedList(path)(known[9]!), false)
  }
})
