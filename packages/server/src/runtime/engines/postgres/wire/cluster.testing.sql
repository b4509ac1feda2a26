create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role editor nologin;
create role authenticator nologin noinherit;
grant anon, authenticated, service_role, editor to authenticator with inherit false, set true;
create role sovrabase_gateway login noinherit password 'gateway-password';
grant authenticator to sovrabase_gateway with inherit false, set true;

create schema auth;
grant usage on schema auth to anon, authenticated, service_role, editor;
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
-- As found in the wild: remembers the user in a setting, which lives as long as its transaction.
create function auth.memoised_uid() returns uuid language plpgsql volatile as $$
begin
  if coalesce(current_setting('memo.uid', true), '') = '' then
    perform set_config('memo.uid', auth.uid()::text, true);
  end if;
  return current_setting('memo.uid')::uuid;
end $$;

create table public.todos(id bigserial primary key, owner uuid not null, title text not null, done boolean not null default false, inserted_at timestamptz not null default now());
create index on public.todos(owner, id);
alter table public.todos enable row level security;
create policy own on public.todos for all to authenticated, editor using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
create policy everyone on public.todos for select to anon using (id <= 1000);
grant select, insert, update, delete on public.todos to authenticated, editor, service_role;
grant select on public.todos to anon;
grant usage on sequence public.todos_id_seq to authenticated, editor, service_role;

create table public.memo(owner uuid primary key, secret text not null);
alter table public.memo enable row level security;
create policy own on public.memo using (owner = auth.memoised_uid());
grant select on public.memo to authenticated;

create schema hidden;
create table hidden.things(id int primary key, name text);
insert into hidden.things values (1, 'seen by editors only');
grant usage on schema hidden to editor;
grant select on hidden.things to editor;
