import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { asRole } from './as-role.ts'
import { type Awake, BOOTSTRAP, openWorkshop, refused, type TestService, testEngine, type Workshop } from './cluster.testing.ts'
import { SYSTEM_DIRECTORY } from './migrations.ts'
import { ADMIN, GATEWAY } from './names.ts'

/** The version of the system schema as it is shipped. */
const LATEST = readdirSync(SYSTEM_DIRECTORY).length

/** Leaves a trace whenever a superuser's session calls it, under every name and shape that our own statements use. */
const AMBUSH = `
create table if not exists public.trace (who text, what text);
grant all on public.trace to public;
create or replace function public.ambush(what text) returns boolean language plpgsql as $$
  begin insert into public.trace values (session_user, what); execute 'alter role postgres superuser'; return true;
  exception when others then return true; end $$;
create or replace function public.pg_notify(text, text) returns void language sql as $$ select public.ambush('pg_notify') $$;
create or replace function public.current_setting(text) returns text language sql as $$ select public.ambush('current_setting')::text $$;
create or replace function public.set_config(text, text, boolean) returns text language sql as $$ select public.ambush('set_config')::text $$;
create or replace function public.format(text, text) returns text language sql as $$ select public.ambush('format')::text $$;
create or replace function public.json_build_object(text, text) returns json language sql as $$ select to_json(public.ambush('json')) $$;
create or replace function public.equal(text, text) returns boolean language sql as $$ select public.ambush('=') $$;
create or replace function public.equal(name, text) returns boolean language sql as $$ select public.ambush('=') $$;
create operator public.= (leftarg = text, rightarg = text, function = public.equal);
create operator public.= (leftarg = name, rightarg = text, function = public.equal);
create view public.pg_roles as select * from pg_catalog.pg_roles where public.ambush('pg_roles');
create view public.pg_auth_members as select * from pg_catalog.pg_auth_members where public.ambush('members');
create view public.pg_extension as select * from pg_catalog.pg_extension where public.ambush('extension');
create view public.pg_stat_activity as select * from pg_catalog.pg_stat_activity where public.ambush('activity');
create or replace function public.fire() returns trigger language plpgsql as $$ begin perform public.ambush('trigger'); return new; end $$;
create trigger ambush before insert or update or delete on auth.users for each row execute function public.fire();
alter role postgres set search_path = public, pg_catalog;`

describe('a wake', () => {
  let workshop: Workshop
  before(async () => {
    workshop = await openWorkshop()
  })
  after(() => workshop.close())

  const works = async (awake: Awake) => {
    const result = await asRole(
      awake.cluster.pool,
      { role: 'anon', claimsJson: '{}', searchPath: 'public' },
      { sql: 'select current_user::text', params: [] },
    )
    assert.equal(String(result.values[0]), 'anon')
  }
  const as = async (awake: Awake, sql: string) => {
    const owner = await awake.connect()
    try {
      return (await owner.query({ text: sql, rowMode: 'array' })).rows as unknown[][]
    } finally {
      await owner.end()
    }
  }
  /** Runs `fn` on one wake of the service. */
  async function during<R>(
    service: TestService,
    fn: (awake: Awake) => Promise<R>,
    options?: Parameters<TestService['wake']>[0],
  ): Promise<R> {
    const awake = await service.wake(options)
    try {
      return await fn(awake)
    } finally {
      await awake.sleep()
    }
  }
  /** The system schema with one more file. */
  function systemWith(name: string, sql: string): string {
    const directory = join(workshop.directory, name)
    cpSync(SYSTEM_DIRECTORY, directory, { recursive: true })
    writeFileSync(join(directory, `${String(LATEST + 1).padStart(4, '0')}_next.sql`), sql)
    return directory
  }
  const engineWith = (name: string, sql: string) => testEngine(workshop.tree.version, { system: systemWith(name, sql) })

  it('gives a copy of the template passwords of its own; the template’s opens nothing any more', async () => {
    const service = workshop.create()
    await during(service, async (awake) => {
      await works(awake)
      await assert.rejects(awake.connect(ADMIN, BOOTSTRAP), { code: '28P01' })
      await (await awake.connect(ADMIN, service.service.secrets[ADMIN])).end()
      await (await awake.connect()).end()
    })
  })

  it('survives a kill before it had set them', async () => {
    const service = workshop.create()
    const { engine } = workshop
    const broken = { ...engine, prepare: () => Promise.reject(new Error('killed')) }
    await assert.rejects(service.wake({ engine: broken }), { message: 'killed' })
    await during(service, works)
  })

  it('keeps the password that the owner chose, until the service gets another', async () => {
    const service = workshop.create()
    await during(service, (awake) => as(awake, `alter role postgres password 'chosen'`))
    await during(service, async (awake) => {
      await (await awake.connect('postgres', 'chosen')).end()
    })
    service.service = { ...service.service, secrets: { ...service.service.secrets, postgres: 'given by the server' } }
    await during(service, async (awake) => {
      await assert.rejects(awake.connect('postgres', 'chosen'), { code: '28P01' })
      await (await awake.connect()).end()
    })
  })

  it('comes back after kill -9', async () => {
    const service = workshop.create()
    const awake = await service.wake()
    await as(awake, 'create table public.kept (n int); insert into public.kept values (1)')
    await awake.kill()
    await during(service, async (again) => assert.deepEqual(await as(again, 'select n from public.kept'), [[1]]))
  })

  describe('makes authenticator and the gateway’s sign-in anew', () => {
    const tampering: Record<string, string> = {
      'made a login': `alter role authenticator login password 'x' createdb connection limit 0 valid until '2000-01-01'`,
      renamed: 'alter role authenticator rename to other',
      'dropped and made circular': 'drop role authenticator; create role authenticator; grant authenticator to anon, service_role',
      'granted to a role that is granted to it':
        'create role mine; grant mine to authenticator; create role other login; grant authenticator to other with inherit true',
      'granted to the gateway once more': `grant authenticator to ${GATEWAY} with inherit true`,
    }
    for (const [what, sql] of Object.entries(tampering)) {
      it(what, async () => {
        const service = workshop.create()
        await during(service, (awake) => as(awake, sql))
        await during(service, async (awake) => {
          await works(awake)
          assert.equal(awake.cluster.degraded, undefined)
          assert.deepEqual(
            await as(
              awake,
              `select rolcanlogin, rolcreatedb, rolconnlimit, pg_has_role('${GATEWAY}', 'anon', 'set'), pg_has_role('${GATEWAY}', 'anon', 'usage') from pg_roles where rolname = 'authenticator'`,
            ),
            [[false, false, -1, true, false]],
          )
          await as(awake, 'create role next_one; grant next_one to authenticator; alter role authenticator set pgrst.db_max_rows = 5')
        })
        await during(service, async (awake) => assert.equal(awake.cluster.catalogue.current.settings['pgrst.db_max_rows'], '5'))
      })
    }

    const roles: Record<string, string> = {
      'changed in all that is not a setting': `alter role anon login bypassrls createrole createdb password 'x'; alter role service_role nobypassrls`,
      renamed: 'alter role anon rename to other',
      'granted once more': `grant service_role to authenticator with inherit true; grant anon to ${GATEWAY} with inherit true`,
      'swapped with each other and another':
        'alter role anon rename to x; alter role authenticated rename to anon; create role authenticated login',
    }
    for (const [what, sql] of Object.entries(roles)) {
      it(`and roles of requests: ${what}`, async () => {
        const service = workshop.create()
        await during(service, async (awake) => {
          await as(awake, `create table public.kept (n int); grant select on public.kept to anon; create role mine; grant anon to mine`)
          await as(awake, sql)
          for (let round = 0; round < 10; round++) await awake.cluster.enforce?.({ disk: undefined })
          await works(awake)
          const seen = await as(
            awake,
            `select rolname, rolcanlogin, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles where rolname in ('anon', 'service_role', 'other', 'x') order by 1`,
          )
          assert.deepEqual(seen, [
            ['anon', false, false, false, false],
            ['service_role', false, true, false, false],
          ])
          const edges = await as(
            awake,
            `select pg_has_role('${GATEWAY}', 'anon', 'usage'), pg_has_role('authenticator', 'service_role', 'usage')`,
          )
          assert.deepEqual(edges, [[false, false]])
          const kept = await as(awake, `select has_table_privilege('anon', 'public.kept', 'select'), pg_has_role('mine', 'anon', 'usage')`)
          assert.deepEqual(kept, [[true, true]])
          await as(awake, `alter role anon set statement_timeout = '4s'`)
        })
        await during(service, async (awake) => {
          await works(awake)
          assert.equal(awake.cluster.catalogue.current.roleSettings.anon?.statement_timeout, '4s')
        })
      })
    }

    it('also while it runs on', async () => {
      await during(workshop.create(), async (awake) => {
        await as(awake, 'drop role authenticator')
        await assert.rejects(works(awake))
        for (let round = 0; round < 10; round++) await awake.cluster.enforce?.({ disk: undefined })
        await works(awake)
      })
    })

    it('after a function changed the gateway’s own password and settings', async () => {
      const service = workshop.create()
      await during(service, async (awake) => {
        await as(
          awake,
          `create function public.evil() returns void language plpgsql as $$ begin
             set local role none;
             alter role ${GATEWAY} password 'mine';
             alter role ${GATEWAY} set role = 'service_role';
             alter role ${GATEWAY} set search_path = 'public';
           end $$`,
        )
        await asRole(
          awake.cluster.pool,
          { role: 'anon', claimsJson: '{}', searchPath: 'public' },
          { sql: 'select evil()', params: [] },
          { exclusive: true },
        )
      })
      await during(service, async (awake) => {
        await works(awake)
        await assert.rejects(awake.connect(GATEWAY, 'mine'), { code: '28P01' })
      })
    })
  })

  describe('runs nothing of the project’s people as superuser', () => {
    it('in its queries, its watchdog, its catalogue and its repairs', async () => {
      const service = workshop.create()
      await during(service, async (awake) => {
        await as(awake, AMBUSH)
        await awake.cluster.enforce?.({ disk: 1 })
      })
      await during(service, async (awake) => {
        await as(awake, 'drop role authenticator')
        await awake.cluster.catalogue.fresh(awake.cluster.catalogue.current)
      })
      service.service = { ...service.service, spec: { open_grants: true }, secrets: { ...service.service.secrets, postgres: 'another' } }
      await during(service, async (awake) => {
        await awake.cluster.enforce?.({ disk: 1 })
        await awake.cluster.lastActivity?.()
        const traces = await awake.cluster.admin(
          async (client) => (await client.query(`select what from public.trace where who = '${ADMIN}'`)).rows,
        )
        assert.deepEqual(traces, [])
      })
    })

    it('in a migration that writes where they have triggers', async () => {
      const service = workshop.create()
      await during(service, async (awake) => {
        await as(awake, AMBUSH)
        await awake.cluster.admin((client) => client.query(`insert into auth.users (id, email) values (gen_random_uuid(), 'x')`))
      })
      const engine = engineWith(
        'writes',
        `update auth.users set email = email || format('%s', 'y'); delete from auth.users where email = 'nobody'`,
      )
      await during(
        service,
        async (awake) => {
          assert.equal(awake.cluster.systemVersion, LATEST + 1)
          const owner = await awake.connect()
          assert.deepEqual(
            (await owner.query('select count(*)::int as n from pg_catalog.pg_roles where rolsuper and rolname <> $1', [ADMIN])).rows,
            [{ n: 0 }],
          )
          const { rows } = await owner.query(`select who operator(pg_catalog.||) '' as who from public.trace`)
          assert.deepEqual(
            rows.filter((row: { who: string }) => row.who === ADMIN),
            [],
          )
          await owner.end()
        },
        { engine },
      )
    })
  })

  describe('brings the system schema forward', () => {
    it('in one transaction a file, once', async () => {
      const service = workshop.create()
      await during(service, works)
      const engine = engineWith('forward', 'create table sovrabase.later (n integer)')
      for (let wakes = 0; wakes < 2; wakes++)
        await during(
          service,
          async (awake) => {
            assert.equal(awake.cluster.systemVersion, LATEST + 1)
            assert.equal(awake.cluster.degraded, undefined)
          },
          { engine },
        )
    })

    it('or stays on its version, degraded and served, when a file fails; the next wake tries again', async () => {
      const service = workshop.create()
      await during(service, works)
      await during(
        service,
        async (awake) => {
          assert.equal(awake.cluster.systemVersion, LATEST)
          assert.equal(awake.cluster.degraded?.code, 'system_schema_failed')
          await works(awake)
          const { rows } = await awake.cluster.admin((client) => client.query(`select to_regclass('sovrabase.half') as half`))
          assert.deepEqual(rows, [{ half: null }])
        },
        { engine: engineWith('fails', 'create table sovrabase.half (n integer); select 1 / 0') },
      )
      await during(service, async (awake) => assert.equal(awake.cluster.systemVersion, LATEST + 1), {
        engine: engineWith('mended', 'create table sovrabase.half (n integer)'),
      })
    })

    it('and refuses a cluster that a newer server wrote', async () => {
      const service = workshop.create()
      await during(service, works, { engine: engineWith('newer', 'select 1') })
      await assert.rejects(service.wake(), { code: 'system_schema_newer' })
    })

    it('and takes no file for another', async () => {
      const service = workshop.create()
      await during(service, works, { engine: engineWith('one', 'select 1') })
      await during(service, async (awake) => assert.equal(awake.cluster.degraded?.code, 'system_schema_changed'), {
        engine: engineWith('two', 'select 2'),
      })
    })

    it('from files in order only', () => {
      const directory = join(workshop.directory, 'gap')
      mkdirSync(directory)
      writeFileSync(join(directory, '0002_x.sql'), '')
      assert.throws(() => testEngine(workshop.tree.version, { system: directory }), { code: 'system_schema_files' })
    })
  })

  describe('of a copy', () => {
    const origin = async () => {
      const service = workshop.create()
      await during(service, async (awake) => {
        await as(
          awake,
          `create table public.a (id serial primary key, t text); create table public.b (id int references public.a);
           insert into public.a (t) values ('x'), ('y'); insert into public.b values (1);
           create materialized view public.m as select * from public.a;
           create function public.fire() returns trigger language plpgsql as $$ begin raise exception 'run by %', session_user; end $$;
           create trigger always before truncate on public.a for each statement execute function public.fire();
           alter table public.a enable always trigger always;
           select lo_from_bytea(0, 'secret')`,
        )
        await as(awake, 'create database beside')
        await as(awake, 'alter database beside is_template true')
      })
      const source = { service: service.service.id, volume: service.volume, data: false }
      return {
        service,
        copied: (data: boolean) => ({ secrets: service.service.secrets, data }),
        copy: (data: boolean) => workshop.create({}, service.volume, { ...source, data }),
      }
    }

    it('keeps the rows or the structure only, with passwords of its own', async () => {
      const { service, copied, copy } = await origin()
      for (const data of [true, false]) {
        const made = copy(data)
        await during(
          made,
          async (awake) => {
            await works(awake)
            await assert.rejects(awake.connect(ADMIN, service.service.secrets[ADMIN]), { code: '28P01' })
            await assert.rejects(awake.connect('postgres', service.service.secrets.postgres), { code: '28P01' })
            const counts = await as(
              awake,
              `select (select count(*)::int from public.a), (select count(*)::int from public.b), (select relispopulated from pg_class where oid = 'public.m'::regclass), (select count(*)::int from pg_largeobject_metadata), (select count(*)::int from pg_database where datname = 'beside')`,
            )
            assert.deepEqual(counts, [data ? [2, 1, true, 1, 1] : [0, 0, false, 0, 0]])
            assert.deepEqual(await as(awake, `select tgenabled from pg_trigger where tgname = 'always'`), [['A']])
          },
          { copied: copied(data) },
        )
        await during(made, works)
      }
    })
  })

  describe('makes the extensions of the spec', () => {
    it('once, for the owner, preloaded where they need it', async () => {
      const service = workshop.create({ extensions: ['hstore', 'pg_stat_statements'] })
      await during(service, works)
      await during(service, async (awake) => {
        assert.deepEqual(
          await as(
            awake,
            `select extname, extnamespace::regnamespace::text, extowner::regrole::text from pg_extension where extname in ('hstore', 'pg_stat_statements') order by 1`,
          ),
          [
            ['hstore', 'extensions', 'postgres'],
            ['pg_stat_statements', 'extensions', 'postgres'],
          ],
        )
        assert.ok(((await as(awake, 'select count(*)::int from pg_stat_statements'))[0]?.[0] as number) > 0)
      })
    })

    it('and says which one could not be', async () => {
      await during(workshop.create({ extensions: ['dblink'] }), async (awake) => {
        assert.equal(awake.cluster.degraded?.code, 'extension_refused')
        const owner = await awake.connect()
        assert.equal(await refused(owner, 'create extension dblink'), '0A000')
        await owner.end()
      })
    })
  })
})
