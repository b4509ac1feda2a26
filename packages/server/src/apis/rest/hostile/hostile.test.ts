import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { type Hostile, startHostile } from './hostile.testing.ts'
import { type HostileRequest, requests } from './requests.testing.ts'

let hostile: Hostile
before(async () => {
  hostile = await startHostile()
})
after(() => hostile?.rest.stop())

const many = (count: number, text: string, between = ',') => Array(count).fill(text).join(between)
const nested = (levels: number, open: string, inner: string, close: string) => open.repeat(levels) + inner + close.repeat(levels)
const JSON_BODY = { 'content-type': 'application/json' }

/** What, the request, the status, and words of the answer that say what the limit is. */
const BOMBS: readonly [what: string, request: Partial<HostileRequest>, status: number, says?: RegExp][] = [
  ['10,000 terms', { url: `/wide?or=(${many(10_000, 'id.eq.1')})&select=id` }, 200],
  ['one more', { url: `/wide?or=(${many(10_001, 'id.eq.1')})` }, 400, /at most 10000 conditions/],
  ['10,001 filters', { url: `/wide?${many(10_001, 'id=eq.1', '&')}` }, 400, /at most 10000 conditions/],
  ['100,000 values', { url: `/wide?id=in.(${many(100_000, '1')})&select=id` }, 200],
  ['a tree of 10,000 levels', { url: `/wide?and=${nested(10_000, '(and', '(id.eq.1)', ')')}` }, 400, /at most 32 levels/],
  ['embeds of 10,000 levels', { url: `/wide?select=${nested(10_000, 'wide(', 'id', ')')}` }, 400, /at most 32 levels/],
  ['10,000 columns', { url: `/wide?select=${many(10_000, 'id')}` }, 400],
  ['10,000 embeds', { url: `/projects?select=${Array.from({ length: 10_000 }, (_, at) => `t${at}:tasks(id)`)}` }, 400],
  ['10,000 terms of an order', { url: `/wide?order=${many(10_000, 'id')}&select=id` }, 200],
  ['a path of 10,000 keys', { url: `/wide?select=data${many(10_000, '->a', '')}` }, 400],
  ['a value of 1 MB', { url: `/wide?name=eq.${'x'.repeat(1_000_000)}` }, 200],
  ['a name of 1 MB', { url: `/wide?${'y'.repeat(1_000_000)}=eq.1` }, 400],
  ['a select of 1 MB', { url: `/wide?select=${'y'.repeat(1_000_000)}` }, 400],
  ['an operator of 1 MB', { url: `/wide?id=${'x'.repeat(1_000_000)}.1` }, 400],
  ['a regular expression that explodes', { url: `/wide?name=match.${'(a*)*'.repeat(200)}b` }, 200],
  ['10,000 different arguments', { url: `/rpc/odd_args?${Array.from({ length: 10_000 }, (_, at) => `a${at}=1`).join('&')}` }, 404],
  ['10,000 preferences', { url: '/wide?limit=1', headers: { prefer: many(10_000, 'count=exact') } }, 206],
  [
    'a media type that objects have',
    { method: 'POST', url: '/rpc/odd_args', headers: { ...JSON_BODY, accept: '__proto__' }, body: '{}' },
    406,
  ],
  ['10,000 media types', { url: '/wide', headers: { accept: many(10_000, 'a/b') } }, 406],
  ['JSON of a million levels', { method: 'POST', url: '/wide', headers: JSON_BODY, body: '['.repeat(1_000_000) }, 400],
  [
    'a value of 100,000 levels',
    { method: 'POST', url: '/wide', headers: JSON_BODY, body: `{"data":${nested(100_000, '[', '1', ']')}}` },
    400,
  ],
  [
    'a value of 100,000 levels, columns given',
    { method: 'POST', url: '/wide?columns=data', headers: JSON_BODY, body: `{"data":${nested(100_000, '[', '1', ']')}}` },
    400,
  ],
  [
    'a row of 10,000 keys',
    {
      method: 'POST',
      url: '/wide',
      headers: JSON_BODY,
      body: JSON.stringify(Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`a${at}`, 1]))),
    },
    400,
  ],
  [
    '10,000 rows of a CSV with no columns',
    { method: 'POST', url: '/wide', headers: { 'content-type': 'text/csv' }, body: '\n'.repeat(10_000) },
    400,
  ],
  [
    'one row merged twice',
    {
      method: 'POST',
      url: '/clients',
      headers: { ...JSON_BODY, prefer: 'resolution=merge-duplicates' },
      body: '[{"id":1,"name":"a"},{"id":1,"name":"b"}]',
    },
    400,
  ],
  [
    'a key that no index holds',
    {
      method: 'POST',
      url: '/family',
      headers: JSON_BODY,
      body: JSON.stringify({ id: Array.from({ length: 20_000 }, (_, at) => Math.sin(at)).join(), name: '' }),
    },
    400,
  ],
  ['a view that cannot be written', { method: 'DELETE', url: `/${encodeURIComponent('we ird{(')}` }, 405],
]
for (const [what, { method = 'GET', url = '', headers = {}, body = null }, status, says] of BOMBS)
  test(`${what}: ${status}`, async () => {
    const answer = await hostile.rest.app.inject({
      method,
      url,
      headers: { 'x-role': 'service_role', ...headers },
      ...(body === null ? {} : { payload: body }),
    })
    assert.equal(answer.statusCode, status, answer.body.slice(0, 500))
    if (status >= 400) assert.deepEqual(Object.keys(answer.json() as object), ['code', 'details', 'hint', 'message'])
    assert.ok(answer.body.length < 10_000_000)
    if (says) assert.match(answer.body, says)
  })

/** A fixed sample, eight at a time: `npm run bench -- hostile` takes others, a million by default. */
const SAMPLE = { seed: 20_261_126, numRuns: 100 }

test('whatever is asked, it is answered in the dialect, never by a 5xx, and no word of it becomes SQL', async () => {
  const some = fc.array(requests, { minLength: 8, maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(some, async (all) => {
      await Promise.all(all.map((request) => hostile.check(request)))
    }),
    SAMPLE,
  )
  assert.ok((await hostile.verify()) > SAMPLE.numRuns)
})
