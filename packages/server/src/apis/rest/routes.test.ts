import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Case, startRest, type TestRest } from './rest.testing.ts'
import { DIALECT } from './routes.dialect.cases.ts'
import { DOMAINS } from './routes.domains.cases.ts'
import { MEDIA } from './routes.media.cases.ts'
import { READS } from './routes.read.cases.ts'
import { SPREAD, SPREAD_SUMS } from './routes.spread.cases.ts'
import { VIEWS } from './routes.views.cases.ts'
import { CALLS, WRITES } from './routes.write.cases.ts'

let rest: TestRest
before(async () => {
  rest = await startRest()
})
after(() => rest?.stop())

async function check(row: Case, prefer: string): Promise<void> {
  const [method = 'GET', ...words] = row.request.split(' ')
  const url = words.join(' ')
  const headers: Record<string, string> = { ...row.headers }
  if (prefer !== '') headers.prefer = headers.prefer ? `${headers.prefer}, ${prefer}` : prefer
  const body = row.body === undefined ? undefined : typeof row.body === 'string' ? row.body : JSON.stringify(row.body)
  if (body !== undefined) headers['content-type'] ??= 'application/json'
  const response = await rest.app.inject({ method: method as 'GET', url: encodeURI(url).replaceAll('%25', '%'), headers, payload: body })
  assert.equal(response.statusCode, row.status, response.body)
  if ('json' in row) assert.deepEqual(response.json(), row.json)
  if (row.text !== undefined) assert.equal(response.body, row.text)
  if (row.error) {
    const error = response.json() as Record<string, unknown>
    assert.deepEqual(Object.keys(error), ['code', 'details', 'hint', 'message'])
    // A read beyond its last row is a read whose body is an error.
    const read = row.status === 416 && response.headers['content-range'] !== undefined
    assert.equal(response.headers['proxy-status'], read ? undefined : `PostgREST; error=${String(error.code)}`)
    for (const [key, value] of Object.entries(row.error)) assert.deepEqual(error[key], value, key)
  }
  for (const [name, value] of Object.entries(row.answers ?? {})) assert.equal(response.headers[name], value, name)
}

const run = (name: string, rows: readonly Case[], prefer = '') =>
  describe(name, () => {
    for (const row of rows) {
      const shown = [
        row.request,
        row.headers ? JSON.stringify(row.headers) : '',
        row.body === undefined ? '' : JSON.stringify(row.body),
      ].join(' ')
      it(shown.slice(0, 160), () => check(row, prefer))
    }
  })

run('reading', READS)
run('views', VIEWS)
run('media types', MEDIA)
run('domains', DOMAINS)
run('writing', WRITES, 'tx=rollback')
run('functions', CALLS)
run('less often', DIALECT)
run('spread in spread', SPREAD)

describe('the catalogue and its plans', () => {
  const get = (url: string, headers: Record<string, string> = {}) => rest.app.inject({ method: 'GET', url, headers })

  it('answers a request sent after DDL with the new table, column and relation', async () => {
    assert.equal((await get('/later')).statusCode, 404)
    await rest.admin.query('create table later (id int primary key, client int references clients); insert into later values (1, 1)')
    assert.deepEqual((await get('/later')).json(), [{ id: 1, client: 1 }])
    await rest.admin.query('alter table later add column extra text; insert into later values (2, 2, $$x$$)')
    assert.deepEqual((await get('/later?select=id,extra&order=id')).json(), [
      { id: 1, extra: null },
      { id: 2, extra: 'x' },
    ])
    assert.equal((await get('/later?select=id,projects(id)')).json().code, 'PGRST200')
    await rest.admin.query('alter table later add column project int references projects')
    assert.equal((await get('/later?select=id,projects(id)')).statusCode, 200)
    await rest.admin.query('drop table later')
    assert.equal((await get('/later')).json().code, 'PGRST205')
  })

  it('keeps one plan for requests that differ in values, and never mixes them', async () => {
    const names = await Promise.all([1, 2, 3, 4, 5].map((id) => get(`/projects?id=eq.${id}&select=name`)))
    assert.deepEqual(
      names.map((answer) => answer.json()[0].name),
      ['Windows 7', 'Windows 10', 'IOS', 'OSX', 'Orphan'],
    )
  })

  it('takes settings of the project, and those in the database before them', async () => {
    rest.settings = { tx_end: 'commit-allow-override', max_rows: 2, schemas: ['public', 'other', 'od d'] }
    await check(
      {
        request: 'GET /T t?select=id,twins(id)',
        headers: { 'accept-profile': 'od d' },
        status: 200,
        json: [{ id: 1, twins: [{ id: 1 }, { id: 1 }] }],
      },
      '',
    )
    const options = await rest.app.inject({ method: 'OPTIONS', url: '/things', headers: { 'accept-profile': 'other' } })
    assert.deepEqual([options.statusCode, String(options.headers.allow).startsWith('OPTIONS,GET,HEAD')], [200, true])
    assert.equal((await get('/projects')).json().length, 2)
    assert.equal((await get('/projects?limit=4', { prefer: 'count=exact' })).headers['content-range'], '0-1/5')
    assert.deepEqual((await get('/things', { 'accept-profile': 'other' })).json(), [{ id: 1, name: 'thing' }])
    assert.equal((await get('/projects')).headers['content-profile'], 'public')
    await rest.admin.query(`alter role authenticator set pgrst.db_max_rows = '3'; notify pgrst, 'reload config'`)
    assert.equal((await rest.holder.fresh(rest.holder.current)) || (await get('/projects')).json().length === 3, true)
    assert.equal((await get('/projects')).json().length, 3)
    await rest.admin.query(`alter role authenticator reset pgrst.db_max_rows`)
    await rest.holder.fresh(rest.holder.current)
    rest.settings = { tx_end: 'commit-allow-override' }
  })

  it('groups by what is selected beside aggregates, where they are on', async () => {
    rest.settings = { aggregates: true }
    for (const [url, rows] of [
      [
        '/amounts?select=kind,amount.sum(),count()&order=kind',
        [
          { kind: 'a', sum: 30.5, count: 2 },
          { kind: 'b', sum: 0.1, count: 1 },
        ],
      ],
      ['/amounts?select=total:amount.sum()::int', [{ total: 31 }]],
      [
        '/clients?select=id,projects(count())&order=id',
        [
          { id: 1, projects: [{ count: 2 }] },
          { id: 2, projects: [{ count: 2 }] },
        ],
      ],
      [
        '/tasks?select=project_id,...projects(name.count(),id.max())&project_id=lt.3&order=project_id',
        [
          { project_id: 1, count: 2, max: 1 },
          { project_id: 2, count: 2, max: 2 },
        ],
      ],
      ['/tasks?select=...projects(...clients(client:name,id.sum(),n:count()))&id=in.(1,2)', [{ client: 'Microsoft', sum: 2, n: 2 }]],
      ['/projects?select=...clients(total:id.sum()::text)', [{ total: '6' }]],
      ['/projects?select=clients(name),id.max()&order=clients(name)&limit=1', [{ clients: { name: 'Apple' }, max: 4 }]],
    ] as const) {
      const answer = await get(url)
      if (!url.includes('order=clients')) assert.deepEqual(answer.json(), rows, url)
      else assert.ok(answer.statusCode < 500, answer.body)
    }
    for (const row of SPREAD_SUMS) await check(row, '')
    const many = await get('/clients?select=...projects(id.sum())')
    assert.deepEqual([many.statusCode, many.json().code], [400, 'PGRST127'])
    rest.settings = { tx_end: 'commit-allow-override' }
  })

  it('answers plans where they are switched on', async () => {
    rest.settings = { plan_enabled: true, tx_end: 'commit-allow-override' }
    const plan = async (url: string, accept: string) => {
      const answer = await get(url, { accept })
      assert.equal(answer.statusCode, 200, answer.body)
      return answer
    }
    const json = await plan('/clients?id=eq.1', 'application/vnd.pgrst.plan+json; options=verbose|analyze')
    assert.ok(json.json()[0].Plan['Actual Rows'] >= 0)
    assert.equal(
      json.headers['content-type'],
      'application/vnd.pgrst.plan+json; for="application/json"; options=analyze|verbose; charset=utf-8',
    )
    const text = await plan('/rpc/get_projects', 'application/vnd.pgrst.plan; for="text/csv"')
    assert.match(text.body, /^Aggregate.*\n {2}/)
    assert.equal(text.headers['content-type'], 'application/vnd.pgrst.plan+text; for="text/csv"; charset=utf-8')
    const written = await rest.app.inject({
      method: 'POST',
      url: '/clients',
      payload: { id: 77, name: 'x' },
      headers: { accept: 'application/vnd.pgrst.plan+json' },
    })
    assert.deepEqual([written.statusCode, (await get('/clients?id=eq.77')).json()], [200, []])
    rest.settings = { tx_end: 'commit-allow-override' }
  })

  it('leaves nothing written by an answer that is an error', async () => {
    const count = async () => (await rest.admin.query('select count(*)::int as n from people')).rows[0].n as number
    const had = await count()
    const object = { accept: 'application/vnd.pgrst.object+json', prefer: 'return=representation', 'content-type': 'application/json' }
    for (const [method, url, payload, extra] of [
      ['DELETE', '/people?id=lt.4', undefined, object],
      ['DELETE', '/people?id=eq.99', undefined, object],
      ['POST', '/people', '[{"name":"x"},{"name":"y"}]', object],
      ['DELETE', '/people?id=lt.4', undefined, { prefer: 'handling=strict, max-affected=2' }],
      ['POST', '/rpc/write_and_say', '{"name":"response.status","value":"99"}', { 'content-type': 'application/json' }],
      ['POST', '/rpc/write_and_say', '{"name":"response.headers","value":"{}"}', { 'content-type': 'application/json' }],
      ['POST', '/rpc/write_and_say', '{"name":"response.headers","value":"[{\\"a b\\":\\"c\\"}]"}', { 'content-type': 'application/json' }],
      ['POST', '/rpc/write_and_say', '{"name":"response.headers","value":"no json"}', { 'content-type': 'application/json' }],
      ['POST', '/rpc/write_rows?offset=5', '{}', { 'content-type': 'application/json', prefer: 'count=exact' }],
      ['POST', '/people?select=nope', '{"name":"x"}', { prefer: 'return=representation', 'content-type': 'application/json' }],
      ['POST', '/people?select=id,name::int', '{"name":"x"}', { prefer: 'return=representation', 'content-type': 'application/json' }],
    ] as const) {
      const answer = await rest.app.inject({ method, url, payload, headers: extra })
      assert.ok(answer.statusCode >= 400, answer.body)
      assert.equal(await count(), had, `${method} ${url}`)
    }
  })

  it('runs the settings of role and project and the check of each request before its statement', async () => {
    rest.settings = { tx_end: 'commit-allow-override', pre_request: 'public.check_request', app_settings: { secret: 'shh' } }
    await rest.admin.query(`alter role authenticated set statement_timeout = '300ms'; alter role authenticated set app.kind = 'member'`)
    assert.equal(await rest.holder.fresh(rest.holder.current), true)
    const tell = await get('/rpc/tell_settings', { 'x-role': 'authenticated' })
    assert.deepEqual(tell.json(), { secret: 'shh', kind: 'member' })
    const seen = await get('/clients?id=eq.1', { cookie: 'a=1; b=2' })
    assert.deepEqual([seen.statusCode, seen.headers['x-cookies']], [203, '{"a":"1","b":"2"}'])
    const refused = await get('/clients', { 'x-refuse': 'yes' })
    assert.deepEqual([refused.statusCode, refused.json().message], [418, 'No'])
    const undone = await rest.app.inject({
      method: 'POST',
      url: '/clients',
      payload: { id: 66, name: 'x' },
      headers: { prefer: 'tx=rollback' },
    })
    assert.equal(undone.statusCode, 203)
    rest.settings = { tx_end: 'commit-allow-override' }
    const slow = await rest.app.inject({ method: 'POST', url: '/rpc/slow', headers: { 'x-role': 'authenticated' } })
    assert.deepEqual([slow.statusCode, slow.json().code], [500, '57014'])
    // What a function sets is set before it runs; only then it counts.
    assert.deepEqual((await get('/rpc/slow_own', { 'x-role': 'authenticated' })).json(), 'done')
    assert.deepEqual([(await get('/rpc/isolation')).json()], ['read committed'])
    const serializable = { method: 'POST', url: '/rpc/isolation_own' } as const
    assert.equal((await rest.app.inject(serializable)).json(), 'serializable')
    assert.equal((await rest.app.inject({ ...serializable, headers: { prefer: 'tx=rollback' } })).json(), 'serializable')
    await rest.admin.query(`alter role authenticated set default_transaction_isolation = 'repeatable read'`)
    assert.equal(await rest.holder.fresh(rest.holder.current), true)
    assert.equal((await get('/rpc/isolation', { 'x-role': 'authenticated', prefer: 'count=planned' })).json(), 'repeatable read')
    await rest.admin.query('alter role authenticated reset all')
    await rest.holder.fresh(rest.holder.current)
  })

  it('does reads and DELETE alone where the disk quota is used up', async () => {
    rest.full = true
    const send = (method: 'POST' | 'DELETE' | 'GET', url: string) =>
      rest.app.inject({ method, url, payload: method === 'POST' ? { id: 9 } : undefined })
    const refused = await send('POST', '/clients')
    assert.deepEqual([refused.statusCode, refused.json().code], [507, '53100'])
    assert.deepEqual([(await send('GET', '/clients')).statusCode, (await send('DELETE', '/pairs?a=eq.99')).statusCode], [200, 204])
    rest.full = false
  })

  it('gives each cookie that a function sets, and its own reason phrase', async () => {
    const cookies = await get('/rpc/cookies')
    assert.deepEqual([cookies.statusCode, cookies.headers['set-cookie']], [204, ['a=1; HttpOnly', 'b=2']])
    assert.deepEqual(await get('/rpc/raise_own').then((answer) => [answer.statusCode, answer.statusMessage]), [419, 'Page Expired'])
  })

  it('writes what it says', async () => {
    const made = await rest.app.inject({
      method: 'POST',
      url: '/pairs',
      payload: { a: 1, b: 2 },
      headers: { prefer: 'return=representation' },
    })
    assert.deepEqual(
      made.json(),
      [{ a: 1, b: 2, note: null }].map((row) => ({ ...row, note: 'none' })),
    )
    assert.equal((await rest.app.inject({ method: 'DELETE', url: '/pairs?a=eq.1' })).statusCode, 204)
    assert.deepEqual((await get('/pairs')).json(), [])
  })
})
