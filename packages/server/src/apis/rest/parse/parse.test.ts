import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isSovraError } from '../../../base/errors.ts'
import { eachOf, FORM_TYPE, parseBody } from './body.ts'
import { parsePrefer, parseRange } from './headers.ts'
import { negotiate } from './media.ts'
import { shapeQuery } from './query.ts'

const shape = (query: string, range?: { first: number; last: number | null }) => shapeQuery(query, { arguments: false, range })

/** Two requests of one shape differ in values alone; [query, other query of the same shape, values of the first]. */
const SAME: readonly (readonly [string, string, readonly string[]])[] = [
  ['id=eq.1', 'id=eq.2', ['1']],
  ['id=eq.1&limit=5&offset=2', 'id=eq.&limit=5&offset=9', ['1', '2']],
  ['limit=1001', 'limit=5000', ['1001']],
  ['id=in.(1,"a,b")', 'id=in.()', ['{"1","a,b"}']],
  ['name=like.a*', 'name=like.%25', ['a%']],
  ['or=(a.eq.1,b.in.(1,2))', 'or=(a.eq."x,y)",b.in.(3))', ['1', '{"1","2"}']],
  ['and=(a.cs.{1,2},not.or(b.is.null,c.not.eq.x))', 'and=(a.cs.{},not.or(b.is.null,c.not.eq.))', ['{1,2}', 'x']],
  ['a.limit=3000', 'a.limit=4000', ['3000']],
]

/** Requests that must never share a plan. */
const DIFFERENT: readonly (readonly [string, string])[] = [
  ['id=eq.1', 'id=neq.1'],
  ['id=eq.1', 'id=not.eq.1'],
  ['id=eq(any).1', 'id=eq(all).1'],
  ['id=is.null', 'id=is.true'],
  ['a=fts(english).x', 'a=fts.x'],
  ['select=a', 'select=b'],
  ['select=a&order=b', 'select=a%00order%00b'],
  ['or=(a.eq.1,b.eq.2)', 'and=(a.eq.1,b.eq.2)'],
  ['or=(a.eq.1,b.eq.2)', 'or=(a.eq.1,b.eq.2,c.eq.3)'],
  ['or=(a.eq.1,or(b.eq.2,c.eq.3))', 'or=(or(a.eq.1,b.eq.2),c.eq.3)'],
  ['or=("a.eq.1,b".eq.2)', 'or=(a.eq.1,b.eq.2)'],
  ['limit=1', 'offset=1'],
  ['limit=1', ''],
  ['limit=1', 'limit=2'],
  ['limit=1000', 'limit=1001'],
  ['a.limit=1', 'a.limit=2'],
  ['a.limit=1', 'limit=1'],
]

const REFUSED: readonly (readonly [string, string])[] = [
  ['id=noop.1', 'PGRST100'],
  ['id=', 'PGRST100'],
  ['id=in.1', 'PGRST100'],
  ['id=in.(1', 'PGRST100'],
  ['id=is.maybe', 'PGRST100'],
  ['id=neq(any).1', 'PGRST100'],
  ['or=()', 'PGRST100'],
  ['or=(a.eq.1,b)', 'PGRST100'],
  ['or=(a.eq.1)x', 'PGRST100'],
  [`or=${'(or'.repeat(40)}(a.eq.1)${')'.repeat(40)}`, 'PGRST100'],
  ['select=(', 'PGRST100'],
  ['select=a(b', 'PGRST100'],
  ['select=a::', 'PGRST100'],
  ['select=a::int)', 'PGRST100'],
  ['select=a::int;drop', 'PGRST100'],
  ['select=a->', 'PGRST100'],
  [`select=${'a('.repeat(40)}b${')'.repeat(40)}`, 'PGRST100'],
  ['order=a.b.c', 'PGRST100'],
  ['order=', 'PGRST100'],
  ['columns=a,', 'PGRST100'],
  ['limit=-1', 'PGRST103'],
  ['a%00=eq.1', 'PGRST100'],
  ['select=a%00', 'PGRST100'],
]

const field = (name: string, more: object = {}) => ({
  kind: 'field',
  field: { name, path: [] },
  alias: null,
  cast: null,
  aggregate: null,
  aggregateCast: null,
  ...more,
})
const embed = (name: string, select: readonly object[], more: object = {}) => ({
  kind: 'embed',
  name,
  alias: null,
  hint: null,
  join: null,
  spread: false,
  select,
  ...more,
})
const SELECTS: readonly (readonly [string, readonly object[]])[] = [
  ['*', [field('*')]],
  ['a , b', [field('a'), field('b')]],
  ['x:a::text', [field('a', { alias: 'x', cast: 'text' })]],
  ['a::double precision', [field('a', { cast: 'double precision' })]],
  [
    'a->b->>0',
    [
      field('a', {
        field: {
          name: 'a',
          path: [
            { text: false, key: 'b' },
            { text: true, key: 0 },
          ],
        },
      }),
    ],
  ],
  ['"a,(b".x', []],
  ['with-dash', [field('with-dash')]],
  ['é', [field('é')]],
  ['amount.sum()::int', [field('amount', { aggregate: 'sum', aggregateCast: 'int' })]],
  ['n:count()', [field('*', { aggregate: 'count', alias: 'n' })]],
  ['count', [field('count')]],
  ['a(*)', [embed('a', [field('*')])]],
  ['x:a!h!inner(b,c())', [embed('a', [field('b'), embed('c', [])], { alias: 'x', hint: 'h', join: 'inner' })]],
  ['...a!left(b)', [embed('a', [field('b')], { spread: true, join: 'left' })]],
]

describe('query strings', () => {
  for (const [one, other, values] of SAME) {
    it(`one shape: ${one}`, () => {
      assert.equal(shape(one).shape, shape(other).shape)
      assert.deepEqual(shape(one).values, values)
      assert.deepEqual(shape(one).parse(), shape(other).parse())
    })
  }
  for (const [one, other] of DIFFERENT) {
    it(`two shapes: ${one} | ${other}`, () => {
      const other_ = (() => {
        try {
          return shape(other).shape
        } catch {
          return null
        }
      })()
      assert.notEqual(shape(one).shape, other_)
    })
  }
  for (const [query, code] of REFUSED) {
    it(`refused: ${query.slice(0, 60)}`, () => {
      assert.throws(
        () => shape(query).parse(),
        (error) => isSovraError(error, code as 'PGRST100'),
      )
    })
  }
  for (const [text, items] of SELECTS) {
    it(`select=${text}`, () => {
      const parse = () => shape(`select=${encodeURIComponent(text)}`).parse().select
      if (items.length === 0) assert.throws(parse, (error) => isSovraError(error, 'PGRST100'))
      else assert.deepEqual(parse(), items)
    })
  }
  it('narrows limit and offset by the Range header', () => {
    const narrowed = (query: string) => {
      const { values, parse } = shape(query, { first: 2, last: 5 })
      return [parse().limit[0]?.value, values]
    }
    assert.deepEqual(narrowed('limit=10'), [{ rows: 4 }, ['2']])
    assert.deepEqual(narrowed('limit=3&offset=4'), [{ rows: 2 }, ['4']])
    assert.deepEqual(shape('', { first: 3, last: null }).values, ['3'])
  })
  it('takes arguments of functions apart from filters', () => {
    const { values, parse } = shapeQuery('a=1&b=eq.2&c.d=eq.3&e=in%20the', { arguments: true })
    assert.deepEqual(values, ['1', '2', '3', 'in the'])
    assert.deepEqual(
      parse().args.map(({ name }) => name),
      ['a', 'e'],
    )
  })
})

describe('headers and bodies', () => {
  it('reads preferences: the first counts', () => {
    const prefer = parsePrefer(
      'return=minimal, return=representation, count=exact,missing=default, tx=rollback, timezone=Europe/Paris, max-affected=3, odd',
      false,
    )
    assert.deepEqual(
      [prefer.return, prefer.count, prefer.missing, prefer.tx, prefer.timezone, prefer.maxAffected, prefer.unknown],
      ['minimal', 'exact', 'default', null, 'Europe/Paris', 3, ['odd']],
    )
    assert.equal(parsePrefer('timezone=Not/AZone', false).timezone, null)
  })
  it('negotiates by weight', () => {
    assert.deepEqual(negotiate('text/csv;q=0.5, application/json'), { kind: 'json' })
    assert.deepEqual(negotiate('text/html, text/csv'), { kind: 'csv' })
    assert.throws(
      () => negotiate('text/html, application/json;q=0'),
      (error) => isSovraError(error, 'PGRST107'),
    )
  })
  it('reads ranges', () => {
    assert.deepEqual(
      [parseRange('0-9'), parseRange('5-'), parseRange('bytes=0-1'), parseRange(undefined)],
      [{ first: 0, last: 9 }, { first: 5, last: null }, null, null],
    )
  })
  it('reads bodies', () => {
    const options = { columns: false, rpc: false }
    assert.deepEqual(parseBody('[{"b":1,"a":2},{"a":1,"b":3}]', undefined, options).keys, ['a', 'b'])
    assert.deepEqual(JSON.parse(parseBody('a,b\r\n1,NULL\r\n"x""y","p\nq"\r\n', 'text/csv', options).text), [
      { a: '1', b: null },
      { a: 'x"y', b: 'p\nq' },
    ])
    assert.throws(
      () => parseBody('a,b\n1', 'text/csv', options),
      (error) => isSovraError(error, 'PGRST102'),
    )
  })
  it('reads forms of many fields, and CSV no larger than it is worth', () => {
    const options = { columns: false, rpc: true }
    const form = (fields: number) => Array.from({ length: fields }, (_, i) => `a${i}=${i}`).join('&')
    const { text } = parseBody(`${form(2_000)}${'&a1'.repeat(100_000)}&a1=again`, FORM_TYPE, options)
    assert.throws(
      () => parseBody(form(300_000), FORM_TYPE, options),
      (error) => isSovraError(error, 'PGRST102'),
    )
    const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`k${i}`, i]))
    assert.equal(parseBody(JSON.stringify(many), undefined, options).keys.length, 2_000)
    const fields = JSON.parse(text) as Record<string, unknown>
    assert.deepEqual([fields.a1, (fields[eachOf('a1')] as string[]).length, fields[eachOf('a2')]], ['again', 100_002, ['2']])
    assert.throws(
      () => parseBody(`${'x'.repeat(10_000)}\n${'1\n'.repeat(30_000)}`, 'text/csv', { columns: false, rpc: false }),
      (error) => isSovraError(error, 'PGRST102'),
    )
  })
  it('looks up a few time zones at most', () => {
    const { timezone, unknown } = parsePrefer(Array(1_000).fill('timezone=UTC').join(','), false)
    assert.deepEqual([timezone, unknown.length], ['UTC', 996])
  })
})
