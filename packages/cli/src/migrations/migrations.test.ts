import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { startServer, type TestServer } from '../../../../test/node.ts'
import { createProject, ORGANISATION, type TestProject } from '../../../../test/project.ts'
import { until } from '../../../../test/until.ts'
import { type Cli, makeCli } from '../cli.testing.ts'
import type { Outcome } from './many.ts'

let server: TestServer
let cli: Cli
let shop: TestProject
let store: TestProject

before(async () => {
  server = await startServer()
  cli = makeCli(() => server.dataDir)
  ;[shop, store] = await Promise.all([
    createProject(server, 'shop', { labels: { stage: 'test' } }),
    createProject(server, 'store', { labels: { stage: 'test' } }),
  ])
})
after(async () => {
  await server?.stop()
  cli?.remove()
})

const folder = () => join(cli.home, 'supabase')
const path = (name: string) => join(folder(), 'migrations', name)

function write(files: Record<string, string>): void {
  mkdirSync(join(folder(), 'migrations'), { recursive: true })
  for (const [name, sql] of Object.entries(files)) writeFileSync(path(name), sql)
}

const EMPTY = `drop schema if exists supabase_migrations cascade;
  do $$ declare t text; begin for t in select format('drop table %s cascade', oid::regclass) from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r' loop execute t; end loop; end $$`

beforeEach(async () => {
  rmSync(folder(), { recursive: true, force: true })
  await Promise.all([shop, store].map((project) => project.sql(EMPTY)))
})

const versions = async (project: TestProject) =>
  (await project.sql('select version from supabase_migrations.schema_migrations order by version')).map(({ version }) => version)
const table = async (name: string, project = shop) => (await project.sql('select to_regclass($1) as found', [name]))[0]?.found
const up = (...more: string[]) => cli.run(['db', 'migration', 'up', 'shop', ...more])

test('new, up, list, push: in order, once, with what the common CLI writes', async () => {
  const made = await cli.run(['db', 'migration', 'new', 'Add Todos!'])
  assert.match(made.out, /^supabase\/migrations\/\d{14}_add_todos\.sql\n$/)
  writeFileSync(join(cli.home, made.out.trim()), 'create table b (id int references a);\ninsert into b values (1);')
  write({
    '1_first.sql': '-- the first\ncreate table a (id int primary key);\n\ninsert into a values (1);\n',
    '20200101000000_set.sql': "set search_path = ''; set role anon; select 1;",
    'notes.txt': 'not SQL',
    'unnamed.sql': 'not run',
  })
  const dry = await up('--dry-run')
  assert.match(dry.out, /^Would apply 3 migrations to shop: 1 20200101000000 \d{14}\n$/)
  assert.match(dry.err, /Passed over supabase\/migrations\/unnamed\.sql/)
  assert.equal(await table('supabase_migrations.schema_migrations'), null)

  const ran = await cli.run(['db', 'push', 'shop'])
  assert.deepEqual([ran.code, /Applied 3 migrations to shop: 1 20200101000000 \d{14}\n/.test(ran.out)], [0, true], ran.err)
  assert.match(ran.err, /Applying supabase\/migrations\/1_first\.sql\nApplying/)
  const [row] = await shop.sql("select name, statements from supabase_migrations.schema_migrations where version = '1'")
  assert.deepEqual(row, { name: 'first', statements: ['create table a (id int primary key)', 'insert into a values (1)'] })
  assert.equal((await cli.run(['db', 'push', 'shop'])).out, 'shop is current.\n')

  const listed = await cli.run(['db', 'migration', 'list', 'shop'])
  assert.match(listed.out, /^VERSION +NAME +FILE +PROJECT +WARNINGS\n1 +first +here +\d{4}-\d\d-\d\d/)
})

test('applied by the common CLI: its table is taken as it is', async () => {
  await shop.sql(`create schema supabase_migrations; create table supabase_migrations.schema_migrations (version text not null primary key);
    alter table supabase_migrations.schema_migrations add column statements text[], add column name text;
    insert into supabase_migrations.schema_migrations values ('1', array['create table a ()'], 'first')`)
  write({ '1_first.sql': 'create table a ();', '2_second.sql': 'create table c ();' })
  const before = await cli.answer<{ version: string; applied: boolean }[]>(['db', 'migration', 'list', 'shop'])
  assert.deepEqual(
    before.map(({ applied }) => applied),
    [true, false],
  )
  assert.equal((await up()).code, 0)
  assert.deepEqual([await table('a'), await table('c')], [null, 'c'])
  assert.deepEqual(await versions(shop), ['1', '2'])
})

test('bad SQL: file, line and position; nothing of the file stays', async () => {
  const rows: [sql: string, place: string, err: RegExp][] = [
    ['create table t ();\n\n  select é, * fro t;', '3:15', /syntax error at or near "fro"[\s\S]*LINE 3: {3}select é, \* fro t;\n {22}\^/],
    [
      "create table t ();\nselect 'é',\n  titel from t;",
      '3:3',
      /column "titel" does not exist \(SQLSTATE 42703\)\nLINE 3: {3}titel from t;\n {10}\^/,
    ],
    [
      'create table t (id int primary key);\ninsert into t values (1);\ninsert into t values (1);',
      '3:1',
      /23505[\s\S]*detail: Key \(id\)=\(1\)/,
    ],
    [
      'create table t (id int primary key);\ncreate table u (id int references t deferrable initially deferred);\ninsert into u values (1);',
      '3:1',
      /23503/,
    ],
    ['create table t (id int);\ncopy t from stdin;\n1\nx\n\\.\n', '2:1', /22P02[\s\S]*where: COPY t, line 2/],
    ['create table t ();\ndo $$ begin\n  perform nothing();\nend $$;', '2:1', /42883[\s\S]*where: PL\/pgSQL/],
    ['create table t ();\nvacuum t;', '2:1', /25001[\s\S]*hint: Write `-- sovra: no-transaction`/],
    ['create table t ();\ncreate extension pg_cron;', '2:1', /extension pg_cron is not to be had/],
  ]
  for (const [sql, place, err] of rows) {
    write({ '1_bad.sql': sql })
    const ran = await up()
    assert.equal(ran.code, 1, sql)
    assert.ok(ran.err.includes(`supabase/migrations/1_bad.sql:${place}: `), `${sql}\n${ran.err}`)
    assert.match(ran.err, err)
    assert.deepEqual([await table('t'), await versions(shop)], [null, []], sql)
  }
  const { details } = JSON.parse(
    (await up('--json')).err
      .split('\n')
      .slice(-20)
      .join('\n')
      .replace(/^[^{]*/, ''),
  ) as { details: Record<string, unknown> }
  assert.deepEqual([details.line, details.column], [2, 1])
})

test('a file without a transaction goes on where it stopped', async () => {
  const good = '-- an index for live tables\n-- sovra: no-transaction\ncreate table t (a int);\ncreate index concurrently i on t (a);\n'
  write({ '1_index.sql': `${good}select 1/0;\ncreate table u ();` })
  const failed = await up()
  assert.match(failed.err, /1_index\.sql:5:1: division by zero/)
  assert.deepEqual([await table('i'), await versions(shop)], ['i', []])
  write({ '1_index.sql': `${good.replace('(a int)', '(b int)')}create table u ();` })
  assert.match((await up()).err, /applied half-way \(2 of its statements\)[\s\S]*repair shop 1 --status reverted/)
  write({ '1_index.sql': `${good}select 1;\ncreate table u ();` })
  const again = await up()
  assert.deepEqual([again.code, /goes on at statement 3 of 4/.test(again.err)], [0, true], again.err)
  assert.deepEqual([await table('u'), await versions(shop)], ['u', ['1']])

  write({
    '2_wrapped.sql': 'begin;\ncreate table w ();\ncommit;',
    '3_own.sql': 'begin; create table x (); commit; begin; create table y (); rollback;',
  })
  assert.equal((await up()).code, 0)
  assert.deepEqual([await table('w'), await table('x'), await table('y')], ['w', 'x', null])
})

test('killed half-way: nothing of the file stays, and the next run does it', async () => {
  write({ '1_done.sql': 'create table a ();', '2_slow.sql': 'create table b ();\nselect pg_sleep(60);' })
  const running = cli.start(['db', 'migration', 'up', 'shop'])
  const asleep =
    "select 1 as one from pg_stat_activity where query like '%pg_sleep(60)%' and wait_event = 'PgSleep' and pid <> pg_backend_pid()"
  await until(async () => (await shop.sql(asleep)).length > 0)
  running.child.kill('SIGKILL')
  await running.ended
  write({ '2_slow.sql': 'create table b ();' })
  const again = await up()
  assert.equal(again.code, 0, again.err)
  assert.match(again.out, /Applied 1 migration to shop: 2/)
  assert.deepEqual(await versions(shop), ['1', '2'])
})

test('two at once: one does it, the other waits and finds it done', async () => {
  write({
    '1_once.sql': 'create table once (); select pg_sleep(0.5);',
    '2_index.sql': '-- sovra: no-transaction\ncreate index concurrently on once ((1));',
  })
  const runs = await Promise.all([up(), up(), up()])
  assert.deepEqual(
    runs.map(({ code }) => code),
    [0, 0, 0],
    runs.map(({ err }) => err).join(),
  )
  assert.deepEqual(runs.map(({ out }) => /Applied 2/.test(out)).toSorted(), [false, false, true])
  assert.ok(runs.some(({ err }) => err.includes('Another migration of shop is running')))
})

test('changed, missing, late files; repair', async () => {
  write({ '2_two.sql': 'create table two ();' })
  await up()
  write({ '2_two.sql': 'create table two (id int);', '1_one.sql': 'create table one ();' })
  const late = await up()
  assert.deepEqual([late.code, /Older than the last migration of shop[\s\S]*: 1\./.test(late.err)], [1, true])
  const all = await up('--include-all')
  assert.match(all.out, /^warning: supabase\/migrations\/2_two\.sql has changed since[\s\S]*Applied 1 migration to shop: 1\n$/)
  assert.match((await cli.run(['db', 'migration', 'list', 'shop'])).out, /2 +two +changed/)
  await cli.run(['db', 'migration', 'repair', 'shop', '2', '--status', 'applied'])
  assert.equal((await up()).out, 'shop is current.\n')
  // A checkout on Windows.
  write({ '1_one.sql': 'create table one ();\r\n'.trimEnd() })
  assert.equal((await up()).out, 'shop is current.\n')

  rmSync(path('1_one.sql'))
  const missing = await up()
  assert.match(missing.err, /shop has migrations that are not in supabase\/migrations: 1\.[\s\S]*repair shop 1 --status reverted/)
  assert.equal((await cli.run(['db', 'migration', 'repair', 'shop', '1', '--status', 'reverted'])).out, 'Recorded as reverted: 1\n')
  assert.equal((await up()).out, 'shop is current.\n')
  assert.equal((await cli.run(['db', 'migration', 'repair', 'shop', '7', '--status', 'applied'])).code, 2)
  assert.equal((await cli.run(['db', 'migration', 'repair', 'shop', '2'])).code, 2)
  write({ '2_other.sql': '' })
  assert.match((await up()).err, /two have the version 2/)
})

test('imported: extensions that are not to be had are passed over, and recorded', async () => {
  write({
    '1_remote.sql': `SET check_function_bodies = false;
CREATE EXTENSION IF NOT EXISTS "pg_cron" WITH SCHEMA "pg_catalog";
COMMENT ON EXTENSION "pg_cron" IS 'jobs';
create extension if not exists pg_graphql with schema graphql;
create extension if not exists "uuid-ossp" with schema extensions;
CREATE SCHEMA IF NOT EXISTS "public";


-- Name: SCHEMA "public"; Type: SCHEMA
ALTER SCHEMA "public" OWNER TO "pg_database_owner";
\\restrict abc
create table imported (id uuid default extensions.uuid_generate_v4(), note text);
COPY public.imported (id, note) FROM stdin;
00000000-0000-0000-0000-000000000001\tone;\\ttab
\\.

\\unrestrict abc
create table after_copy ();`,
  })
  const ran = await up()
  assert.equal(ran.code, 0, ran.err)
  assert.match(ran.out, /warning: supabase\/migrations\/1_remote\.sql:2: passed over, the extension pg_cron is not to be had here\. Run it/)
  const [row] = await shop.sql('select warnings from supabase_migrations.schema_migrations')
  const warnings = row?.warnings as string[] | undefined
  assert.equal(warnings?.length, 4)
  assert.match(warnings?.at(-1) ?? '', /1_remote\.sql:10: passed over, the schema public belongs to postgres here/)
  assert.deepEqual(await shop.sql('select note from imported'), [{ note: 'one;\ttab' }])
  assert.match((await cli.run(['db', 'migration', 'list', 'shop'])).out, /pg_graphql/)
})

test('many projects: a table, those that fail go on later', async () => {
  await store.sql('create table a ()')
  write({ '1_a.sql': 'create table a ();', '2_b.sql': 'create table b ();' })
  await cli.run(['projects', 'sleep', 'shop', '--force'])
  const first = await cli.run(['db', 'migration', 'up', '--label', 'stage=test'])
  assert.equal(first.code, 1)
  assert.match(
    first.out,
    /shop +acme +applied +1 2\nstore +acme +failed .*1_a\.sql:1:1: relation "a" already exists[\s\S]*2 projects: 1 applied, 1 failed\. Run it again/,
  )
  const shown = await cli.answer<{ services: { status: string }[] }>(['projects', 'show', 'shop'])
  assert.equal(shown.services[0]?.status, 'asleep')
  await store.sql('drop table a')
  const second = await cli.answer<Outcome[]>(['db', 'migration', 'up', '--org', ORGANISATION, '--parallel', '2'])
  assert.deepEqual(
    second.map(({ name, status, applied }) => [name, status, applied]),
    [
      ['shop', 'current', []],
      ['store', 'applied', ['1', '2']],
    ],
  )
  for (const args of [[], ['shop', '--org', ORGANISATION]]) assert.equal((await cli.run(['db', 'migration', 'up', ...args])).code, 2)
})

test('seeds: each file once, in one transaction', async () => {
  write({ '1_t.sql': 'create table t (id int primary key);' })
  writeFileSync(join(folder(), 'seed.sql'), 'insert into t values (1); insert into t values (2);')
  const pushed = await cli.run(['db', 'push', 'shop', '--seed'])
  assert.match(pushed.out, /Applied 1 migration[\s\S]*Ran 1 seed file: supabase\/seed\.sql/, pushed.err)
  assert.match((await cli.run(['db', 'seed', 'shop'])).out, /No seed file was to be run\.\nRun before: supabase\/seed\.sql/)
  writeFileSync(join(folder(), 'seed.sql'), 'insert into t values (3); insert into t values (1);')
  assert.match((await cli.run(['db', 'seed', 'shop'])).out, /warning: supabase\/seed\.sql has changed since it was run/)
  const again = await cli.run(['db', 'seed', 'shop', '--again'])
  assert.match(again.err, /supabase\/seed\.sql:1:27: duplicate key/)
  mkdirSync(join(folder(), 'seeds'))
  writeFileSync(join(folder(), 'config.toml'), '[db.seed]\nenabled = true\nsql_paths = [\n  "./seeds/*.sql", # all\n]\n\n[auth]\n')
  writeFileSync(join(folder(), 'seeds/b.sql'), 'insert into t values (5)')
  writeFileSync(join(folder(), 'seeds/a.sql'), 'insert into t values (4)')
  assert.match((await cli.run(['db', 'seed', 'shop'])).out, /Ran 2 seed files: supabase\/seeds\/a\.sql supabase\/seeds\/b\.sql/)
  assert.deepEqual(
    (await shop.sql('select id from t order by id')).map(({ id }) => id),
    [1, 2, 4, 5],
  )
})

test('reset: everything of people goes, grants stay, migrations and seeds are run', async () => {
  write({ '1_t.sql': 'create table t (id int primary key); grant select on t to anon;', '2_u.sql': 'create table u ();' })
  writeFileSync(join(folder(), 'seed.sql'), 'insert into t values (1)')
  await shop.sql(`create schema other; create table other.x (); create table y (); create extension citext schema public; create type mood as enum ('a');
    create function f() returns trigger language plpgsql as 'begin return new; end'; create trigger t after insert on auth.users execute function f();
    create publication mine for table y; grant usage on schema public to authenticator with grant option;
    alter default privileges in schema public grant select on tables to anon; select lo_create(0)`)
  const asked = await cli.run(['db', 'reset', 'shop'])
  assert.deepEqual([asked.code, /--yes/.test(asked.err)], [2, true])
  const acl =
    "select nspacl::text as acl, nspowner::regrole::text as owner, (select array_agg(defaclacl::text order by 1) from pg_default_acl) as defaults from pg_namespace where nspname = 'public'"
  const before = await shop.sql(acl)
  const ran = await cli.run(['db', 'reset', 'shop', '--yes'])
  assert.equal(ran.code, 0, ran.err)
  assert.match(ran.out, /Emptied shop\.\nApplied 2 migrations to shop: 1 2\nRan 1 seed file/)
  const words = (rows: Record<string, unknown>[]) =>
    JSON.stringify(rows)
      .split(/[{},]+/)
      .toSorted()
  assert.deepEqual(words(await shop.sql(acl)), words(before))
  const left =
    await shop.sql(`select to_regclass('other.x') as x, to_regclass('y') as y, to_regtype('mood') as mood, to_regtype('citext') as citext,
    (select count(*)::int from pg_publication) as publications, (select count(*)::int from pg_largeobject_metadata) as objects`)
  assert.deepEqual(left, [{ x: null, y: null, mood: null, citext: null, publications: 1, objects: 0 }])
  assert.deepEqual(await shop.sql('select id from t'), [{ id: 1 }])
  assert.match((await cli.run(['db', 'reset', 'shop', '--yes', '--to', '1', '--no-seed'])).out, /Applied 1 migration to shop: 1\n$/)
  assert.deepEqual(await shop.sql('select id from t'), [])
  assert.ok(readdirSync(join(folder(), 'migrations')).length === 2 && readFileSync(path('2_u.sql'), 'utf8') !== '')
})
