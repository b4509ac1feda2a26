import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ForeignKey } from './types.ts'
import { keyOf, type RawView, tracedKeys, traceViews } from './views.ts'

const view = (name: string, of: string, columns: readonly string[], from = columns): RawView => [
  'public',
  name,
  columns.map((column, i) => [column, 'public', of, from[i] ?? column]),
]
const key: ForeignKey = {
  name: 'up',
  schema: 'public',
  table: 't',
  columns: ['parent'],
  foreignSchema: 'public',
  foreignTable: 't',
  foreignColumns: ['id'],
  unique: false,
  traced: false,
}

describe('views', () => {
  it('are followed to their tables, in whatever order they come', () => {
    const views = traceViews([view('a', 'b', ['x', 'z'], ['y', 'y']), view('b', 'c', ['y'], ['id']), view('c', 't', ['id', 'a'])])
    assert.deepEqual(
      views.map(({ tables }) => [...(tables.get(keyOf('public', 't')) ?? [])]),
      [
        [['id', ['x', 'z']]],
        [['id', ['y']]],
        [
          ['id', ['id']],
          ['a', ['a']],
        ],
      ],
    )
    const rounds = traceViews([view('a', 'b', ['x']), view('b', 'a', ['x']), view('c', 'a', ['x', 'gone'])])
    assert.deepEqual(
      rounds.map(({ tables }) => tables.size),
      [0, 0, 0],
    )
  })

  it('have the keys of their tables at both ends', () => {
    const made = tracedKeys([key], traceViews([view('v', 't', ['id', 'parent'])]))
    assert.deepEqual(
      made.map(({ table, foreignTable, traced }) => [table, foreignTable, traced]),
      [
        ['t', 'v', true],
        ['v', 't', true],
        ['v', 'v', true],
      ],
    )
  })

  it('are followed in one go through long chains, and make no more keys than can be held', () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => view(`c${i}`, i === 19_999 ? 't' : `c${i + 1}`, ['id']))
    assert.ok(traceViews(chain).every(({ tables }) => tables.has(keyOf('public', 't'))))
    const many = traceViews(Array.from({ length: 5_000 }, (_, i) => view(`v${i}`, 't', ['id', 'parent'])))
    assert.equal(tracedKeys(Array(1_000).fill(key), many).length, 50_000)
  })
})
