-- The database stays ours: its owner could rename or drop it and set its defaults for every session, ours included.
revoke all on database postgres from public;
grant connect, temporary on database postgres to public;
grant create, connect, temporary on database postgres to postgres;
-- template1 is copied by `create database`, never entered.
revoke all on database template1 from public;

alter schema public owner to postgres;
grant usage on schema public to anon, authenticated, service_role;
grant create on schema public to service_role;

create schema extensions;
grant usage on schema extensions to public;
grant create on schema extensions to postgres;
create extension pgcrypto schema extensions;
create extension "uuid-ossp" schema extensions;

alter database postgres set search_path = "$user", public, extensions;

create schema auth authorization supabase_auth_admin;
grant usage on schema auth to public;
alter default privileges for role supabase_auth_admin in schema auth grant select, references, trigger on tables to postgres;

create schema storage authorization supabase_storage_admin;
grant usage on schema storage to postgres, anon, authenticated, service_role;

create schema realtime authorization supabase_realtime_admin;
grant usage on schema realtime to postgres, anon, authenticated, service_role;

-- service_role: all on what `postgres` makes, in any schema. anon and authenticated: nothing on new tables.
alter default privileges for role postgres grant all on tables to service_role;
alter default privileges for role postgres grant all on sequences to service_role;
alter default privileges for role postgres grant all on functions to service_role;
alter default privileges for role postgres grant usage on schemas to service_role;

create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;
