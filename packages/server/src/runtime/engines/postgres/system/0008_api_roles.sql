-- `alter role anon set statement_timeout = '3s'` wants ADMIN on the role. Nobody signs in as one of these, whatever password it is given
-- (pg_hba.conf, the wire listener); what else is done to their attributes is put right by each wake and while the cluster runs.
grant anon, authenticated, service_role to postgres with admin true, inherit true, set true;

-- A renamed one is found by its number.
insert into sovrabase.applied (name, value)
  select 'api_roles', json_object_agg(rolname, oid)::text from pg_roles where rolname in ('anon', 'authenticated', 'service_role')
  on conflict (name) do nothing;
