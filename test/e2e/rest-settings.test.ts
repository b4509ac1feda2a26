/** What people do in their database that fires no trigger, or little, and that the data API has to know: by the wire protocol and by the SQL of the control API. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

let server: TestServer
let project: TestProject
before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_API_PATH_FORM: 'true' } })
  project = await createProject(server, 'settings')
  await project.sql(`
    create table public.rows (id int primary key); insert into public.rows select generate_series(1, 5); grant select on public.rows to anon;
    create view public.told as select current_setting('lock_timeout') as lock_timeout, current_setting('statement_timeout') as statement_timeout, current_user as role;
    create domain public.shade as int;
    create table public.paints (id int primary key, shade public.shade); insert into public.paints values (1, 255);
    create function public.shade_json(public.shade) returns json language sql immutable as $$ select to_json('#' || lpad(to_hex($1), 6, '0')) $$;
    create function public.slow() returns text language sql as $$ select pg_sleep(5)::text $$;
    grant select on public.told, public.paints to anon; grant usage on schema public to anon`)
})
after(() => server?.stop())

const get = async <T>(path: string, options = {}) =>
  rest(project, project.anon, 'GET', path, options) as Promise<{ status: number; headers: Headers; body: T }>
const count = async () => (await get<unknown[]>('/rows')).body.length
const told = async (options = {}) => (await get<Record<string, string>[]>('/told', options)).body[0]
const control = (sql: string) => server.api('POST', `/projects/${project.ref}/database/query`, { sql })

test('settings of authenticator hold soon after they are said, without a word, and at once with one', async () => {
  assert.equal(await count(), 5)
  await project.sql(`alter role authenticator set pgrst.db_max_rows = '2'; notify pgrst, 'reload config'`)
  await until(async () => (await count()) === 2)
  await project.sql(`alter role authenticator set pgrst.db_max_rows = '3'`)
  await until(async () => (await count()) === 3)
  const said = await control(`alter role authenticator set pgrst.db_max_rows = '4'`)
  assert.equal(said.status, 200, JSON.stringify(said.body))
  assert.equal(await count(), 4)
  await project.sql('alter role authenticator reset all')
  await until(async () => (await count()) === 5)
})

test('the owner sets time-outs of the roles of requests, which have them', async () => {
  await control(`alter role anon set statement_timeout = '300ms'; alter role anon set lock_timeout = '2s'`)
  assert.deepEqual(await told(), { lock_timeout: '2s', statement_timeout: '300ms', role: 'anon' })
  const slow = await rest(project, project.anon, 'POST', '/rpc/slow')
  assert.deepEqual([slow.status, (slow.body as { code: string }).code], [500, '57014'])
  await project.sql('alter role anon reset all')
  await until(async () => (await told())?.lock_timeout === '0')
})

test('a role that is granted to authenticator is one that tokens may name, with its own settings', async () => {
  const token = await project.token('11111111-1111-4111-8111-111111111111', { role: 'auditor' })
  await project.sql(`create role auditor nologin; grant select on public.told to auditor; grant usage on schema public to auditor`)
  assert.equal((await get('/told', { token })).status, 403)
  await project.sql(`alter role auditor set lock_timeout = '9s'; grant auditor to authenticator`)
  await until(async () => (await told({ token }))?.lock_timeout === '9s')
  assert.equal((await told({ token }))?.role, 'auditor')
})

test('casts of domains are known when they are made, and when they are gone', async () => {
  const shades = async () => (await get<{ shade: unknown }[]>('/paints?select=shade')).body.map(({ shade }) => shade)
  assert.deepEqual(await shades(), [255])
  await project.sql('create cast (public.shade as json) with function public.shade_json(public.shade) as implicit')
  await until(async () => (await shades())[0] === '#0000ff')
  await project.sql('drop cast (public.shade as json)')
  await until(async () => (await shades())[0] === 255)
  await project.sql(`create domain public.tone as text; alter table public.paints add column tone public.tone default 'x'`)
  await until(async () => (await get<{ tone: unknown }[]>('/paints?select=tone')).body[0]?.tone === 'x')
  await project.sql(`notify pgrst, 'reload schema'`)
  assert.equal((await get('/paints')).status, 200)
})

test('what is refused before it reaches the project is said in its way too, where that is awake', async () => {
  const refused = (headers = {}) => get<Record<string, unknown>>('/rows', { token: 'no.token.atall', headers })
  await control(
    `alter role authenticator set pgrst.server_trace_header = 'X-Trace'; alter role authenticator set pgrst.client_error_verbosity = 'minimal'`,
  )
  const answer = await refused({ 'x-trace': 'abc' })
  assert.deepEqual([answer.status, Object.keys(answer.body), answer.headers.get('x-trace')], [401, ['code', 'message'], 'abc'])
  await control('alter role authenticator reset all')
  assert.equal(Object.keys((await refused()).body).length, 4)
})
