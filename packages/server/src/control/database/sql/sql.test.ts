import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { QueryAnswer } from '@sovrabase/contract/database'
import { startServer, type TestServer } from '../../../../../../test/node.ts'
import { createProject, type TestProject } from '../../../../../../test/project.ts'
import { until } from '../../../../../../test/until.ts'

let server: TestServer
let project: TestProject

before(async () => {
  server = await startServer()
  project = await createProject(server, 'queried')
  await project.sql(`create table notes (id integer primary key, owner text default auth.jwt()->>'sub', text text);
    alter table notes enable row level security; grant select on notes to authenticated;
    create policy own on notes to authenticated using (owner = auth.jwt()->>'sub');
    insert into notes select n, case when n % 2 = 0 then 'u1' else 'u2' end, 'note ' || n from generate_series(1, 2500) n;
    analyze notes`)
})
after(() => server?.stop())

type Failure = { code: string; message: string; hint?: string; details: Record<string, unknown> & { place?: Record<string, number> } }
const post = <T = QueryAnswer>(body: object, path = 'query') => server.api<T>('POST', `/projects/${project.ref}/database/${path}`, body)

async function query(sql: string, more: object = {}): Promise<QueryAnswer> {
  const answer = await post({ sql, ...more })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}
async function refused(sql: string, more: object = {}): Promise<Failure> {
  const answer = await post<Failure>({ sql, ...more })
  assert.notEqual(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

test('values, column types and parameters', async () => {
  const { results } = await query(
    `select 1 as one, 9007199254740993 as big, 1.50::numeric(5,2) as n, true as yes, '{"a":[1]}'::jsonb as j, null::text as none, array['a','b'] as list, $1::int + 1 as p, $2::text[] as l`,
    { params: [41, ['x,"y', null]] },
  )
  const [result] = results
  assert.deepEqual(result?.rows, [[1, '9007199254740993', '1.50', true, { a: [1] }, null, '{a,b}', 42, '{"x,\\"y",NULL}']])
  const types = ['integer', 'bigint', 'numeric(5,2)', 'boolean', 'jsonb', 'text', 'text[]', 'integer', 'text[]']
  assert.deepEqual(
    result?.columns.map(({ type }) => type),
    types,
  )
  assert.equal(result?.command, 'SELECT')
})

test('a role with claims sees what its policies show', async () => {
  const { results } = await query('select count(*)::int from notes', { role: 'authenticated', claims: { sub: 'u1' } })
  assert.deepEqual(results[0]?.rows, [[1250]])
  assert.equal((await refused('select * from notes', { role: 'anon' })).details.sqlstate, '42501')
  assert.equal((await refused('select 1', { role: 'nobody; drop table notes' })).code, 'sql_failed')
})

test('several statements are one transaction, with notices', async () => {
  const { results, notices } = await query(
    `create table t1 (id int); insert into t1 values (1), (2); do $$ begin raise notice 'hello'; end $$; select * from t1`,
  )
  assert.deepEqual(
    results.map(({ command, row_count }) => [command, row_count]),
    [
      ['CREATE TABLE', 0],
      ['INSERT', 2],
      ['DO', 0],
      ['SELECT', 2],
    ],
  )
  assert.deepEqual(notices, [{ severity: 'NOTICE', message: 'hello' }])
  await refused('insert into t1 values (3); select nonsense')
  assert.deepEqual((await query('select count(*)::int from t1')).results[0]?.rows, [[2]])
  await query('vacuum t1')
})

test('errors say where, in the text as it was sent', async () => {
  const failure = await refused('select 1;\n-- é\nselect id,\n  titel from notes')
  assert.equal(failure.code, 'sql_failed')
  assert.equal(failure.details.sqlstate, '42703')
  assert.equal(failure.details.statement, 1)
  assert.deepEqual(failure.details.place, { position: 29, line: 4, column: 3 })
  assert.match((await refused('select text + 1 from notes')).hint ?? '', /cast/)
})

test('a limit ends the reading, a stream has it all', async () => {
  const { results } = await query('select id from notes order by id', { limit: 10 })
  assert.equal(results[0]?.rows.length, 10)
  assert.equal(results[0]?.truncated, true)
  const all = await query('select id from notes order by id limit 10', { limit: 10 })
  assert.equal(all.results[0]?.truncated, false)
  const returned = await query('update notes set text = text returning id', { limit: 1 })
  assert.equal(returned.results[0]?.truncated, true)
  const streamed = await fetch(`${server.url}/v1/projects/${project.ref}/database/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/json', accept: 'application/x-ndjson' },
    body: JSON.stringify({ sql: 'select id, text from notes order by id; select 1/0', limit: 0 }),
  })
  const lines = (await streamed.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(lines[0].type, 'columns')
  assert.equal(lines.filter(({ type, statement }) => type === 'rows' && statement === 0).flatMap(({ rows }) => rows).length, 2500)
  assert.equal(lines.at(-1).error.details.sqlstate, '22012')
})

test('read-only is read-only, whatever the SQL says', async () => {
  for (const sql of [
    `delete from notes`,
    `commit; delete from notes`,
    `commit; begin; delete from notes`,
    `rollback and chain; set transaction read write; delete from notes`,
    `set transaction read write; delete from notes`,
    `set session characteristics as transaction read write; commit; delete from notes`,
    `do $$ begin commit; delete from notes; end $$`,
    `with gone as (delete from notes returning 1) select * from gone`,
    `create table made ()`,
  ])
    await refused(sql, { read_only: true })
  assert.deepEqual((await query('select count(*)::int from notes', { read_only: true })).results[0]?.rows, [[2500]])
})

test('time-out, cancel, and a caller that goes away', async () => {
  const late = await refused(`set statement_timeout = 0; select pg_sleep(60)`, { timeout: 300 })
  assert.equal(late.code, 'query_timed_out')
  const stubborn = `do $$ begin loop begin perform pg_sleep(60); exception when query_canceled then null; end; end loop; end $$`
  assert.ok(['query_timed_out'].includes((await refused(stubborn, { timeout: 300 })).code))

  const running = post<Failure>({ sql: 'select pg_sleep(60)', id: 'slow-1' })
  const cancel = () => server.api('POST', `/projects/${project.ref}/database/query/slow-1/cancel`)
  await until(async () => (await cancel()).status === 204)
  assert.equal((await running).body.code, 'query_cancelled')
  assert.equal((await cancel()).status, 404)

  const gone = new AbortController()
  const left = fetch(`${server.url}/v1/projects/${project.ref}/database/query`, {
    method: 'POST',
    signal: gone.signal,
    headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql: "select pg_sleep(60), 'left'" }),
  }).catch(() => 'gone')
  const busy = async () =>
    (await project.sql(`select from pg_stat_activity where query like '%''left''%' and state = 'active' and pid <> pg_backend_pid()`))
      .length
  await until(async () => (await busy()) === 1)
  gone.abort()
  assert.equal(await left, 'gone')
  await until(async () => (await busy()) === 0)
})

test('explain: a plan to read, and nothing written', async () => {
  const plan = (
    await post<{ text: string; notes: string[] }>(
      { sql: `select * from notes where text = $1`, params: ['note 7'], analyze: true },
      'explain',
    )
  ).body
  assert.match(plan.text, /Seq Scan on notes {2}\(rows 1 \(planned/)
  assert.match(plan.notes[0] ?? '', /notes is read whole/)
  await post({ sql: 'delete from notes', analyze: true }, 'explain')
  assert.deepEqual((await query('select count(*)::int from notes')).results[0]?.rows, [[2500]])
  const wrong = (await post<Failure>({ sql: 'select nix from notes' }, 'explain')).body
  assert.deepEqual(wrong.details.place, { position: 8, line: 1, column: 8 })
})

test('what is refused before it runs, and what is recorded', async () => {
  assert.equal((await post({ sql: ' -- nothing' })).status, 400)
  assert.equal((await post({ sql: 'select $1; select 2', params: [1] })).status, 400)
  assert.equal((await post({ sql: 'copy notes to stdout' })).status, 400)
  assert.equal((await post({ sql: 'copy notes from stdin' })).status, 400)
  assert.equal((await query('select 1')).results.length, 1)
  const events = await server.api<{ items: { name: string; after: object }[] }>('GET', `/projects/${project.ref}/events?limit=200`)
  const executed = events.body.items.filter(({ name }) => name === 'database.executed')
  assert.ok(executed.length > 5, JSON.stringify(events.body).slice(0, 500))
  assert.ok(!JSON.stringify(executed).includes('pg_sleep'))
})

test('rows are held up to a size, however few they are', async () => {
  const asked = await fetch(`${server.url}/v1/projects/${project.ref}/database/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/json', accept: 'application/x-ndjson' },
    body: JSON.stringify({ sql: `select repeat('x', 3000000) from generate_series(1, 45)` }),
  })
  assert.match(await asked.text(), /"result_too_large"/)
  const { results } = await query(`select n, repeat('x', 20000) from generate_series(1, 300) n`)
  assert.deepEqual([results[0]?.rows.length, results[0]?.rows.at(-1)?.[0]], [300, 300])
})
