-- Roles of a cluster. Runs as the bootstrap superuser sovrabase_admin, which initdb made.
-- Names are taken as they are: no "if not exists", so that nothing of the project's people is ever adopted.

create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator nologin noinherit;
create role sovrabase_gateway login noinherit;

-- The people's owner: no superuser, no replication (a base backup would hold every row of pg_authid).
create role postgres login inherit createrole createdb bypassrls;

-- Named by people's SQL and dumps. The three system owners hold their schemas; the other two hold nothing.
create role supabase_admin nologin;
create role dashboard_user nologin;
create role supabase_auth_admin nologin noinherit;
create role supabase_storage_admin nologin noinherit;
create role supabase_realtime_admin nologin noinherit;

grant anon, authenticated, service_role to authenticator with inherit false, set true;
grant authenticator to sovrabase_gateway with inherit false, set true;
grant supabase_auth_admin, supabase_storage_admin, supabase_realtime_admin to sovrabase_gateway with inherit false, set true;
-- The wire protocol cannot use up the connections of the API.
grant pg_use_reserved_connections to sovrabase_gateway with inherit true, set false;

-- SET ROLE for trying policies; no ADMIN, so they cannot be altered, renamed or dropped.
grant anon, authenticated, service_role, supabase_admin, dashboard_user to postgres with inherit true, set true;
grant pg_read_all_stats to postgres with inherit true, set false;
-- ADMIN here only: `alter role authenticator set pgrst.x` and `grant my_role to authenticator`. Every wake re-makes the role.
grant authenticator to postgres with admin true, inherit true, set true;
alter role postgres set createrole_self_grant = 'set, inherit';

do $$
declare
  setting text;
begin
  foreach setting in array array[
    'pgrst.db_schemas', 'pgrst.db_extra_search_path', 'pgrst.db_max_rows', 'pgrst.db_pre_request', 'pgrst.db_anon_role',
    'pgrst.db_plan_enabled', 'pgrst.db_aggregates_enabled', 'pgrst.db_tx_end', 'pgrst.db_root_spec', 'pgrst.db_hoisted_tx_settings',
    'pgrst.db_prepared_statements', 'pgrst.db_timezone_enabled', 'pgrst.openapi_mode', 'pgrst.openapi_security_active',
    'pgrst.openapi_server_proxy_uri', 'pgrst.server_cors_allowed_origins', 'pgrst.server_timing_enabled',
    'pgrst.server_trace_header', 'pgrst.client_error_verbosity'
  ] loop
    execute format('grant set on parameter %s to postgres', setting);
  end loop;
end
$$;

-- What a session prints with RAISE LOG or debug_print_plan holds values and fills disks: sessions log FATAL only, the server's own
-- processes (start, recovery, checkpoints) log as postgresql.conf says. Superuser's to set, so nobody can undo it.
alter role all set log_min_messages = 'fatal';
