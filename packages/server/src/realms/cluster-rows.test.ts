import assert from 'node:assert/strict'
import { test } from 'node:test'
import { millis } from './cluster-rows.ts'

test('times as PostgreSQL writes them, in rows and in JSON', () => {
  const at = (iso: string) => new Date(iso).getTime()
  assert.equal(millis('2026-11-24 03:14:23.12+00'), at('2026-11-24T03:14:23.120Z'))
  assert.equal(millis('2026-11-24T03:14:23.123456+00:00'), at('2026-11-24T03:14:23.123Z'))
  assert.equal(millis('2026-11-24 03:14:23+00'), at('2026-11-24T03:14:23Z'))
  assert.equal(millis('2026-11-24 03:14:23.005'), at('2026-11-24T03:14:23.005Z'), 'without a zone it is UTC')
  assert.equal(millis('2026-11-24 03:14:23.5+02'), at('2026-11-24T01:14:23.500Z'))
  assert.equal(millis('2026-11-24 03:14:23+05:30'), at('2026-11-23T21:44:23Z'))
  assert.equal(millis('0044-03-15 12:00:00+00'), at('0044-03-15T12:00:00Z'))
  assert.equal(millis('1969-12-31 23:59:59.999+00'), -1)
  assert.equal(millis('infinity'), 8.64e15)
  assert.equal(millis('-infinity'), -8.64e15)
})
