import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SovraError } from '../../../base/errors.ts'
import { contentLocation, decode } from './canonical.ts'
import { shapeQuery } from './query.ts'

const FIELD = 'field name (* or [a..z0..9_$])'
const NEXT = '"->>", "->", "::", ".", ")", "," or end of input'

/** Query string, column and details of its error: as PostgREST's own parser says them. */
const MISTAKES: readonly (readonly [string, number, string])[] = [
  ['id=0', 1, 'unexpected "0" expecting "not" or operator (eq, gt, ...)'],
  ['id=noop.0', 1, 'unexpected "o" expecting "not" or operator (eq, gt, ...)'],
  ['id=not.foo.1', 5, 'unexpected "f" expecting operator (eq, gt, ...)'],
  ['id=fts().a', 5, 'unexpected ")" expecting operator (eq, gt, ...)'],
  ['id=eq().a', 4, 'unexpected ")" expecting operator (eq, gt, ...)'],
  ['id=is().a', 3, 'unexpected "(" expecting operator (eq, gt, ...)'],
  ['id=is.nil', 5, 'unexpected "i" expecting isVal: (null, not_null, true, false, unknown)'],
  ['order=id.ac', 4, 'unexpected "c" expecting "asc", "desc", "nullsfirst" or "nullslast"'],
  ['order=id.descc', 8, `unexpected 'c' expecting delimiter (.), "," or end of input`],
  ['order=id.nullslasttt', 13, `unexpected 't' expecting "," or end of input`],
  ['order=id.asc.nlsfst', 8, 'unexpected "l" expecting "nullsfirst" or "nullslast"'],
  ['order=clients(name,id)', 8, `unexpected '(' expecting letter, digit, "-", "->>", "->", delimiter (.), "," or end of input`],
  ['or=()', 4, `unexpected ")" expecting ${FIELD}, negation operator (not) or logic operator (and, or)`],
  ['or=)(', 3, 'unexpected ")" expecting "("'],
  ['or=(id.in.1,2,id.eq.3)', 10, 'unexpected "1" expecting "("'],
  ['and=(ord(id.eq.1,id.eq.1),id.eq.2)', 7, 'unexpected "d" expecting "("'],
  ['or=(id.eq.1,not.xor(id.eq.2,id.eq.3))', 16, 'unexpected "x" expecting logic operator (and, or)'],
  ['or=(id.eq.1', 11, 'unexpected end of input expecting "," or ")"'],
  ['select=name!hint', 5, `unexpected '!' expecting letter, digit, "-", ${NEXT}`],
  ['select=*!hint', 2, `unexpected '!' expecting ")", "," or end of input`],
  ['select=id,a(name[])', 10, `unexpected '[' expecting letter, digit, "-", ${NEXT}`],
  ['select=name::', 7, 'unexpected end of input expecting letter or digit'],
  ['select=a->>-78xy', 8, `unexpected 'x' expecting digit, "->", "::", ".", "," or end of input`],
  ['select=a->>--34', 6, 'unexpected "-" expecting digit'],
  ['select=a->(b', 4, 'unexpected "(" expecting "-", digit or any non reserved character different from: .,>()'],
]

describe('what is not well formed', () => {
  for (const [query, column, details] of MISTAKES) {
    it(query, () => {
      assert.throws(
        () => shapeQuery(query, { arguments: false }).parse(),
        (error) => {
          assert.ok(error instanceof SovraError && error.code === 'PGRST100')
          assert.match(error.message, new RegExp(`\\(line 1, column ${column}\\)$`))
          assert.equal(error.details, details)
          return true
        },
      )
    })
  }

  it('is let pass where PostgREST does', () => {
    for (const query of ['and=(id.eq.1,id.neq.2))', "select=id,a(count)'", 'id=in.(   )', 'select=a->!@$%^&*_b->0xy1->23-xy-45'])
      shapeQuery(query, { arguments: false }).parse()
  })
})

describe('query strings', () => {
  it('are decoded escape by escape where one is none', () => {
    assert.deepEqual([decode('a%20b+c'), decode('100%'), decode('%C3%A9%zz'), decode('%ff%20')], ['a b c', '100%', 'é%zz', '%ff%20'])
  })

  it('have one canonical form', () => {
    for (const [query, location] of [
      ['', '/a'],
      ['id=eq.1', '/a?id=eq.1'],
      ['b=eq.1&a=eq.1', '/a?a=eq.1&b=eq.1'],
      ['d&a=1&c=3', '/a?a=1&c=3&d='],
      ['select=*&name=like.%C3%A9*', '/a?name=like.%C3%A9%2A&select=%2A'],
      ['select=id,b&&id=in.(1,2)', '/a?id=in.%281%2C2%29&select=id%2Cb'],
      ['select=id,b&a=', '/a?a=&select=id%2Cb'],
      ['b=2&%61=1&b=1&=x', '/a?=x&a=1&b=2&b=1'],
    ] as const)
      assert.equal(contentLocation('a', query), location)
    assert.equal(contentLocation('é;', ''), '/%C3%A9;')
    const ids = `id=in.(${'1,'.repeat(1000)}1)`
    assert.equal(contentLocation('a', `${ids}&a=eq.%C3%A9`), null, 'too long for the headers that clients and proxies take')
    assert.equal(contentLocation('a', `a=in.(${'"'.repeat(2000)})`), null, 'nor where it is once it is escaped')
  })
})
