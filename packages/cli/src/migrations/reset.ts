import type { Client } from 'pg'
import { lock } from './store.ts'

/**
 * Takes out what people have made: their schemas, everything in `public`, extensions of theirs, publications, large objects. `public` is made
 * anew with the grants and default privileges that it had. What is the platform's stays: auth, storage, realtime, sovrabase, extensions, roles.
 */
const RESET = `do $reset$
declare
  kept text[];
  one text;
begin
  kept := array(
    select format('grant %s on schema public to %s%s', a.privilege_type, coalesce(quote_ident(r.rolname), 'public'),
      case when a.is_grantable then ' with grant option' else '' end)
    from pg_namespace n cross join lateral aclexplode(n.nspacl) a left join pg_roles r on r.oid = a.grantee
    where n.nspname = 'public' and a.grantee <> n.nspowner
    union all
    select format('alter default privileges for role %I in schema public grant %s on %s to %s', o.rolname, a.privilege_type,
      case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'routines' when 'T' then 'types' end,
      coalesce(quote_ident(r.rolname), 'public'))
    from pg_default_acl d join pg_namespace n on n.oid = d.defaclnamespace join pg_roles o on o.oid = d.defaclrole
    cross join lateral aclexplode(d.defaclacl) a left join pg_roles r on r.oid = a.grantee
    where n.nspname = 'public' and pg_has_role(d.defaclrole, 'member')
  );
  for one in select format('drop publication %I', pubname) from pg_publication where pubname <> 'supabase_realtime' and pg_has_role(pubowner, 'member') loop
    execute one;
  end loop;
  for one in select format('drop extension if exists %I cascade', extname) from pg_extension where pg_has_role(extowner, 'member') loop
    execute one;
  end loop;
  for one in select format('drop schema %I cascade', nspname) from pg_namespace
    where nspname !~ '^pg_' and nspname not in ('information_schema', 'auth', 'storage', 'realtime', 'sovrabase', 'extensions')
      and (nspname = 'public' or pg_has_role(nspowner, 'member')) loop
    execute one;
  end loop;
  perform lo_unlink(oid) from pg_largeobject_metadata where pg_has_role(lomowner, 'member');
  create schema public;
  foreach one in array kept loop
    execute one;
  end loop;
end
$reset$`

/** In one transaction; what is recorded of migrations goes too. */
export async function empty(client: Client, project: string, note: (text: string) => void): Promise<void> {
  await lock(client, project, note)
  await client.query("set client_min_messages = warning; set lock_timeout = '10s'; set search_path = pg_catalog")
  await client.query(RESET)
  await client.query('reset all')
}
