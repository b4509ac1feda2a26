import assert from 'node:assert/strict'
import { test } from 'node:test'
import { goDuration } from './go-duration.ts'

test('durations as the dialect writes them', () => {
  const good: Record<string, number> = {
    '24h': 86_400_000,
    '1h30m': 5_400_000,
    '1.5h': 5_400_000,
    '.5h': 1_800_000,
    '300s': 300_000,
    '+5m': 300_000,
    '-1h': -3_600_000,
    '1h2m3s4ms': 3_723_004,
    '1500us': 1,
    '0': 0,
    '0s': 0,
    '2540400h10m': 9_145_440_600_000,
  }
  for (const [text, ms] of Object.entries(good)) assert.equal(goDuration(text), ms, text)
  const bad: Record<string, string> = {
    '': 'time: invalid duration ""',
    x: 'time: invalid duration "x"',
    '-': 'time: invalid duration "-"',
    '1h x': 'time: unknown unit "h x" in duration "1h x"',
    '5': 'time: missing unit in duration "5"',
    '1h5': 'time: missing unit in duration "1h5"',
    '1d': 'time: unknown unit "d" in duration "1d"',
    '1constructor': 'time: unknown unit "constructor" in duration "1constructor"',
    '.h': 'time: invalid duration ".h"',
    '1.2.3h': 'time: missing unit in duration "1.2.3h"',
    '2562048h': 'time: invalid duration "2562048h"',
  }
  for (const [text, message] of Object.entries(bad)) assert.equal(goDuration(text), message, text)
})
