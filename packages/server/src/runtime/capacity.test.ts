import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../../../../test/until.ts'
import { Capacity } from './capacity.ts'

const DEFAULTS = { maxAwake: 2, short: () => false, patience: 60_000, makeRoom: async () => false, every: 1 }

test('as many places as there are; who waits gets the first that is given back, in order', async () => {
  const capacity = new Capacity(DEFAULTS)
  assert.deepEqual([capacity.tryTake(), capacity.tryTake(), capacity.tryTake()], [true, true, false])
  const order: string[] = []
  const waiting = ['first', 'second'].map((name) => capacity.take().then(() => order.push(name)))
  assert.equal(capacity.waiting, 2)
  capacity.free()
  capacity.free()
  await Promise.all(waiting)
  assert.deepEqual([order, capacity.taken, capacity.waiting], [['first', 'second'], 2, 0])
  capacity.free()
  capacity.free()
  assert.equal(capacity.taken, 0)
})

test('without a limit there is always a place', () => {
  const capacity = new Capacity({ ...DEFAULTS, maxAwake: 0 })
  for (let i = 0; i < 1000; i++) assert.ok(capacity.tryTake())
})

test('room is made before anybody waits', async () => {
  const capacity: Capacity = new Capacity({
    ...DEFAULTS,
    makeRoom: async () => {
      capacity.free()
      return true
    },
  })
  for (let i = 0; i < 5; i++) await capacity.take()
  assert.equal(capacity.taken, 2)
})

test('node_busy with Retry-After past the patience; the place is not lost', async () => {
  const capacity = new Capacity({ ...DEFAULTS, maxAwake: 1, patience: 1 })
  await capacity.take()
  await assert.rejects(capacity.take(), { code: 'node_busy', headers: { 'retry-after': '2' } })
  assert.deepEqual([capacity.taken, capacity.waiting], [1, 0])
  capacity.free()
  assert.ok(capacity.tryTake())
})

test('memory that comes back is seen although nobody says so; one service may run whatever is left', async () => {
  let short = true
  const capacity = new Capacity({ ...DEFAULTS, maxAwake: 0, short: () => short })
  assert.ok(capacity.tryTake())
  assert.ok(!capacity.tryTake())
  let placed = false
  const waiting = capacity.take().then(() => {
    placed = true
  })
  assert.ok(!placed)
  short = false
  assert.ok(!capacity.tryTake(), 'nobody overtakes who waits')
  await waiting
  assert.equal(capacity.taken, 2)
})

test('room that frees itself later is found: the look is repeated while somebody waits', async () => {
  let idle = false
  const capacity: Capacity = new Capacity({
    ...DEFAULTS,
    maxAwake: 1,
    makeRoom: async () => {
      if (idle) capacity.free()
      return idle
    },
  })
  await capacity.take()
  const waiting = capacity.take()
  await until(() => capacity.waiting === 1)
  idle = true
  await waiting
  assert.equal(capacity.taken, 1)
})

test('closed, nobody waits any longer and nobody gets in', async () => {
  const capacity = new Capacity({ ...DEFAULTS, maxAwake: 1 })
  await capacity.take()
  const waiting = assert.rejects(capacity.take(), { code: 'node_closing' })
  capacity.close()
  await waiting
  await assert.rejects(capacity.take(), { code: 'node_closing' })
  assert.ok(!capacity.tryTake())
})
