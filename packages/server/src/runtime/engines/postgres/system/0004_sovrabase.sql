-- What only the server writes, and the gate of compiled policies.
grant usage on schema sovrabase to public;

-- What a wake has applied (fingerprints, switches), so that an unchanged one costs no statement.
create table sovrabase.applied (
  name text primary key,
  value text not null,
  applied_at timestamptz not null default now()
);

-- Claims that a session cannot forge: session_user is the sign-in, which no SET changes. Only the gateway speaks for others;
-- another login has no claims until some are recorded for it.
create function sovrabase.claims() returns jsonb language sql stable
  return case when session_user = 'sovrabase_gateway' then nullif(current_setting('request.jwt.claims', true), '')::jsonb end;

create function sovrabase.claim(name text) returns text language sql stable
  return sovrabase.claims() ->> name;

-- The grants that Supabase projects start with: on, for what is there and what comes; off, for what comes (nothing is revoked
-- behind people's backs). For `postgres`, whose tables they are, and for the server.
create function sovrabase.open_grants(wanted boolean) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if wanted then
    grant all on all tables in schema public to anon, authenticated, service_role;
    grant all on all sequences in schema public to anon, authenticated, service_role;
    grant all on all routines in schema public to anon, authenticated, service_role;
    alter default privileges for role postgres in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges for role postgres in schema public grant all on sequences to anon, authenticated, service_role;
    alter default privileges for role postgres in schema public grant all on routines to anon, authenticated, service_role;
  else
    alter default privileges for role postgres in schema public revoke all on tables from anon, authenticated;
    alter default privileges for role postgres in schema public revoke all on sequences from anon, authenticated;
    alter default privileges for role postgres in schema public revoke all on routines from anon, authenticated;
  end if;
end
$$;
revoke all on function sovrabase.open_grants(boolean) from public;
grant execute on function sovrabase.open_grants(boolean) to postgres;

-- Tells the server that its catalogue is stale. Fires for what changes tables, columns, keys, functions, types, policies, grants on
-- objects and comments. Does NOT fire for shared objects: roles, role memberships, ALTER ROLE SET, databases, parameters; so a reader
-- of those looks again at its own occasion. Temporary objects are left out: they are nobody else's.
create function sovrabase.on_ddl_end() returns event_trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from pg_event_trigger_ddl_commands() where schema_name is distinct from 'pg_temp') then
    perform pg_notify('sovrabase_ddl', '');
  end if;
end
$$;

create function sovrabase.on_sql_drop() returns event_trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from pg_event_trigger_dropped_objects() where not is_temporary) then
    perform pg_notify('sovrabase_ddl', '');
  end if;
end
$$;

create event trigger sovrabase_ddl_end on ddl_command_end execute function sovrabase.on_ddl_end();
create event trigger sovrabase_sql_drop on sql_drop execute function sovrabase.on_sql_drop();
