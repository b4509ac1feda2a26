import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../../../../test/node.ts'
import { createProject, type TestProject } from '../../../../test/project.ts'
import { type Cli, makeCli } from '../cli.testing.ts'
import { contentsOf, failed, findTool } from '../database/tools.ts'

const MAJOR = 18

function missing(): string | false {
  try {
    findTool('pg_dump', MAJOR)
    return false
  } catch {
    return process.env.CI === 'true' ? false : 'pg_dump 18 is not here: make tools'
  }
}

let server: TestServer
let cli: Cli
let shop: TestProject
let copy: TestProject

before(async () => {
  server = await startServer()
  cli = makeCli(() => server.dataDir)
  ;[shop, copy] = await Promise.all([createProject(server, 'shop'), createProject(server, 'copy')])
  await shop.sql(`create schema api; create extension pg_trgm schema extensions;
    create table notes (id int primary key, owner uuid references auth.users, text text);
    comment on table notes is 'words'; create index on notes using gin (text extensions.gin_trgm_ops);
    alter table notes enable row level security; create policy own on notes to authenticated using (owner = (select auth.uid()));
    grant select on notes to authenticated; grant usage on schema api to anon; create view api.mine with (security_invoker = on) as select * from notes;
    create function api.twice(n int) returns int language sql as 'select n * 2'; alter publication supabase_realtime add table notes;
    insert into notes select n, null, 'note ' || n from generate_series(1, 100) n`)
})
after(async () => {
  await server?.stop()
  cli?.remove()
})

async function ok(...args: string[]): Promise<string> {
  const ran = await cli.run(['db', ...args])
  assert.equal(ran.code, 0, ran.err)
  return ran.out
}

test('dump and restore, custom and plain', { skip: missing() }, async () => {
  for (const file of ['shop.dump', 'shop.sql']) {
    await ok('dump', 'shop', file)
    assert.equal((await cli.run(['db', 'dump', 'shop', file])).code, 2)
    await ok('restore', 'copy', file)
    assert.equal((await copy.sql('select count(*)::int as n from notes'))[0]?.n, 100)
    const [found] =
      await copy.sql(`select relrowsecurity as rls, obj_description(oid) as says, has_table_privilege('authenticated', oid, 'select') as granted,
      has_schema_privilege('anon', 'api', 'usage') as used, (select count(*)::int from pg_policies where tablename = 'notes') as policies,
      (select count(*)::int from pg_publication_tables where tablename = 'notes') as published from pg_class where oid = 'notes'::regclass`)
    assert.deepEqual(found, { rls: true, says: 'words', granted: true, used: true, policies: 1, published: 1 })
    // All or nothing: it is there already.
    const again = await cli.run(['db', 'restore', 'copy', file])
    assert.equal(again.code, 1)
    assert.match(again.err, /already exists/)
    assert.equal((await copy.sql('select count(*)::int as n from notes'))[0]?.n, 100)
    await copy.sql('drop table notes cascade; drop schema api cascade; drop extension pg_trgm')
  }
  assert.match(readFileSync(join(cli.home, 'shop.sql'), 'utf8'), /CREATE POLICY own/)
  assert.equal((await cli.run(['db', 'restore', 'copy', 'nothing.dump'])).code, 2)
})

test('a pipe: from standard output into standard input', { skip: missing() }, async () => {
  const plain = await ok('dump', 'shop', '-', '--format', 'plain')
  assert.match(plain, /^--\n-- PostgreSQL database dump/)
  const read = await cli.run(['db', 'restore', 'copy', '-'], { input: plain })
  assert.deepEqual([read.code, read.out], [0, 'Restored standard input into copy.\n'], read.err)
  assert.equal((await copy.sql('select count(*)::int as n from notes'))[0]?.n, 100)
  await copy.sql('drop table notes cascade; drop schema api cascade; drop extension pg_trgm')
  assert.match(await ok('dump', 'shop', '-'), /^PGDMP/)
  assert.equal((await cli.run(['db', 'dump', 'shop', '-', '--json'])).code, 2)
  assert.ok(!readdirSync(cli.home).includes('-'))
})

test('pull: the schema as the first migration, then what is missing here', { skip: missing() }, async () => {
  mkdirSync(join(cli.home, 'supabase'))
  await ok('pull', 'shop', 'baseline')
  const [file = ''] = readdirSync(join(cli.home, 'supabase/migrations'))
  assert.match(file, /^\d{14}_baseline\.sql$/)
  assert.match(await ok('push', 'shop'), /is current/)
  await ok('push', 'copy')
  assert.equal((await copy.sql('select count(*)::int as n from notes'))[0]?.n, 0)

  const second = join(cli.home, 'supabase/migrations/29990101000000_more.sql')
  writeFileSync(second, '-- a comment\ncreate table more (id int primary key);\n\ninsert into more values (1);\n')
  await ok('push', 'shop')
  rmSync(second)
  assert.match(await ok('pull', 'shop'), /29990101000000_more\.sql/)
  assert.match(readFileSync(second, 'utf8'), /^create table more[^;]*;\n\ninsert into more/)
  assert.doesNotMatch(await ok('push', 'shop'), /changed/)
  assert.match(await ok('pull', 'shop'), /Nothing is missing/)
})

test('without the tools: what to do', () => {
  assert.throws(() => findTool('pg_dump', 7), /pg_dump of version 7 is not here/)
})

test('what is left out of an archive', () => {
  const lines = [
    ...[
      '3; 2615 2200 SCHEMA - public postgres',
      '4; 0 0 COMMENT - EXTENSION pgcrypto ',
      '5; 3079 1 EXTENSION - pgcrypto ',
      '6; 3466 1 EVENT TRIGGER - pgrst_ddl supabase_admin',
    ],
    ...[
      '7; 1259 1 TABLE auth users supabase_auth_admin',
      '8; 0 0 TABLE DATA storage objects x',
      '9; 826 1 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES supabase_admin',
    ],
  ]
  const kept = [
    ...[
      '; a comment',
      '10; 1259 1 TABLE public auth postgres',
      '11; 2615 2 SCHEMA - api postgres',
      '12; 0 0 ACL - SCHEMA api postgres',
      '13; 3079 1 EXTENSION - pg_trgm ',
    ],
    ...['14; 826 1 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES postgres', '15; 0 0 ACL public TABLE notes postgres'],
  ]
  assert.deepEqual(contentsOf([...lines, ...kept].join('\n')).split('\n'), kept)
})

test('what a program said is said once, with what mends it', () => {
  const told = (program: string, said: string) => {
    const { shown, lines } = failed(program, said, 1)
    return [shown.message, (shown.hint ?? '').slice(0, 7), lines]
  }
  assert.deepEqual(told('psql', 'psql:d.sql:26: ERROR:  schema "x" already exists\n'), [
    'psql failed: psql:d.sql:26: ERROR:  schema "x" already exists',
    'Restore',
    [],
  ])
  assert.deepEqual(told('pg_dump', 'pg_dump: note\npg_dump: error: could not open output file "x"'), [
    'pg_dump failed: could not open output file "x"',
    'Look at',
    ['pg_dump: note'],
  ])
  assert.deepEqual(told('pg_restore', ''), ['pg_restore failed: exit code 1', '', []])
})
