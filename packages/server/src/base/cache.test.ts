import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recentMap } from './cache.ts'

test('what is in use stays, the rest is forgotten', () => {
  const map = recentMap<number>(10)
  map.set('used', 1)
  for (let i = 0; i < 1_000; i++) {
    map.set(`once ${i}`, i)
    if (i % 5 === 0) assert.equal(map.get('used'), 1)
  }
  assert.equal(map.get('once 999'), 999)
  const left = Array.from({ length: 1_000 }, (_, i) => map.get(`once ${i}`)).filter((value) => value !== undefined)
  assert.ok(left.length < 20, String(left.length))
})
