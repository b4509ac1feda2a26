import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import pg from 'pg'
import { until } from '../../../../../../test/until.ts'
import { asRole } from './as-role.ts'
import { type Awake, openWorkshop, refused, type Workshop } from './cluster.testing.ts'
import { allowedNames } from './extensions.ts'
import { ADMIN, DDL_CHANNEL, GATEWAY, NOLOGIN_ROLES, PGRST_SETTINGS } from './names.ts'

describe('the owner of a project', () => {
  let workshop: Workshop
  let awake: Awake
  let owner: pg.Client

  before(async () => {
    workshop = await openWorkshop()
    awake = await workshop.create().wake()
    owner = await awake.connect()
  })
  after(async () => {
    await owner?.end()
    await workshop.close()
  })

  const rows = async (sql: string, values?: unknown[]) => (await owner.query({ text: sql, values, rowMode: 'array' })).rows as unknown[][]
  const gateway = (role: string, sql: string, claims = '{}') =>
    asRole(awake.cluster.pool, { role, claimsJson: claims, searchPath: 'public, extensions' }, { sql, params: [] })

  describe('may', () => {
    it('make roles, databases, schemas, publications and extensions', async () => {
      await owner.query('create role reporting login; grant reporting to authenticator; set role reporting; reset role')
      await owner.query('create database side')
      const side = await awake.connect('postgres', undefined, 'side')
      await side.query('create table t (n int)')
      await side.end()
      await owner.query('create schema app; create table app.t (id int primary key)')
      await owner.query('create publication mine for table app.t; alter publication supabase_realtime add table app.t')
      await owner.query('create extension pg_trgm; create extension citext with schema extensions')
      assert.deepEqual(
        await rows(
          `select 'été' operator(public.%) 'été', extensions.gen_random_bytes(4) is not null, extensions.uuid_generate_v4() is not null`,
        ),
        [[true, true, true]],
      )
      await owner.query('drop database side')
    })

    it('create every extension of the list, and finds no other', async () => {
      const available = (await rows('select name from pg_available_extensions order by name')).flat() as string[]
      const known = new Set(allowedNames())
      assert.deepEqual(
        available.filter((name) => !known.has(name)),
        [],
      )
      for (const name of available) await owner.query(`create extension if not exists "${name}" with schema extensions cascade`)
      assert.deepEqual((await rows(`select lanname from pg_language where lanname not in ('internal', 'c', 'sql') order by 1`)).flat(), [
        'plpgsql',
      ])
      assert.deepEqual(
        (await rows(`select distinct proname from pg_proc join pg_depend on objid = pg_proc.oid and deptype = 'e' where prosecdef`)).flat(),
        [],
      )
    })

    it('set what PostgREST reads on authenticator, and nothing else of its kind', async () => {
      for (const name of PGRST_SETTINGS) await owner.query(`alter role authenticator set ${name} = 'x'`)
      await owner.query('alter role authenticator reset all')
      assert.equal(await refused(owner, `alter role authenticator set pgrst.jwt_secret = 'x'`), '42501')
    })

    it('set time-outs and the like for the roles of requests, which each request has', async () => {
      await owner.query(`alter role anon set statement_timeout = '3s'; alter role anon set lock_timeout = '2s'; alter role authenticated set search_path = 'app';
        alter role authenticated set default_transaction_isolation = 'serializable'; alter role service_role in database postgres set work_mem = '8MB'`)
      await until(async () => (await awake.cluster.catalogue.fresh(awake.cluster.catalogue.current)) || true)
      const { anon, authenticated, service_role } = awake.cluster.catalogue.current.roleSettings
      assert.deepEqual(
        [anon, authenticated, service_role],
        [
          { statement_timeout: '3s', lock_timeout: '2s' },
          { search_path: 'app', default_transaction_isolation: 'serializable' },
          { work_mem: '8MB' },
        ],
      )
      await owner.query(
        'alter role anon reset all; alter role authenticated reset all; alter role service_role in database postgres reset all',
      )
      await owner.query('create role like_anon; grant anon to like_anon; drop role like_anon')
    })

    it('read auth, refer to it and have triggers on it, which run for the writer', async () => {
      await owner.query(`
        create table public.profiles (id uuid primary key references auth.users on delete cascade, seen_as text);
        create function public.on_user() returns trigger language plpgsql security definer set search_path = '' as
          $$ begin insert into public.profiles values (new.id, session_user); return new; end $$;
        create trigger on_user after insert on auth.users for each row execute function public.on_user()`)
      await awake.cluster.admin(async (client) => {
        await client.query(`create temporary table x as select 1`)
      })
      const id = '00000000-0000-4000-8000-000000000001'
      const writer = await awake.connect(GATEWAY, awake.service.secrets[GATEWAY])
      await writer.query('set role supabase_auth_admin')
      await writer.query('insert into auth.users (id, email) values ($1, $2)', [id, 'a@example.org'])
      await writer.end()
      assert.deepEqual(await rows('select id, seen_as from public.profiles'), [[id, GATEWAY]])
      assert.deepEqual(await rows('select email from auth.users'), [['a@example.org']])
      assert.equal(await refused(owner, `insert into auth.users (id) values (gen_random_uuid())`), '42501')
    })

    it('pass row-level security, and try policies as the roles of the API', async () => {
      await owner.query(
        'create table public.notes (id int, who uuid default auth.uid()); alter table public.notes enable row level security; insert into public.notes values (1, null)',
      )
      assert.deepEqual(await rows('select id from public.notes'), [[1]])
      await owner.query('set role anon')
      assert.equal(await refused(owner, 'select * from public.notes'), '42501')
      await owner.query('reset role')
      assert.deepEqual(
        await rows(`select role, privilege_type from (values ('anon'), ('authenticated'), ('service_role')) r (role), information_schema.role_table_grants
          where grantee = role and table_name = 'notes' group by 1, 2 order by 1, 2`).then((all) => [...new Set(all.map((row) => row[0]))]),
        ['service_role'],
      )
    })

    it('see who asks through auth.*, as the gateway says it; claims() only believes the gateway', async () => {
      const claims = JSON.stringify({ sub: '00000000-0000-4000-8000-000000000007', role: 'authenticated', email: 'x@example.org' })
      const sql = `select json_build_array(auth.uid(), auth.role(), auth.email(), auth.jwt() ->> 'sub', sovrabase.claim('email'))::text`
      const result = await gateway('authenticated', sql, claims)
      assert.deepEqual(JSON.parse(String(result.values[0])), [
        '00000000-0000-4000-8000-000000000007',
        'authenticated',
        'x@example.org',
        '00000000-0000-4000-8000-000000000007',
        'x@example.org',
      ])
      await owner.query(`set request.jwt.claims = '${claims}'`)
      assert.deepEqual(await rows('select auth.email(), sovrabase.claims()'), [['x@example.org', null]])
      await owner.query('reset request.jwt.claims')
    })

    it('open the grants of Supabase projects', async () => {
      await owner.query('begin; select sovrabase.open_grants(true); create table public.open_one (id int)')
      await owner.query('set local role anon; select * from public.open_one; reset role; rollback')
    })
  })

  describe('may not', () => {
    const denied: Record<string, string> = {
      'run a program': `copy (select 1) to program 'id'`,
      'read a program': `create temp table out (l text); copy out from program 'id'`,
      'write a file': `copy (select 1) to '/tmp/x'`,
      'read a file by COPY': `create temp table passwd (l text); copy passwd from '/etc/passwd'`,
      'read a file': `select pg_read_file('/etc/passwd')`,
      'read a file as bytes': `select pg_read_binary_file('PG_VERSION')`,
      'list a directory': `select pg_ls_dir('.')`,
      'look at a file': `select pg_stat_file('PG_VERSION')`,
      'import a file': `select lo_import('/etc/passwd')`,
      'export a file': `select lo_export(lo_from_bytea(0, 'x'), '/tmp/x')`,
      'change the server': `alter system set shared_preload_libraries = 'x'`,
      'reload it': 'select pg_reload_conf()',
      'read pg_hba.conf': 'select * from pg_hba_file_rules',
      'read passwords': 'select rolpassword from pg_authid',
      'preload libraries': `set session_preload_libraries = 'x'`,
      'preload for its role': `alter role postgres set session_preload_libraries = 'x'`,
      'load a library': `load 'dblink'`,
      'load a library by its path': `load '$libdir/../evil'`,
      'make a C function': `create function evil() returns int language c as 'libc', 'system'`,
      'make an internal function': `create function evil() returns int language internal as 'pg_reload_conf'`,
      'make a language': `create language evil handler plpgsql_call_handler`,
      'install dblink': 'create extension dblink',
      'install postgres_fdw': 'create extension postgres_fdw',
      'install file_fdw': 'create extension file_fdw',
      'install plperlu': 'create extension plperlu',
      'install pageinspect': 'create extension pageinspect',
      'make a foreign-data wrapper': 'create foreign data wrapper evil',
      'subscribe to a host': `create subscription evil connection 'host=/tmp' publication x`,
      replicate: `select pg_create_logical_replication_slot('x', 'pgoutput')`,
      'make a tablespace': `create tablespace evil location '/tmp'`,
      'make an event trigger': `create function public.et() returns event_trigger language plpgsql as 'begin end'; create event trigger evil on ddl_command_end execute function public.et()`,
      'switch our event trigger off': 'alter event trigger sovrabase_ddl_end disable',
      'drop our event trigger': 'drop event trigger sovrabase_sql_drop',
      'replace its function': `create or replace function sovrabase.on_ddl_end() returns event_trigger language plpgsql as 'begin end'`,
      'hide from it': 'set event_triggers = off',
      'switch triggers off': 'set session_replication_role = replica',
      'make a superuser': 'create role evil superuser',
      'make a replication role': 'create role evil replication',
      'become a superuser': 'alter role postgres superuser',
      'become our superuser': `set role ${ADMIN}`,
      'become our gateway': `set role ${GATEWAY}`,
      'take our session': `set session authorization ${ADMIN}`,
      'join our superuser': `grant ${ADMIN} to postgres`,
      'join our gateway': `grant ${GATEWAY} to postgres`,
      'join the owner of auth': 'grant supabase_auth_admin to postgres',
      'read files by a grant': 'grant pg_read_server_files to postgres',
      'run programs by a grant': 'grant pg_execute_server_program to postgres',
      'change our superuser': `alter role ${ADMIN} password 'x'`,
      'change our gateway': `alter role ${GATEWAY} password 'x'`,
      'rename our gateway': `alter role ${GATEWAY} rename to evil`,
      'drop our gateway': `drop role ${GATEWAY}`,
      'drop anon': 'drop owned by anon; drop role anon',
      'drop service_role': 'drop owned by service_role; drop role service_role',
      'make anon a superuser': 'alter role anon superuser',
      'let anon replicate': 'alter role anon replication',
      'preload for anon': `alter role anon set session_preload_libraries = 'x'`,
      'see more of anon’s log': `alter role anon set log_min_messages = 'debug1'`,
      'set what only the owner of auth has': `alter role supabase_auth_admin set statement_timeout = '1s'`,
      'set our search path': `alter role ${ADMIN} set search_path = public`,
      'set everybody’s search path': 'alter role all set search_path = public',
      'set the database’s search path': 'alter database postgres set search_path = public',
      'rename the database': 'alter database postgres rename to evil',
      'drop the database': 'drop database postgres',
      'write into sovrabase': 'create table sovrabase.evil (n int)',
      'read what we applied': 'select * from sovrabase.applied',
      'change what is migrated': 'delete from sovrabase.migrations',
      'write into auth': 'create table auth.evil (n int)',
      'replace auth.uid()': `create or replace function auth.uid() returns uuid language sql as 'select null::uuid'`,
      'drop auth': 'drop schema auth cascade',
      'take auth over': 'alter schema auth owner to postgres',
      'take a table of auth over': 'alter table auth.users owner to postgres',
      'write into the catalogue': `update pg_catalog.pg_authid set rolsuper = true`,
      'make functions in the catalogue': `create function pg_catalog.evil() returns int language sql as 'select 1'`,
      'enter template1’s rights': 'alter database template1 is_template false',
      'see more of the log': `set log_min_messages = 'debug1'`,
      'lift the limit of temp files': 'set temp_file_limit = -1',
      'end our sessions': `select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '${GATEWAY}'`,
    }

    for (const [what, sql] of Object.entries(denied)) {
      it(what, async () => {
        // 0A000: the extension is not available; 2BP01: what is ours needs it
        const code = await refused(owner, sql)
        assert.match(code, /^(42501|0A000|2BP01)$/)
        await owner.query('drop table if exists pg_temp.out, pg_temp.passwd')
      })
    }

    it('sign in as a role of ours, even with a password that it set itself', async () => {
      for (const role of ['authenticator', 'anon', 'authenticated', 'service_role'])
        await owner.query(`alter role ${role} login password 'known'`)
      for (const role of [...NOLOGIN_ROLES, ADMIN, GATEWAY]) {
        for (const password of ['known', awake.service.secrets.postgres])
          await assert.rejects(awake.connect(role, password), (error: { code: string }) => ['28000', '28P01'].includes(error.code), role)
      }
    })

    it('reach our superuser from another database, nor replicate', async () => {
      await owner.query('create database elsewhere')
      await assert.rejects(awake.connect(ADMIN, awake.service.secrets[ADMIN], 'elsewhere'), { code: '28000' })
      await assert.rejects(awake.connect('postgres', undefined, 'template1'), { code: '42501' })
      const config = { host: awake.at.host, port: 5432, user: 'postgres', password: awake.service.secrets.postgres, replication: 'true' }
      await assert.rejects(new pg.Client(config as pg.ClientConfig).connect(), { code: '28000' })
    })

    it('raise its rights by a SECURITY DEFINER function of ours', async () => {
      const definers = await rows(
        `select oid::regprocedure::text from pg_proc where prosecdef and proowner = '${ADMIN}'::regrole and has_function_privilege('postgres', oid, 'execute')`,
      )
      assert.deepEqual(definers, [])
    })
  })

  it('is told of through the channel when DDL commits, and not for temporary tables', async () => {
    let told = 0
    await awake.cluster.admin(async (client) => {
      client.on('notification', () => told++)
      await client.query(`listen ${DDL_CHANNEL}`)
      await owner.query('create temp table quiet (n int); drop table quiet')
      await owner.query('create table public.loud (n int)')
      await until(async () => (await client.query('select 1')) && told === 1)
      await owner.query('drop table public.loud')
      await until(async () => (await client.query('select 1')) && told === 2)
      await owner.query('grant select on public.notes to anon')
      await until(async () => (await client.query('select 1')) && told === 3)
      await client.query('unlisten *')
      client.removeAllListeners('notification')
    })
  })
})
