import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAllowed, redirectOf, withParams } from './redirects.ts'

const SITE = 'https://app.example.org/start'
const allows = (redirect_urls: string[], target: string, site = SITE): boolean => isAllowed({ redirect_urls }, site, target)

test('patterns of the list', () => {
  const rows: [pattern: string, yes: string[], no: string[]][] = [
    [
      'https://a.example.com/in',
      ['https://a.example.com/in', 'https://a.example.com/in#x'],
      ['https://a.example.com/in/', 'https://a.example.com/'],
    ],
    ['https://a.example.com', ['https://a.example.com'], ['https://a.example.com/', 'https://a.example.com.evil.org']],
    [
      'https://*.example.com/in',
      ['https://x.example.com/in', 'https://x-1.example.com/in'],
      ['https://x.y.example.com/in', 'https://example.com/in', 'https://evil.org/.example.com/in'],
    ],
    ['https://a.example.com/*', ['https://a.example.com/x'], ['https://a.example.com/x/y', 'https://a.example.com/x.html']],
    [
      'https://a.example.com/**',
      ['https://a.example.com/', 'https://a.example.com/x/y.html?z=1'],
      ['https://a.example.com.evil.org/', 'https://b.example.com/'],
    ],
    ['https://**.example.com/', ['https://x.y.example.com/'], ['https://x.example.org/']],
    [
      'https://a?.example.com/',
      ['https://a1.example.com/'],
      ['https://a.example.com/', 'https://a..example.com/', 'https://a12.example.com/'],
    ],
    ['https://pr-[0-9].example.com/', ['https://pr-7.example.com/'], ['https://pr-x.example.com/', 'https://pr-77.example.com/']],
    ['https://pr-[!0-9].example.com/', ['https://pr-x.example.com/'], ['https://pr-7.example.com/']],
    [
      'https://{a,b*}.example.com/',
      ['https://a.example.com/', 'https://bcd.example.com/'],
      ['https://c.example.com/', 'https://ab.example.com/'],
    ],
    ['https://a.example.com/\\*', ['https://a.example.com/*'], ['https://a.example.com/x']],
    [
      'http://localhost:3000/**',
      ['http://localhost:3000/x'],
      ['http://localhost:3001/x', 'https://localhost:3000/x', 'http://localhost.evil.org:3000/x'],
    ],
    ['http://localhost:*/in', ['http://localhost:3000/in', 'http://localhost:54321/in'], ['http://localhost/in']],
    ['http://[::1]:3000/**', ['http://[::1]:3000/x'], ['http://1:3000/x', 'http://[::2]:3000/x']],
    ['com.example.app://callback', ['com.example.app://callback'], ['com.example.app://other', 'com.example.apps://callback']],
    ['com.my_app://**', ['com.my_app://in/x'], ['com.my_apps://in/x', 'javascript://%0aalert(1)']],
    ['https://[z-a].example.com/', [], ['https://b.example.com/']],
    ['https://{a.example.com/', [], ['https://a.example.com/']],
  ]
  for (const [pattern, yes, no] of rows) {
    for (const target of yes) assert.ok(allows([pattern], target), `${pattern} allows ${target}`)
    for (const target of no) assert.ok(!allows([pattern], target), `${pattern} does not allow ${target}`)
  }
})

test('a pattern that a regular expression would go back in for ever is read once, character by character', () => {
  const target = `https://${'a'.repeat(4000)}b`
  const heavy = `https://${'**a'.repeat(12)}**`
  assert.ok(allows([heavy], target))
  assert.ok(!allows([`${heavy}c`], target))
  assert.ok(!allows([`https://${'**{a,aa,}'.repeat(12)}c`], target))
  const site = Array.from({ length: 200 }, () => `https://${'**a'.repeat(600)}c`)
  assert.ok(!allows([...site, 'https://**'], target), 'over the effort: refused, whatever stands behind')
  const usual = Array.from({ length: 199 }, (_, n) => `https://*.p${n}.example.com/{in,out}/**`)
  assert.ok(allows([...usual, 'https://app.example.net/**'], `https://app.example.net/${'x/'.repeat(1000)}`))
})

test('the own site is always allowed, and what only looks like it is not', () => {
  for (const target of ['https://app.example.org', 'https://app.example.org/any/where?x=1#y', 'HTTPS://APP.example.org/'])
    assert.ok(allows([], target), target)
  const evil = [
    'https://app.example.org.evil.com/',
    'https://app.example.org@evil.com/',
    'https://evil.com/app.example.org',
    'https://evil.com#https://app.example.org/',
    'https://evil.com\\@app.example.org/',
    'http://app.example.org/',
    'https://app.example.org:444/',
    '//evil.com',
    '/\\evil.com',
    '\thttps://evil.com',
    'https://evil.com/\r\nset-cookie: x',
    'javascript:alert(1)',
    'data:text/html,x',
    'https://app.example.org:x@evil.com/',
  ]
  for (const target of evil) {
    assert.ok(!allows([], target), target)
    assert.equal(redirectOf({ redirect_urls: [], site_url: SITE }, 'https://p.example.net', target), SITE, target)
  }
  assert.ok(!allows(['**'], 'javascript:alert(1)') && !allows(['**'], 'https://x@evil.com/'), 'whatever the list says')
  assert.ok(allows([], 'http://localhost:8000/x', 'http://localhost:3000'), 'the port of a machine for development changes')
  assert.ok(!allows([], 'http://127.0.0.1:8000/x', 'http://localhost:3000'))
})

test('parameters are added to what is there', () => {
  assert.equal(withParams('https://a.example.com/in?x=1#y', 'query', { code: 'a b' }), 'https://a.example.com/in?x=1&code=a+b#y')
  assert.equal(withParams('https://a.example.com/in?x=1#y', 'fragment', { code: 'c' }), 'https://a.example.com/in?x=1#code=c')
  assert.equal(withParams('com.my_app://in', 'query', { code: 'c' }), 'com.my_app://in?code=c')
  assert.equal(withParams('com.my_app://in?x=1', 'query', { code: 'c' }), 'com.my_app://in?x=1&code=c')
  assert.equal(withParams('com.my_app://in#y', 'fragment', { code: 'c' }), 'com.my_app://in#code=c')
})
