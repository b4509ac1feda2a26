import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { makeSpace } from './disk-space.ts'

test('the reserve is the smaller of bytes and share; a low disk heals a little above it', () => {
  let free = 100
  let now = 0
  const at = (left: number) => {
    free = left
    now += 10_000
    return space.state()
  }
  const space = makeSpace({ dir: '/', reserve: 500, share: 5, now: () => now, measure: () => ({ free, total: 1000 }) })
  assert.deepEqual(at(60), { free: 60, total: 1000, reserve: 50, low: false })
  assert.equal(at(49).low, true)
  assert.equal(at(52).low, true, 'at the edge it stays as it was')
  assert.equal(at(56).low, false)
  assert.equal(at(52).low, false)
})

test('without a reserve nothing is ever low; a real disk says what it has', () => {
  assert.equal(makeSpace({ dir: '/', reserve: 0, share: 5, measure: () => ({ free: 0, total: 1000 }) }).low(), false)
  const real = makeSpace({ dir: tmpdir(), reserve: 1, share: 5 }).state()
  assert.ok(real.total > real.free && real.free > 0)
  assert.equal(makeSpace({ dir: '/nowhere/at/all', reserve: 1, share: 5 }).low(), false)
})
