import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isOnce, KEPT_SQL } from './job.ts'
import { DEFAULT_LIMITS } from './options.ts'
import { Shapes } from './shapes.ts'

const QUICK = 1
const SLOW = DEFAULT_LIMITS.slowAfter + 1
const LARGE = DEFAULT_LIMITS.largeAfter + 1

function shapesAt(): { shapes: Shapes; clock: { now: number } } {
  const clock = { now: 1_000 }
  return { shapes: new Shapes(DEFAULT_LIMITS, () => clock.now), clock }
}

test('a promise is believed, an unknown read must show itself', () => {
  const { shapes } = shapesAt()
  assert.equal(shapes.mayShare('a', true), true)
  assert.equal(shapes.mayShare('a', false), false)
  for (let i = 0; i < DEFAULT_LIMITS.trustAfter; i++) shapes.seen('a', QUICK, 10)
  assert.equal(shapes.mayShare('a', false), true)
})

test('slow twice, or large twice, it keeps apart for a while', () => {
  const { shapes, clock } = shapesAt()
  shapes.seen('a', SLOW, 10)
  assert.equal(shapes.mayShare('a', true), true)
  shapes.seen('a', QUICK, LARGE)
  assert.equal(shapes.mayShare('a', true), false)
  clock.now += DEFAULT_LIMITS.slowFor + 1
  assert.equal(shapes.mayShare('a', true), true)
  shapes.slow('a')
  assert.equal(shapes.mayShare('a', true), false)
})

test('a busy moment of the machine does not send a hot quick read away', () => {
  const { shapes } = shapesAt()
  for (let i = 0; i < 10_000; i++) shapes.seen('a', i % 50 === 49 ? SLOW : QUICK, 10)
  assert.equal(shapes.mayShare('a', true), true)
  for (let i = 0; i < 100; i++) shapes.seen('a', SLOW, 10)
  assert.equal(shapes.mayShare('a', true), false)
})

test('many quick runs end its time apart', () => {
  const { shapes } = shapesAt()
  for (let i = 0; i < 3; i++) shapes.seen('a', SLOW, 10)
  assert.equal(shapes.mayShare('a', true), false)
  for (let i = 0; i < 200; i++) shapes.seen('a', i === 50 ? SLOW : QUICK, 10)
  assert.equal(shapes.mayShare('a', false), true)
})

test('a slow first run on a cold connection tells nothing, a large one does', () => {
  const { shapes } = shapesAt()
  for (let i = 0; i < 16; i++) shapes.seen('a', SLOW, 10, true)
  assert.equal(shapes.mayShare('a', true), true)
  assert.equal(shapes.mayShare('a', false), false)
  for (let i = 0; i < 2; i++) shapes.seen('a', SLOW, LARGE, true)
  assert.equal(shapes.mayShare('a', true), false)
})

test('what writes never shares, until the schema changes', () => {
  const { shapes } = shapesAt()
  shapes.writes('a')
  assert.equal(shapes.mayShare('a', true), false)
  shapes.clear()
  assert.equal(shapes.mayShare('a', true), true)
})

test('of a very long text nothing is remembered, and it never shares', () => {
  const { shapes } = shapesAt()
  const long = 'x'.repeat(KEPT_SQL + 1)
  for (let i = 0; i < DEFAULT_LIMITS.trustAfter; i++) shapes.seen(long, QUICK, 10)
  assert.deepEqual([shapes.mayShare(long, true), shapes.mayShare(long, false)], [false, false])
  assert.deepEqual([isOnce({ sql: long }), isOnce({ sql: 'x'.repeat(KEPT_SQL) })], [true, false])
})
