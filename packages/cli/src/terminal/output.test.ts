import assert from 'node:assert/strict'
import { test } from 'node:test'
import { count, localTime, pairs, plain, table, width } from './output.ts'

test('what a terminal would obey is shown instead', () => {
  const rows: [string, string][] = [
    ['abc é 日本', 'abc é 日本'],
    ['a\nb\tc\rd', 'a\\nb\\tc\\rd'],
    ['\u001b[31mred\u001b]0;title\u0007', '\\x1b[31mred\\x1b]0;title\\x07'],
    ['\u009b2J', '\\x9b2J'],
    ['safe\u202egnp.exe', 'safe\\u202egnp.exe'],
  ]
  for (const [text, shown] of rows) assert.equal(plain(text), shown)
})

test('columns that a text takes', () => {
  for (const [text, columns] of [
    ['', 0],
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['日本', 4],
    ['👩‍👩‍👧', 2],
  ] as const)
    assert.equal(width(text), columns, text)
})

test('tables are aligned, numbers to the right, without blanks at the end', () => {
  const rows = [
    ['a', 1, null],
    ['日本', 22, 'x\ny'],
  ] as const
  assert.equal(table(['NAME', 'N', 'NOTE'], rows, new Set([1])), ['NAME   N  NOTE', 'a      1', '日本  22  x\\ny'].join('\n'))
  assert.equal(table(['NAME'], []), 'NAME')
})

test('pairs leave out what is not there', () => {
  assert.equal(
    pairs([
      ['A', 1],
      ['Long', ''],
      ['None', null],
      ['B', 'x'],
    ]),
    ['A     1', 'Long  ', 'B     x'].join('\n'),
  )
})

test('times are local, with their zone', () => {
  const before = process.env.TZ
  try {
    for (const [zone, shown] of [
      ['America/Lima', '2026-11-22 19:15:02 GMT-5'],
      ['Asia/Kolkata', '2026-11-23 05:45:02 GMT+5:30'],
      ['UTC', '2026-11-23 00:15:02 UTC'],
    ] as const) {
      process.env.TZ = zone
      assert.equal(localTime('2026-11-23T00:15:02.123Z'), shown)
    }
  } finally {
    if (before === undefined) delete process.env.TZ
    else process.env.TZ = before
  }
  assert.equal(localTime(null), null)
})

test('counted things', () => {
  assert.deepEqual([count(1, 'row'), count(0, 'row'), count(2, 'copy', 'copies')], ['1 row', '0 rows', '2 copies'])
})
