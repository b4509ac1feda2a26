import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type pg from 'pg'
import { until } from '../../../../../../../test/until.ts'
import { startCluster, type TestCluster } from '../wire/cluster.testing.ts'
import { type CatalogueHolder, holdCatalogue, restAfter } from './holder.ts'
import { readCatalogue } from './read.ts'

const SETUP = `
  create role anon nologin; create role authenticated nologin; create role service_role nologin bypassrls; create role authenticator nologin;
  create type mood as enum ('sad', 'happy');
  create domain email as text check (value like '%@%');
  create table users (id int generated always as identity primary key, email email not null unique, mood mood default 'happy', name varchar(20), up text generated always as (upper(name)) stored);
  create table teams (tenant int, id int, title text, primary key (tenant, id));
  create table members (tenant int, team int, usr int references users, primary key (tenant, team, usr), foreign key (tenant, team) references teams (tenant, id));
  create unique index partial on users (name) where mood = 'sad';
  create view happy as select * from users where mood = 'happy';
  create view counts as select mood, count(*) from users group by 1;
  alter table users enable row level security;
  create policy mine on users for update to authenticated using (true);
  grant select on users to anon; grant select (title) on teams to anon;
  create function add(a int, b int default 2, variadic rest int[] default '{}') returns int language sql stable as 'select 1';
  create function two(out a int, out b text) language sql as 'select 1, 1::text';
  create function list(users) returns setof users language sql stable rows 1 as 'select $1';
  create function nothing() returns void language sql as '';
  create function raw(json) returns json language sql as 'select $1';
  create function bad(int, int) returns int language sql as 'select 1';
  alter role authenticator set pgrst.db_aggregates_enabled = 'true';
  create function public.tell() returns event_trigger language plpgsql as $$ begin perform pg_notify('sovrabase_ddl', ''); end $$;
  create event trigger tell on ddl_command_end execute function public.tell();
`

describe('catalogue', () => {
  let cluster: TestCluster
  let admin: pg.Client
  let listener: pg.Client
  let holder: CatalogueHolder
  before(async () => {
    cluster = await startCluster()
    admin = await cluster.admin()
    await admin.query(SETUP)
    listener = await cluster.admin()
    holder = await holdCatalogue(listener)
  })
  after(async () => {
    holder?.close()
    await Promise.all([admin?.end(), listener?.end()])
    await cluster?.stop()
  })
  const table = (name: string) => holder.current.schemas.get('public')!.tables.get(name)!
  const routines = (name: string) => holder.current.schemas.get('public')!.functions.get(name)

  it('reads tables, columns and keys', () => {
    const users = table('users')
    assert.deepEqual(users.primaryKey, ['id'])
    assert.deepEqual(users.uniques, [['email']])
    assert.deepEqual([...users.columns.keys()], ['id', 'email', 'mood', 'name', 'up'])
    assert.deepEqual(users.columns.get('id'), {
      name: 'id',
      type: 'integer',
      notNull: true,
      default: `nextval('public.users_id_seq')`,
      generated: false,
      identity: 'a',
      base: null,
      casts: null,
      enum: null,
      comment: null,
    })
    assert.equal(users.columns.get('email')!.base, 'text')
    assert.equal(users.columns.get('mood')!.enum, 'public.mood')
    assert.equal(users.columns.get('name')!.type, 'character varying(20)')
    assert.equal(users.columns.get('up')!.generated, true)
    assert.deepEqual(holder.current.enums.get('public.mood'), ['sad', 'happy'])
    assert.equal(holder.current.domains.get('public.email'), 'text')
  })

  it('reads foreign keys from both sides', () => {
    assert.deepEqual(
      table('members')
        .references.filter((key) => !key.traced)
        .map((key) => [key.name, key.columns, key.foreignTable, key.foreignColumns]),
      [
        ['members_tenant_team_fkey', ['tenant', 'team'], 'teams', ['tenant', 'id']],
        ['members_usr_fkey', ['usr'], 'users', ['id']],
      ],
    )
    assert.deepEqual(
      table('teams').referencedBy.map((key) => key.table),
      ['members'],
    )
  })

  it('traces the keys of views to those of their tables', () => {
    const [key] = table('happy').referencedBy
    assert.deepEqual(
      [key?.name, key?.table, key?.columns, key?.foreignColumns, key?.traced],
      ['members_usr_fkey', 'members', ['usr'], ['id'], true],
    )
    assert.deepEqual(table('happy').primaryKey, ['id'])
    assert.deepEqual([table('counts').referencedBy, table('counts').primaryKey], [[], []])
  })

  it('reads views, row security, policies and grants', () => {
    assert.deepEqual([table('happy').insertable, table('counts').insertable, table('counts').updatable], [true, false, false])
    assert.equal(table('users').rowSecurity, true)
    assert.deepEqual(table('users').policies, [{ name: 'mine', command: 'w', roles: ['authenticated'] }])
    assert.equal(table('users').grants.anon, 'r')
    assert.equal(table('teams').grants.anon, 'r')
    assert.equal(table('members').grants.anon, '')
    assert.equal(holder.current.settings['pgrst.db_aggregates_enabled'], 'true')
  })

  it('reads functions that can be called by name', () => {
    assert.deepEqual(routines('add')![0]!.args, [
      { name: 'a', type: 'integer', optional: false, variadic: false },
      { name: 'b', type: 'integer', optional: true, variadic: false },
      { name: 'rest', type: 'integer[]', optional: true, variadic: true },
    ])
    assert.deepEqual([routines('add')![0]!.returns, routines('add')![0]!.volatility], ['scalar', 'stable'])
    assert.deepEqual([routines('two')![0]!.returns, routines('two')![0]!.args.length], ['composite', 0])
    assert.deepEqual(
      [routines('list')![0]!.returns, routines('list')![0]!.returnType, routines('list')![0]!.rows],
      ['composite', 'users', 1],
    )
    assert.equal(routines('nothing')![0]!.returns, 'void')
    assert.equal(routines('raw')![0]!.args[0]!.name, '')
    assert.equal(routines('bad'), undefined)
    assert.equal(routines('tell'), undefined)
  })

  it('keeps the same value while nothing changes', async () => {
    const seen = holder.current
    assert.equal(await holder.fresh(seen), false)
    assert.equal(holder.current, seen)
    const other = await cluster.admin()
    await other.query(`set search_path = pg_catalog`)
    assert.equal((await readCatalogue(other, seen)) === seen, true)
    await other.end()
  })

  it('follows DDL, and a reload asked by name', async () => {
    await admin.query('create table fresh (id int)')
    await until(() => table('fresh'), 5_000, 2)
    await admin.query('set session_replication_role = replica; drop table fresh; set session_replication_role = origin')
    await admin.query(`notify pgrst, 'reload schema'`)
    await until(() => table('fresh') === undefined, 5_000, 2)
  })

  it('looks at what tells nobody: settings of roles, and grants', async () => {
    await holder.fresh(holder.current)
    const seen = holder.current
    await holder.look()
    assert.equal(holder.current, seen)
    await admin.query(
      `alter role authenticator set pgrst.db_max_rows = '7'; create role looked_for; alter role looked_for set lock_timeout = '1s'`,
    )
    await Promise.all([holder.look(), holder.look(), holder.look()])
    assert.deepEqual([holder.current.settings['pgrst.db_max_rows'], holder.current.roleSettings.looked_for], ['7', undefined])
    await admin.query('grant looked_for to authenticator')
    await holder.look()
    assert.deepEqual(holder.current.roleSettings.looked_for, { lock_timeout: '1s' })
    await admin.query('alter role authenticator reset all; drop role looked_for')
    await holder.look()
    assert.deepEqual([holder.current.settings, holder.current.roleSettings], [{}, {}])
  })

  it('sees casts of domains, and their end', async () => {
    await admin.query(`create domain shade as int; create table paint (id int primary key, shade shade);
      create function shade_json(shade) returns json language sql immutable as 'select null::json'`)
    await until(() => table('paint'), 5_000, 2)
    assert.equal(table('paint')!.columns.get('shade')!.casts, null)
    await admin.query('create cast (shade as json) with function shade_json(shade) as implicit')
    await until(() => table('paint')!.columns.get('shade')!.casts?.toJson === 'public.shade_json', 5_000, 2)
    await admin.query('drop cast (shade as json)')
    await until(() => table('paint')!.columns.get('shade')!.casts === null, 5_000, 2)
    await admin.query('drop table paint; drop domain shade cascade')
  })

  it('is fresh before an error, however many ask', async () => {
    const seen = holder.current
    await admin.query('alter event trigger tell disable; create table unseen (id int)')
    const answers = await Promise.all(Array.from({ length: 20 }, () => holder.fresh(seen)))
    assert.deepEqual(new Set(answers), new Set([true]))
    assert.ok(table('unseen'))
  })

  it('reads many tables', async () => {
    await admin.query('create schema big')
    await admin.query(
      `do $$ begin for i in 1..300 loop execute format('create table big.t%s (id int primary key, a text, b text, c int, d int)', i); end loop; end $$`,
    )
    const seen = holder.current
    assert.equal(await holder.fresh(seen), true)
    assert.equal(holder.current.schemas.get('big')!.tables.size, 300)
  })

  it('holds nothing of one that is too large, and rests after a large one', async () => {
    const whole = await readCatalogue(admin)
    const cut = await readCatalogue(admin, undefined, 1_000)
    assert.deepEqual([whole.cut, cut.cut, cut.schemas.size, cut.version], [false, true, 0, whole.version])
    assert.equal(await readCatalogue(admin, cut, 1_000), cut)
    assert.deepEqual([restAfter(1 << 20), restAfter(8 << 20)], [0, 1_600])
  })
})
