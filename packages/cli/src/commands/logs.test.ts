import assert from 'node:assert/strict'
import { test } from 'node:test'
import { shown, sinceOf } from './logs.ts'

test('--since takes a span or a moment', () => {
  const now = Date.UTC(2026, 0, 2)
  assert.equal(sinceOf('1h', now), '2026-01-01T23:00:00.000Z')
  assert.equal(sinceOf('2d', now), '2025-12-31T00:00:00.000Z')
  assert.equal(sinceOf('2026-01-01T00:00:00Z', now), '2026-01-01T00:00:00.000Z')
  assert.throws(() => sinceOf('yesterday', now), /is no time/)
})

test('a line is for people, and what a terminal would obey is harmless', () => {
  const line = shown('{"level":"warn","time":"2026-01-01T00:00:00.000Z","status":500,"msg":"odd\\u001b[2J"}')
  assert.match(line, /WARN {2}odd\\x1b\[2J {2}status=500$/)
})
