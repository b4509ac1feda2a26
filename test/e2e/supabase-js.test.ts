/** The unmodified supabase-js against a real server: by path and by host. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { Agent, fetch as undiciFetch } from 'undici'
import { startServer, type TestServer } from '../node.ts'
import { createProject, type Keys, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const ALICE = '0192f0c1-2b3c-7d4e-8f5a-000000000001'
const BOB = '0192f0c1-2b3c-7d4e-8f5a-000000000002'

const SQL = `
create table public.notes (
  id bigint generated always as identity primary key,
  title text not null unique,
  stars int not null default 0,
  tags text[] not null default '{}',
  owner uuid not null default auth.uid()
);
create table public.comments (
  id bigint generated always as identity primary key,
  note bigint not null references public.notes,
  body text not null,
  owner uuid not null default auth.uid()
);
alter table public.notes enable row level security;
alter table public.comments enable row level security;
grant select on public.notes, public.comments to anon;
grant select, insert, update, delete on public.notes, public.comments to authenticated;
create policy own_notes on public.notes for all to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
create policy own_comments on public.comments for all to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
create function public.add(a int, b int) returns int language sql immutable as 'select a + b';
create function public.whoami() returns json language sql stable as
  $$ select json_build_object('uid', auth.uid(), 'role', auth.role(), 'email', auth.email()) $$;
grant execute on function public.add, public.whoami to anon, authenticated;
-- A helper that keeps the first answer in a setting, as people write it to save calls.
create function public.memoised_uid() returns text language plpgsql as $$
begin
  if coalesce(current_setting('app.uid', true), '') = '' then
    perform set_config('app.uid', coalesce(auth.uid()::text, ''), true);
  end if;
  return current_setting('app.uid', true);
end $$;
grant execute on function public.memoised_uid to anon, authenticated;
create table public.private_notes (id int primary key, owner text not null);
alter table public.private_notes enable row level security;
grant select on public.private_notes to authenticated;
create policy memo on public.private_notes for select to authenticated using (owner = public.memoised_uid());
insert into public.private_notes values (1, '${ALICE}'), (2, '${BOB}');
`

let server: TestServer
let project: TestProject
let other: TestProject

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_API_BASE_DOMAIN: 'localhost', SOVRABASE_API_PATH_FORM: 'true' } })
  project = await createProject(server, 'notes')
  other = await createProject(server, 'other')
  await project.sql(SQL)
  await other.sql('create table public.notes (id int primary key); grant select on public.notes to anon')
})
after(() => server?.stop())

/** This machine may not resolve names below localhost: they are all here. */
const here = new Agent({
  connect: {
    lookup: (_name, options, answer) => (options.all ? answer(null, [{ address: '127.0.0.1', family: 4 }]) : answer(null, '127.0.0.1', 4)),
  },
})
after(() => here.close())
const byName = ((input: string, init?: object) => undiciFetch(input, { ...init, dispatcher: here })) as unknown as typeof fetch

const FORMS = ['path', 'host'] as const
type Form = (typeof FORMS)[number]

function client(form: Form, key: string, at: TestProject = project, token?: string): SupabaseClient {
  const { port } = new URL(server.url)
  const url = form === 'path' ? `http://127.0.0.1:${port}/p/${at.ref}` : `http://${at.ref}.localhost:${port}`
  return createClient(url, key, {
    auth: { persistSession: false, autoRefreshToken: false },
    global: {
      ...(form === 'host' ? { fetch: byName } : {}),
      ...(token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } }),
    },
  })
}

function must<T>(answer: { data: T; error: unknown }): NonNullable<T> {
  assert.equal(answer.error, null, JSON.stringify(answer.error))
  return answer.data as NonNullable<T>
}

for (const form of FORMS) {
  describe(`by ${form}`, () => {
    const titles = (n: number) =>
      Array.from({ length: n }, (_, i) => ({ title: `${form} ${i}`, stars: i, tags: i % 2 ? ['odd'] : ['even'] }))
    let user: SupabaseClient

    before(async () => {
      user = client(form, project.anon, project, await project.token(ALICE, { claims: { email: 'alice@example.org' } }))
    })

    test('inserts one and many, reads, updates, deletes', async () => {
      const one = must(
        await user
          .from('notes')
          .insert({ title: `${form} one` })
          .select()
          .single(),
      )
      assert.equal(one.owner, ALICE)
      const many = must(await user.from('notes').insert(titles(10)).select('id,title'))
      assert.equal(many.length, 10)
      const changed = must(await user.from('notes').update({ stars: 99 }).eq('id', one.id).select('stars').single())
      assert.equal(changed.stars, 99)
      const gone = await user.from('notes').delete().eq('id', one.id)
      assert.equal(gone.status, 204)
      assert.deepEqual(must(await user.from('notes').select().eq('id', one.id)), [])
    })

    test('filters, orders, ranges and counts', async () => {
      const mine = () => user.from('notes').select('title,stars', { count: 'exact' }).like('title', `${form} %`)
      assert.equal(must(await mine().gte('stars', 8)).length, 2)
      assert.equal(must(await mine().in('stars', [1, 2, 3])).length, 3)
      // A filter of 60 KB: neither its way nor what the answer says of it is too long for `fetch`.
      assert.equal(
        must(
          await mine().in(
            'title',
            Array.from({ length: 1000 }, (_, i) => `${form} ${i} ${'x'.repeat(50)}`),
          ),
        ).length,
        0,
      )
      assert.equal(must(await mine().or('stars.eq.1,stars.gt.7')).length, 3)
      assert.equal(must(await mine().not('stars', 'lt', 5)).length, 5)
      assert.equal(must(await mine().contains('tags', ['odd'])).length, 5)
      assert.equal(must(await mine().ilike('title', `${form.toUpperCase()} 4`)).length, 1)
      const page = await mine().order('stars', { ascending: false }).range(2, 4)
      assert.equal(page.count, 10)
      assert.deepEqual(
        must(page).map((row) => row.stars),
        [7, 6, 5],
      )
      const counted = await user.from('notes').select('*', { count: 'exact', head: true }).like('title', `${form} %`)
      assert.equal(counted.count, 10)
      const renamed = must(await user.from('notes').select('name:title,stars::text').eq('title', `${form} 3`).single()) as unknown
      assert.deepEqual(renamed, { name: `${form} 3`, stars: '3' })
    })

    test('upserts on a conflict', async () => {
      const rows = [
        { title: `${form} 0`, stars: 50 },
        { title: `${form} new`, stars: 51 },
      ]
      const saved = must(await user.from('notes').upsert(rows, { onConflict: 'title' }).select('stars').order('stars'))
      assert.deepEqual(
        saved.map((row) => row.stars),
        [50, 51],
      )
    })

    test('one row, perhaps one row, and too many', async () => {
      const none = await user.from('notes').select().eq('title', 'nothing of that name').maybeSingle()
      assert.deepEqual([none.data, none.error], [null, null])
      const missing = await user.from('notes').select().eq('title', 'nothing of that name').single()
      assert.equal(missing.error?.code, 'PGRST116')
      const many = await user.from('notes').select().like('title', `${form} %`).single()
      assert.equal(many.error?.code, 'PGRST116')
      assert.equal(many.status, 406)
    })

    test('embeds relations both ways', async () => {
      const note = must(await user.from('notes').select('id').eq('title', `${form} 1`).single())
      must(
        await user
          .from('comments')
          .insert([1, 2].map((i) => ({ note: note.id, body: `${form} comment ${i}` })))
          .select(),
      )
      const down = must(await user.from('notes').select('title,comments(body)').eq('id', note.id).single()) as unknown
      assert.deepEqual(down, { title: `${form} 1`, comments: [{ body: `${form} comment 1` }, { body: `${form} comment 2` }] })
      const up = must(await user.from('comments').select('body,notes(title)').eq('body', `${form} comment 1`).single()) as unknown
      assert.deepEqual(up, { body: `${form} comment 1`, notes: { title: `${form} 1` } })
    })

    test('calls functions as the user', async () => {
      assert.equal(must(await user.rpc('add', { a: 40, b: 2 })), 42)
      assert.deepEqual(must(await user.rpc('whoami')), { uid: ALICE, role: 'authenticated', email: 'alice@example.org' })
      assert.deepEqual(must(await client(form, project.anon).rpc('whoami')), { uid: null, role: 'anon', email: null })
    })

    test('errors carry the codes of PostgreSQL and PostgREST', async () => {
      const duplicate = await user.from('notes').insert({ title: `${form} 1` })
      assert.equal(duplicate.error?.code, '23505')
      assert.equal(duplicate.status, 409)
      const table = await user.from('nothing').select()
      assert.equal(table.error?.code, 'PGRST205')
      const column = await user.from('notes').select('colour')
      assert.equal(column.error?.code, '42703')
      const called = await user.rpc('no_such_function')
      assert.equal(called.error?.code, 'PGRST202')
      const refused = await client(form, project.anon).from('notes').insert({ title: 'by nobody', owner: ALICE })
      assert.equal(refused.error?.code, '42501')
      assert.match(refused.error?.hint ?? '', /GRANT|POLICY/i)
    })

    test('rows are guarded by the user of the token', async () => {
      const bob = client(form, project.anon, project, await project.token(BOB))
      assert.deepEqual(must(await bob.from('notes').select().like('title', `${form} %`)), [])
      const stolen = await bob.from('notes').insert({ title: `${form} stolen`, owner: ALICE })
      assert.equal(stolen.error?.code, '42501')
      assert.deepEqual(must(await client(form, project.anon).from('notes').select()), [])
      assert.ok(must(await client(form, project.service).from('notes').select('id')).length >= 10)
    })

    test('a policy that memoises the user never shows the rows of another', async () => {
      const tokens = await Promise.all([project.token(ALICE), project.token(BOB)])
      const people = tokens.map((token) => client(form, project.anon, project, token))
      const rounds = Array.from({ length: 40 }, (_, i) => i % 2)
      const seen = await Promise.all(rounds.map(async (who) => must(await people[who]!.from('private_notes').select('id'))))
      for (const [i, rows] of seen.entries()) assert.deepEqual(rows, [{ id: rounds[i]! + 1 }])
    })

    test('keys and tokens of one project are refused by another', async () => {
      const before = await other.token(ALICE)
      for (const key of [other.anon, other.service, ...other.secrets.keys.map((known) => known.key)]) {
        const answer = await client(form, key).from('notes').select()
        assert.equal(answer.status, 401, `${key.slice(0, 20)}… was taken`)
      }
      const mixed = await client(form, project.anon, project, before).from('notes').select()
      assert.equal(mixed.status, 401)
      assert.equal((await client(form, 'sb_publishable_nothing').from('notes').select()).status, 401)
      assert.equal((await client(form, `${project.anon}x`).from('notes').select()).status, 401)
    })
  })
}

test('a batch by plain fetch is one transaction, and one run of its key', async () => {
  await project.sql(
    'create table public.carts (id bigint generated always as identity primary key, note text not null); grant all on public.carts to service_role',
  )
  const send = (list: unknown) =>
    fetch(`${server.url}/p/${project.ref}/rest/v1/`, {
      method: 'POST',
      headers: { apikey: project.service, 'content-type': 'application/vnd.sovrabase.batch+json', 'idempotency-key': 'cart-1' },
      body: JSON.stringify(list),
    })
  const first = { method: 'POST', path: '/carts', headers: { Prefer: 'return=representation' }, body: { note: 'one' } }
  const failed = await send([first, { method: 'POST', path: '/carts', body: { note: null } }])
  assert.deepEqual([failed.status, ((await failed.json()) as { index: number }).index], [400, 1])
  const good = [first, { method: 'PATCH', path: '/carts?id=eq.$0.id', headers: first.headers, body: { note: 'two' } }]
  const answers = await Promise.all([send(good), send(good)])
  const [a, b] = await Promise.all(answers.map((answer) => answer.text()))
  assert.deepEqual([answers[0]?.status, a], [200, b])
  assert.deepEqual(await project.sql('select note from public.carts'), [{ note: 'two' }])
})

test('opaque keys have the roles of their kinds', async () => {
  const text = (kind: string) => project.secrets.keys.find((key) => key.kind === kind)?.key ?? ''
  assert.match(text('publishable'), /^sb_publishable_/)
  assert.match(text('secret'), /^sb_secret_/)
  assert.equal((must(await client('path', text('publishable')).rpc('whoami')) as { role: string }).role, 'anon')
  assert.ok(must(await client('path', text('secret')).from('notes').select('id')).length > 0)
  const user = client('path', text('publishable'), project, await project.token(ALICE))
  assert.equal((must(await user.rpc('whoami')) as { uid: string }).uid, ALICE)
})

test('a revoked key is refused at once', async () => {
  const made = await server.api<{ id: string; key: string }>('POST', `/projects/${project.ref}/keys`, { name: 'short', kind: 'secret' })
  assert.equal(made.status, 201)
  const fresh = client('path', made.body.key)
  must(await fresh.from('notes').select('id').limit(1))
  assert.equal((await server.api('DELETE', `/projects/${project.ref}/keys/${made.body.id}`)).status, 204)
  assert.equal((await fresh.from('notes').select('id').limit(1)).status, 401)
})

test('after a rotation the former key and the new one are good until the overlap is over', async () => {
  const former = { key: other.anon, token: await other.token(ALICE) }
  const rotated = await server.api<Keys>('POST', `/projects/${other.ref}/keys/rotate`, { overlap: '1h' })
  assert.equal(rotated.status, 200, JSON.stringify(rotated.body))
  assert.notEqual(rotated.body.anon_key, former.key)
  for (const key of [former.key, rotated.body.anon_key]) must(await client('path', key, other).from('notes').select())
  assert.notEqual((await client('path', rotated.body.anon_key, other, former.token).rpc('nothing')).status, 401)

  const second = await server.api<Keys>('POST', `/projects/${other.ref}/keys/rotate`, { overlap: '1s' })
  await until(async () => (await client('path', rotated.body.anon_key, other).from('notes').select()).status === 401)
  must(await client('path', second.body.anon_key, other).from('notes').select())
})
