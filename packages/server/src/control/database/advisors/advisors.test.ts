import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Advice, Extensions, Statistics } from '@sovrabase/contract/database'
import { startServer, type TestServer } from '../../../../../../test/node.ts'
import { createProject, type TestProject } from '../../../../../../test/project.ts'
import { type Cli, makeCli } from '../../../../../cli/src/cli.testing.ts'

let server: TestServer
let project: TestProject
let cli: Cli

before(async () => {
  server = await startServer({ env: { SOVRA_TOOLS_DIR: '/nowhere' } })
  cli = makeCli(() => server.dataDir)
  project = await createProject(server, 'advised', { services: { db: { engine: 'postgres', extensions: ['pg_stat_statements'] } } })
})
after(async () => {
  await server?.stop()
  cli?.remove()
})

const get = async <T>(what: string) => {
  const answer = await server.api<T>('GET', `/projects/${project.ref}/database/${what}`)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}
const advice = async () => (await get<{ items: Advice[] }>('advisors')).items

/** What makes each of them appear, and the object that it names. */
const CASES: readonly (readonly [code: string, sql: string, object: string])[] = [
  [
    'table_without_rls',
    `create table open (id int primary key); alter table open disable row level security; grant select on open to anon`,
    'public.open',
  ],
  [
    'policies_without_rls',
    `create table off (id int primary key); create policy p on off using (true); alter table off disable row level security`,
    'public.off',
  ],
  [
    'rls_without_policy',
    `create table shut (id int primary key); alter table shut enable row level security; grant select on shut to anon`,
    'public.shut',
  ],
  [
    'policy_lets_all_write',
    `create table wide (id int primary key); alter table wide enable row level security; grant insert on wide to authenticated; create policy w on wide for insert to authenticated with check (true)`,
    'w on public.wide',
  ],
  ['definer_view', `create view seen as select 1 as one; grant select on seen to anon`, 'public.seen'],
  ['users_in_view', `create view people as select id from auth.users; grant select on people to authenticated`, 'public.people'],
  ['materialised_view_open', `create materialized view frozen as select 1 as one; grant select on frozen to anon`, 'public.frozen'],
  [
    'definer_function_open',
    `create function might() returns int language sql security definer set search_path = '' as 'select 1'; grant execute on function might() to anon`,
    'public.might()',
  ],
  [
    'function_search_path',
    `create function lost() returns int language sql security definer as 'select 1'; revoke execute on function lost() from public`,
    'public.lost()',
  ],
  ['extension_in_public', `create extension hstore schema public`, 'hstore'],
  [
    'foreign_key_without_index',
    `create table parent (id int primary key); create table child (id int primary key, parent int constraint child_parent references parent)`,
    'child_parent on public.child',
  ],
  [
    'policy_per_row',
    `create table slow (id int primary key, owner uuid); create index on slow (owner); alter table slow enable row level security; create policy s on slow using (owner = auth.uid())`,
    's on public.slow',
  ],
  [
    'policy_without_index',
    `create table unindexed (id int primary key, owner uuid); alter table unindexed enable row level security; create policy u on unindexed using (owner = (select auth.uid()))`,
    'u on public.unindexed',
  ],
  [
    'duplicate_index',
    `create table twice (id int primary key, a int); create index twice_1 on twice (a); create index twice_2 on twice (a)`,
    'public.twice_2',
  ],
  [
    'unused_index',
    `create table idle (id int primary key, a text); create index idle_a on idle (a); insert into idle select n, repeat(md5(n::text), 4) from generate_series(1, 12000) n`,
    'public.idle_a',
  ],
  ['no_primary_key', `create table keyless (a int)`, 'public.keyless'],
]

test('a new project has nothing to be told', async () => {
  assert.deepEqual(await advice(), [])
  assert.equal((await cli.run(['db', 'advisors', 'advised'])).code, 0)
})

test('each lint finds its case, and its fix mends it', async () => {
  for (const [, sql] of CASES) await project.sql(sql)
  const found = await advice()
  for (const [code, , object] of CASES)
    assert.ok(
      found.some((item) => item.code === code && item.object === object),
      `${code} ${object}: ${JSON.stringify(found.filter((item) => item.code === code))}`,
    )
  assert.ok(!found.some(({ object }) => object === 'public.twice_1'))
  assert.ok(!found.some(({ code, object }) => code === 'policy_per_row' && object === 'u on public.unindexed'))
  const shown = await cli.run(['db', 'advisors', 'advised', '--area', 'security'])
  assert.equal(shown.code, 1)
  assert.match(shown.out, /error {4}table_without_rls {2}public\.open/)
  const fixable = found.filter(({ fix }) => fix.endsWith(';') && !fix.includes('…') && !/^(drop and|select)/.test(fix))
  for (const { fix } of fixable) await project.sql(fix)
  const left = await advice()
  for (const { code, object } of fixable)
    assert.ok(!left.some((item) => item.code === code && item.object === object), `${code} ${object} is still there`)
})

test('statistics: sizes, sessions, locks, statements', async () => {
  await project.sql('select count(*) from idle where a > $1', ['x'])
  const found = await get<Statistics>('statistics')
  assert.ok(found.database.size > 1_000_000)
  assert.ok(found.tables.some(({ name, size }) => name === 'idle' && size > 1_000_000))
  assert.ok(found.indexes.some(({ name }) => name === 'idle_pkey'))
  assert.equal(found.connections.most, 30)
  assert.equal(found.statements.available, true)
  assert.ok(
    found.statements.items.some(({ statement }) => statement.includes('from idle where a > $1')),
    JSON.stringify(found.statements.items.slice(0, 3)),
  )
  assert.match((await cli.run(['db', 'stats', 'advised'])).out, /Database: .*TABLE/s)
})

test('extensions: what is there, and what to use instead', async () => {
  const found = await get<Extensions>('extensions')
  assert.ok(found.items.some(({ name, installed, schema }) => name === 'pgcrypto' && installed !== null && schema === 'extensions'))
  assert.ok(found.unavailable.some(({ name }) => name === 'pg_cron'))
  const refused = await server.api<{ code: string; hint: string }>('POST', `/projects/${project.ref}/database/query`, {
    sql: 'create extension pg_cron',
  })
  assert.equal(refused.body.code, 'extension_unavailable')
  assert.match(refused.body.hint, /scheduler/)
  const vector = await server.api<{ code: string; hint: string }>('POST', `/projects/${project.ref}/database/query`, {
    sql: 'create extension if not exists vector',
  })
  assert.equal(vector.body.code, 'extension_unavailable')
  assert.match(vector.body.hint, /make tools/)
  assert.match((await cli.run(['db', 'extensions', 'advised'])).out, /pg_trgm/)
})
