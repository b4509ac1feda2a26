import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Catalogue, Schema } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { openApi } from './document.ts'

const column = {
  name: 'a',
  type: 'text',
  notNull: false,
  default: null,
  generated: false,
  identity: '',
  base: null,
  casts: null,
  enum: null,
}
const table = (name: string, more: object) => ({
  ...{ schema: 'public', name, kind: 'r', primaryKey: [], references: [], referencedBy: [], grants: {}, comment: null },
  ...{ insertable: true, updatable: true, deletable: true },
  columns: new Map(Array.from({ length: 10 }, (_, i) => [`c${i}`, { ...column, name: `c${i}`, comment: null, ...more }])),
})
function documentOf(count: number, more: object) {
  const tables = new Map(Array.from({ length: count }, (_, i) => [`t${i}`, table(`t${i}`, more)]))
  const schema = { name: 'public', comment: null, usage: [], tables, functions: new Map() } as unknown as Schema
  const enums = new Map([['mood', Array.from({ length: 5_000 }, (_, i) => `l${i}`)]])
  const catalogue = { enums, domains: new Map() } as unknown as Catalogue
  return openApi({ catalogue, schema, role: null, url: new URL('http://localhost/'), proxied: false, security: false })
}

describe('the root document', () => {
  it('of a huge schema shows its first tables, and says how many it does not', () => {
    const shown = (document: ReturnType<typeof documentOf>) => Object.keys(document.definitions as object).length
    const said = (document: ReturnType<typeof documentOf>) => /(\d+) more/.exec((document.info as { description: string }).description)?.[1]
    const [small, large, labels] = [documentOf(100, {}), documentOf(3_000, {}), documentOf(3, { enum: 'mood' })]
    assert.deepEqual([shown(small), said(small)], [100, undefined])
    assert.deepEqual([shown(large), said(large)], [909, '2091'])
    assert.deepEqual([shown(labels), said(labels)], [0, '3'])
  })
})
