import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { BATCH_TYPE } from './batch/request.ts'
import { startRest, type TestRest } from './rest.testing.ts'

let rest: TestRest
before(async () => {
  rest = await startRest()
  await rest.admin.query(`
    create function said(name text) returns text language sql stable as 'select current_setting(name, true)';
    create function nap(seconds float8) returns text language sql as $$ select pg_sleep(seconds)::text || 'done' $$;
    create function long_nap(seconds float8) returns text language sql set statement_timeout = '20s' as $$ select pg_sleep(seconds)::text || 'done' $$;
    create function lifted() returns json language sql stable set work_mem = '3MB' set lock_timeout = '7s' set search_path = '' set app.own = 'x' as 'select null::json';
    create function locked() returns setof clients language sql stable set lock_timeout = '7s' as 'select * from clients';
    create function level() returns text language sql stable as $$ select current_setting('transaction_isolation') $$;
    create function strict_level() returns text language sql stable set default_transaction_isolation = 'serializable' as $$ select current_setting('transaction_isolation') $$;
    create view lock_time as select current_setting('lock_timeout') as lock_timeout, current_setting('work_mem') as work_mem, current_setting('statement_timeout') as statement_timeout;
    create function locked_time() returns setof lock_time language sql stable set lock_timeout = '7s' set work_mem = '3MB' set statement_timeout = '9s' rows 1 as 'select * from lock_time';
    create table remarks (id int primary key, note text);
    grant all on all tables in schema public to anon, authenticated;
  `)
  await rest.holder.fresh(rest.holder.current)
})
after(() => rest?.stop())

const get = (url: string, headers: Record<string, string> = {}) => rest.app.inject({ method: 'GET', url, headers })
const post = (url: string, payload: unknown, headers: Record<string, string> = {}) =>
  rest.app.inject({ method: 'POST', url, payload: JSON.stringify(payload), headers: { 'content-type': 'application/json', ...headers } })
const batch = (list: unknown, headers: Record<string, string> = {}) => post('/', list, { 'content-type': BATCH_TYPE, ...headers })

async function say(sql: string): Promise<void> {
  await rest.admin.query(sql)
  await rest.holder.fresh(rest.holder.current)
}
const set = (name: string, value: string) => say(`alter role authenticator set pgrst.${name} = '${value}'`)
afterEach(() => say('alter role authenticator reset all; alter role authenticated reset all; alter role anon reset all'))

describe('what the database says of answers', () => {
  it('repeats the header that traces a request, in answers of every kind', async () => {
    assert.equal((await get('/clients', { 'x-trace': 'abc' })).headers['x-trace'], undefined)
    await set('server_trace_header', 'X-Trace')
    for (const [method, url] of [
      ['GET', '/clients'],
      ['HEAD', '/clients'],
      ['GET', '/nowhere'],
      ['GET', '/clients?id=eq.x'],
      ['OPTIONS', '/clients'],
      ['GET', '/'],
      ['PUT', '/'],
      ['GET', '/a/b/c'],
      ['POST', '/rpc/level'],
    ] as const) {
      const answer = await rest.app.inject({ method, url, headers: { 'x-trace': 'abc' } })
      assert.equal(answer.headers['x-trace'], 'abc', `${method} ${url} ${answer.statusCode}`)
    }
    assert.equal((await batch([{ method: 'GET', path: '/clients' }], { 'x-trace': 'of all' })).headers['x-trace'], 'of all')
    assert.equal((await get('/clients')).headers['x-trace'], '')
    for (const name of ['content-length', 'Set-Cookie', 'a b', '']) {
      await set('server_trace_header', name)
      const answer = await get('/clients', { 'set-cookie': 'a=1', 'x-trace': 'abc' })
      assert.deepEqual([answer.statusCode, answer.headers['set-cookie'], answer.json().length], [200, undefined, 2], name)
    }
  })

  it('says less of errors where it is told to', async () => {
    const keys = async (url: string) => Object.keys((await get(url)).json())
    assert.deepEqual(await keys('/clientz'), ['code', 'details', 'hint', 'message'])
    await set('client_error_verbosity', 'minimal')
    assert.deepEqual((await get('/clientz')).json(), {
      code: 'PGRST205',
      message: "Could not find the table 'public.clientz' in the schema cache",
    })
    assert.deepEqual(await keys('/clients?id=eq.x'), ['code', 'message'])
    assert.deepEqual((await get('/clients?offset=99', { prefer: 'count=exact' })).json(), {
      code: 'PGRST103',
      message: 'Requested range not satisfiable',
    })
    assert.deepEqual(Object.keys((await batch([{ method: 'GET', path: '/clientz' }])).json()), ['code', 'message', 'index'])
    await set('client_error_verbosity', 'verbose')
    assert.equal((await keys('/clientz')).length, 4)
    await set('client_error_verbosity', 'loud')
    assert.equal((await keys('/clientz')).length, 4)
  })

  it('names the address of a proxy in the root document', async () => {
    const where = async () => {
      const { host, basePath, schemes } = (await get('/')).json()
      return [host, basePath, schemes]
    }
    const own = await where()
    for (const [uri, expected] of [
      ['https://example.com:8443/basePath', ['example.com:8443', '/basePath', ['https']]],
      ['https://postgrest.com/openapi.json', ['postgrest.com:443', '/openapi.json', ['https']]],
      ['HTTP://example.com', ['example.com:80', '/', ['http']]],
      ['ftp://example.com', own],
      ['https://me@example.com/', own],
      ['https://example.com/?q=1', own],
      ['https://example.com:0/', own],
      ['https://example.com:99999/', own],
      ['/path', own],
    ] as const) {
      await set('openapi_server_proxy_uri', uri)
      assert.deepEqual(await where(), expected, uri)
    }
    await set('openapi_server_proxy_uri', 'https://example.com/api')
    const three = await get('/', { accept: 'application/openapi+json;version=3.1' })
    assert.deepEqual(three.json().servers, [{ url: 'https://example.com:443/api' }])
  })

  it('undoes what is written where transactions end so', async () => {
    const kept = async () => (await rest.admin.query('select count(*)::int as n from remarks')).rows[0].n as number
    const write = (headers = {}) => post('/remarks', { id: 1 }, headers)
    await set('db_tx_end', 'rollback')
    assert.equal((await write()).statusCode, 201)
    assert.equal((await write({ prefer: 'tx=commit' })).statusCode, 201)
    assert.equal((await batch([{ method: 'POST', path: '/remarks', body: { id: 1 } }])).statusCode, 200)
    assert.equal(await kept(), 0)
    await set('db_tx_end', 'rollback-allow-override')
    assert.equal((await write()).statusCode, 201)
    assert.equal(await kept(), 0)
    assert.equal((await write({ prefer: 'tx=commit' })).headers['preference-applied'], 'tx=commit')
    assert.equal(await kept(), 1)
    await rest.admin.query('truncate remarks')
  })
})

describe('what the database says of who asks', () => {
  const whoami = (headers: Record<string, string> = {}) => get('/rpc/whoami', headers)
  const person = (claims: object) => ({ 'x-role': 'authenticated', 'x-claims': JSON.stringify({ role: 'authenticated', ...claims }) })

  it('gives who sends no credential a role of its own', async () => {
    await say(`create role visitor nologin; grant visitor to authenticator; grant usage on schema public to visitor;
      create table lobby (id int primary key); grant select on lobby to visitor; create table cellar (id int primary key)`)
    assert.equal((await get('/lobby', { 'x-role': 'authenticated' })).statusCode, 403)
    await set('db_anon_role', 'visitor')
    assert.equal((await get('/lobby')).statusCode, 200)
    assert.equal((await whoami()).json().role, 'visitor')
    assert.equal((await get('/rpc/said?name=request.jwt.claims')).json(), '{"role":"visitor"}')
    const refused = await get('/cellar')
    assert.deepEqual([refused.statusCode, refused.headers['www-authenticate']], [401, 'Bearer'])
    assert.equal((await batch([{ method: 'GET', path: '/rpc/whoami' }])).json()[0].body.role, 'visitor')
    assert.equal((await whoami(person({}))).json().role, 'authenticated')
    await set('db_anon_role', 'of nobody')
    assert.equal((await get('/lobby')).statusCode, 401)
  })

  it('takes tokens that are meant for it', async () => {
    await set('jwt_aud', 'https://app.example')
    for (const [aud, status] of [
      [undefined, 200],
      ['https://app.example', 200],
      [['x', 'https://app.example'], 200],
      [[], 200],
      ['authenticated', 401],
      [['x'], 401],
    ] as const)
      assert.equal((await whoami(person({ aud }))).statusCode, status, JSON.stringify(aud))
    const refused = await whoami(person({ aud: 'x' }))
    assert.deepEqual(
      [refused.json().code, refused.json().message, refused.headers['www-authenticate']],
      ['PGRST303', 'JWT not in audience', 'Bearer error="invalid_token", error_description="JWT not in audience"'],
    )
    assert.equal((await batch([{ method: 'GET', path: '/rpc/whoami' }], person({ aud: 'x' }))).statusCode, 401)
    assert.equal((await rest.app.inject({ method: 'OPTIONS', url: '/clients', headers: person({ aud: 'x' }) })).statusCode, 401)
    assert.equal((await get('/', person({ aud: 'x' }))).statusCode, 401)
    assert.equal((await whoami()).statusCode, 200)
  })

  it('finds the role where tokens say it', async () => {
    for (const [path, claims, role] of [
      ['.app_metadata.role', { app_metadata: { role: 'service_role' } }, 'service_role'],
      ['$.app_metadata.roles[1]', { app_metadata: { roles: ['x', 'service_role'] } }, 'service_role'],
      ['."https://app.example/role"', { 'https://app.example/role': 'service_role' }, 'service_role'],
      ['$["https://app.example/role"]', { 'https://app.example/role': 'service_role' }, 'service_role'],
      ['.groups[?(@ ^== "service")]', { groups: ['x', 1, 'service_role'] }, 'service_role'],
      ['.groups[?(@ == "x")]', { groups: ['service_role'] }, 'anon'],
      ['.app_metadata.role', {}, 'anon'],
      ['.constructor.name', {}, 'anon'],
      ['.groups[0]', { groups: { 0: 'service_role' } }, 'anon'],
      ['no path', { role: 'service_role' }, 'anon'],
      ['.role', {}, 'authenticated'],
    ] as const) {
      await set('jwt_role_claim_key', path)
      assert.equal((await whoami(person(claims))).json().role, role, `${path} ${JSON.stringify(claims)}`)
    }
    await set('jwt_role_claim_key', '.as')
    assert.equal(
      (await get('/rpc/said?name=request.jwt.claims', person({ as: 'service_role' }))).json().includes('"role":"service_role"'),
      true,
    )
    for (const as of ['', 'none', 7, 'of nobody', 'postgres', 'sovrabase_gateway']) {
      const answer = await whoami(person({ as }))
      assert.equal(answer.statusCode >= 401 && answer.statusCode <= 403, true, `${as} ${answer.body}`)
    }
  })

  it('lets pages of its own origins read answers', async () => {
    const allowed = async (origin: string) =>
      (await get('/clients', { origin, 'x-allowed': '*' })).headers['access-control-allow-origin'] ?? null
    assert.equal(await allowed('https://a.example'), '*')
    await set('server_cors_allowed_origins', 'https://a.example, https://b.example')
    assert.deepEqual([await allowed('https://a.example'), await allowed('https://c.example')], ['https://a.example', null])
    const refused = await get('/clientz', { origin: 'https://c.example', 'x-allowed': '*' })
    assert.deepEqual([refused.statusCode, refused.headers['access-control-allow-origin']], [404, undefined])
    await set('server_cors_allowed_origins', '*')
    assert.equal(await allowed('https://c.example'), '*')
  })

  it('does not look at time zones where it is told so', async () => {
    await set('db_timezone_enabled', 'false')
    const zone = await whoami({ prefer: 'timezone=America/Lima' })
    assert.deepEqual([zone.json().zone === 'America/Lima', zone.headers['preference-applied']], [false, undefined])
    assert.equal((await whoami({ prefer: 'handling=strict, timezone=America/Lima' })).json().code, 'PGRST122')
  })
})

describe('what functions and roles set', () => {
  it('lifts a function’s settings into its transaction by a list of names', async () => {
    // Inside the function all of them hold: what runs before it tells what was lifted.
    await rest.admin.query(`create function note_settings() returns void language sql as $$
      select set_config('response.headers', json_build_array(json_build_object('x-seen', concat_ws(' ', current_setting('lock_timeout'), current_setting('work_mem'), current_setting('statement_timeout'))))::text, true) $$`)
    await set('db_pre_request', 'public.note_settings')
    const header = async () => (await get('/rpc/locked_time')).headers['x-seen']
    assert.equal(await header(), '0 4MB 9s')
    await set('db_hoisted_tx_settings', 'lock_timeout, WORK_MEM')
    assert.equal(await header(), '7s 3MB 30s')
    await set('db_hoisted_tx_settings', '')
    assert.equal(await header(), '0 4MB 9s')
    // The isolation always counts.
    await set('db_hoisted_tx_settings', 'lock_timeout')
    assert.equal((await get('/rpc/strict_level')).json(), 'serializable')
  })

  it('applies those of the role that signs in below those of the request’s role', async () => {
    await say(`alter role authenticator set lock_timeout = '11s'; alter role authenticator set statement_timeout = '12s'; alter role authenticator set timezone = 'Asia/Tokyo';
      alter role authenticated set lock_timeout = '5s'; alter role authenticated set search_path = 'od d'`)
    const tell = async (name: string, role: string, headers = {}) =>
      (await get(`/rpc/said?name=${name}`, { 'x-role': role, ...headers })).json()
    assert.deepEqual([await tell('lock_timeout', 'anon'), await tell('lock_timeout', 'authenticated')], ['11s', '5s'])
    assert.equal((await get('/lock_time')).json()[0].statement_timeout, '12s')
    assert.deepEqual(
      [await tell('timezone', 'anon'), await tell('timezone', 'anon', { prefer: 'timezone=Europe/Paris' })],
      ['Asia/Tokyo', 'Europe/Paris'],
    )
    assert.deepEqual([await tell('search_path', 'anon'), await tell('search_path', 'authenticated')], ['public, extensions', '"od d"'])
    await say(`alter role anon set default_transaction_isolation = 'Repeatable Read'`)
    assert.equal((await get('/rpc/level')).json(), 'repeatable read')
  })

  it('holds the strictest isolation and each one’s own time in a batch', async () => {
    const levels = async (...names: string[]) => {
      const answer = await batch(names.map((name) => ({ method: 'POST', path: `/rpc/${name}` })))
      assert.equal(answer.statusCode, 200, answer.body)
      return answer.json().map(({ body }: { body: string }) => body)
    }
    assert.deepEqual(await levels('level', 'level'), ['read committed', 'read committed'])
    assert.deepEqual(await levels('level', 'strict_level'), ['serializable', 'serializable'])
    await say(`alter role anon set default_transaction_isolation = 'repeatable read'; alter role anon set statement_timeout = '300ms'`)
    assert.deepEqual(await levels('level'), ['repeatable read'])
    assert.deepEqual(await levels('strict_level', 'level'), ['serializable', 'serializable'])
    const nap = (name: string) => ({ method: 'POST', path: `/rpc/${name}`, body: { seconds: 0.6 } })
    assert.equal((await batch([nap('long_nap')])).json()[0].body, 'done')
    const slow = await batch([{ method: 'POST', path: '/remarks', body: { id: 5 } }, nap('long_nap'), nap('nap')])
    assert.deepEqual([slow.statusCode, slow.json().code, slow.json().index], [500, '57014', 2])
    assert.equal((await rest.admin.query('select from remarks')).rowCount, 0)
    await set('db_hoisted_tx_settings', 'work_mem')
    const told = await batch([
      { method: 'GET', path: '/rpc/locked_time' },
      { method: 'POST', path: '/rpc/said', body: { name: 'work_mem' } },
      { method: 'GET', path: '/lock_time?select=statement_timeout,work_mem' },
    ])
    assert.deepEqual(
      told
        .json()
        .slice(1)
        .map(({ body }: { body: unknown }) => body),
      ['4MB', [{ statement_timeout: '300ms', work_mem: '4MB' }]],
    )
  })
})
