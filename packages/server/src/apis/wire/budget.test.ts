import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Budget } from './budget.ts'

const never = new AbortController().signal
const HOUR = 3_600_000

function clocked(limit: number): { budget: Budget; pass: (ms: number) => void } {
  let time = 1_000_000
  return { budget: new Budget({ limit, window: HOUR, now: () => time }), pass: (ms) => (time += ms) }
}

test('failures use the budget up, and come back after their hour', async () => {
  const { budget, pass } = clocked(2)
  for (let i = 0; i < 2; i++) {
    ;(await budget.enter('1.1.1.1', 'a', never))?.failed(true)
    pass(1000)
  }
  assert.equal(await budget.enter('1.1.1.1', 'b', never), null)
  assert.equal(budget.retryAfter('1.1.1.1'), 3598)
  ;(await budget.enter('1.1.1.2', 'a', never))!.passed()
  pass(HOUR - 2000)
  assert.ok(await budget.enter('1.1.1.1', 'a', never))
})

test('a success takes back what was only given up, not what was guessed', async () => {
  const { budget } = clocked(3)
  const attempt = async () => (await budget.enter('1.1.1.1', 'a', never))!
  ;(await attempt()).failed(false)
  ;(await attempt()).failed(false)
  ;(await attempt()).passed()
  ;(await attempt()).failed(true)
  ;(await attempt()).passed()
  ;(await attempt()).failed(true)
  ;(await attempt()).dropped()
  ;(await attempt()).failed(true)
  assert.equal(await budget.enter('1.1.1.1', 'a', never), null)
})

test('attempts at once never fail more often than the limit; good ones only wait', async () => {
  const { budget } = clocked(3)
  let [inside, most, passed] = [0, 0, 0]
  const good = async () => {
    const ticket = await budget.enter('1.1.1.1', 'a', never)
    most = Math.max(most, ++inside)
    await new Promise(setImmediate)
    inside--
    passed++
    ticket!.passed()
  }
  await Promise.all(Array.from({ length: 50 }, good))
  assert.deepEqual([most, passed], [3, 50])
  const bad = async () => {
    const ticket = await budget.enter('1.1.1.1', 'a', never)
    await new Promise(setImmediate)
    ticket?.failed(true)
    return ticket !== null
  }
  const results = await Promise.all(Array.from({ length: 50 }, bad))
  assert.equal(results.filter(Boolean).length, 3)
})

test('who leaves the row takes no place; IPv6 counts by /64; 0 is no limit', async () => {
  const { budget } = clocked(1)
  const inside = await budget.enter('2001:470::1', 'a', never)
  const controller = new AbortController()
  const waiting = budget.enter('2001:470::2', 'a', controller.signal)
  controller.abort()
  assert.equal(await waiting, null)
  const next = budget.enter('2001:470::3', 'a', never)
  inside!.dropped()
  ;(await next)!.failed(true)
  assert.equal(await budget.enter('2001:470::4', 'a', never), null)
  assert.ok(await budget.enter('2001:470:0:1::1', 'a', never))
  const open = clocked(0).budget
  for (let i = 0; i < 20; i++) (await open.enter('1.1.1.1', 'a', never))!.failed(true)
  assert.ok(await open.enter('1.1.1.1', 'a', never))
})
