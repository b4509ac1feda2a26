import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../../../../test/until.ts'
import { collectYoung, trimmer } from './trim.ts'

test('collects once after work, when two periods were idle', () => {
  let collected = 0
  let cpu = 0
  const look = trimmer(1000, () => collected++)
  const periods = (...used: number[]) => {
    for (const each of used) {
      cpu += each
      look(cpu)
    }
    return collected
  }
  assert.equal(periods(900, 5), 0)
  assert.equal(periods(5), 1, 'after the start')
  assert.equal(periods(900, 5, 5, 900, 5, 5), 1, 'too little was done since')
  assert.equal(periods(900, 900, 5, 60, 5), 1, 'not idle for two periods on end')
  assert.equal(periods(5), 2)
})

test('buffers that are done with are given back', async () => {
  for (let i = 0; i < 400; i++) Buffer.alloc(65_536)
  collectYoung()
  // They are swept by another thread.
  await until(() => process.memoryUsage().arrayBuffers < 200 * 65_536)
})
