import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clusterLines } from './cluster.ts'

test('the log of a cluster becomes lines with time and level; what belongs to a line stays with it', () => {
  const text = [
    'e cut of a line',
    '2026-11-24 12:00:00.123 UTC [42] LOG:  database system is ready to accept connections',
    '2026-11-24 12:00:01.000 UTC [43] ERROR:  division by zero',
    '2026-11-24 12:00:01.000 UTC [43] STATEMENT:  select 1/0',
    '\tfrom nowhere',
    '2026-11-24 12:00:02.000 UTC [43] WARNING:  terminating',
  ].join('\n')
  assert.deepEqual(
    clusterLines(text, 'p', 'postgres').map(({ time, level, msg }) => [time, level, msg]),
    [
      ['2026-11-24T12:00:00.123Z', 'info', 'database system is ready to accept connections'],
      ['2026-11-24T12:00:01.000Z', 'error', 'division by zero\nstatement: select 1/0\nfrom nowhere'],
      ['2026-11-24T12:00:02.000Z', 'warn', 'terminating'],
    ],
  )
})
