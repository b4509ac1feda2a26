import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Catalogue, ForeignKey, Schema, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { nearest } from './nearest.ts'
import { relationsOf } from './relations.ts'

const keys: ForeignKey[] = Array.from({ length: 1_000 }, (_, i) => ({
  name: `k${i}`,
  schema: 'public',
  table: 'j',
  columns: ['a'],
  foreignSchema: 'public',
  foreignTable: 't',
  foreignColumns: ['id'],
  unique: false,
  traced: false,
}))
const table = (name: string, references: ForeignKey[], referencedBy: ForeignKey[]) =>
  ({ schema: 'public', name, kind: 'r', columns: new Map(), primaryKey: ['a'], references, referencedBy }) as unknown as Table

describe('relations', () => {
  it('of a table with very many keys are no more than can be held', () => {
    const tables = new Map([
      ['t', table('t', [], keys)],
      ['j', table('j', keys, [])],
    ])
    const schema = { name: 'public', tables, functions: new Map() } as unknown as Schema
    const catalogue = { schemas: new Map([['public', schema]]) } as unknown as Catalogue
    const relations = relationsOf(catalogue, tables.get('t') as Table)
    assert.deepEqual([relations.length, relations.filter(({ kind }) => kind === 'many-to-many').length], [11_000, 10_000])
  })

  it('and names like one that is not there are looked for among the first', () => {
    const others = Array.from({ length: 1_999 }, (_, i) => `other${i}`)
    assert.equal(nearest('customer', [...others, 'customers'], 0.75), 'customers')
    assert.equal(nearest('customer', [...others, 'one more', 'customers'], 0.75), null)
  })
})
