import type { Advice } from '@sovrabase/contract/database'

/** A lint: `query` answers object, kind, message and fix of what it finds. $1: the schemas that the API shows. */
export interface Lint extends Pick<Advice, 'code' | 'level' | 'area'> {
  readonly query: string
}

/**
 * Read by our superuser, so: the catalogue only, search_path is pg_catalog. `rel`: people's relations, with those of `anon` and `authenticated`
 * that may touch them as `open`.
 */
const RELATIONS = `with spaces as (
  select oid, nspname, nspname::text = any ($1::text[]) as shown from pg_namespace
  where nspname !~ '^pg_' and nspname <> all ('{information_schema,auth,storage,realtime,sovrabase,extensions,supabase_migrations}'::name[])
), rel as (
  select c.oid, c.relname, c.relkind, c.relrowsecurity, c.reloptions, c.relowner, c.relnamespace, s.shown, format('%I.%I', s.nspname, c.relname) as object,
    array(select r.rolname from pg_roles r where r.rolname in ('anon', 'authenticated')
      and (has_table_privilege(r.oid, c.oid, 'insert, update, delete') or has_any_column_privilege(r.oid, c.oid, 'select')) order by 1) as open
  from pg_class c join spaces s on s.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f') and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
)`

const to = `array_to_string(rel.open, ' and ')`

const SECURITY: readonly Omit<Lint, 'area'>[] = [
  {
    code: 'table_without_rls',
    level: 'error',
    query: `select object, 'table' as kind, format('Its rows are open to %s: row-level security is off.', ${to}) as message,
      format('alter table %s enable row level security;', object) as fix
      from rel where shown and relkind in ('r', 'p') and not relrowsecurity and open <> '{}'`,
  },
  {
    code: 'policies_without_rls',
    level: 'error',
    query: `select object, 'table' as kind, 'It has policies, but row-level security is off: they do nothing.' as message,
      format('alter table %s enable row level security;', object) as fix
      from rel where not relrowsecurity and exists (select from pg_policy p where p.polrelid = rel.oid)`,
  },
  {
    code: 'rls_without_policy',
    level: 'info',
    query: `select object, 'table' as kind, format('Granted to %s, but no policy shows them a row.', ${to}) as message,
      format('create policy "own rows" on %s to authenticated using (…);', object) as fix
      from rel where shown and relkind in ('r', 'p') and relrowsecurity and open <> '{}' and not exists (select from pg_policy p where p.polrelid = rel.oid)`,
  },
  {
    code: 'policy_lets_all_write',
    level: 'warning',
    query: `select format('%I on %s', p.polname, object) as object, 'policy' as kind,
      'It lets everyone whom it is for write every row: its condition is true.' as message,
      format('alter policy %I on %s %s;', p.polname, object, case when p.polcmd = 'a' then 'with check (…)' else 'using (…)' end) as fix
      from rel join pg_policy p on p.polrelid = rel.oid
      where shown and p.polpermissive and p.polcmd <> 'r' and open <> '{}'
        and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), pg_get_expr(p.polqual, p.polrelid)) = 'true'
        and exists (select from unnest(p.polroles) r(id) left join pg_roles o on o.oid = r.id where r.id = 0 or o.rolname in ('anon', 'authenticated'))`,
  },
  {
    code: 'definer_view',
    level: 'error',
    query: `select object, 'view' as kind, format('It reads with the rights of %I, past row-level security, and is open to %s.', o.rolname, ${to}) as message,
      format('alter view %s set (security_invoker = on);', object) as fix
      from rel join pg_roles o on o.oid = rel.relowner
      where shown and relkind = 'v' and open <> '{}' and not coalesce((select option_value::boolean from pg_options_to_table(rel.reloptions) where option_name = 'security_invoker'), false)`,
  },
  {
    code: 'users_in_view',
    level: 'error',
    query: `select distinct object, 'view' as kind, format('It shows columns of auth.users to %s.', ${to}) as message,
      format('revoke all on %s from %s;', object, array_to_string(rel.open, ', ')) as fix
      from rel join pg_rewrite w on w.ev_class = rel.oid join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
      where shown and relkind in ('v', 'm') and open <> '{}' and d.refclassid = 'pg_class'::regclass and d.refobjid = to_regclass('auth.users')`,
  },
  {
    code: 'materialised_view_open',
    level: 'warning',
    query: `select object, 'materialised view' as kind, format('Open to %s: no policy can guard its rows.', ${to}) as message,
      format('revoke all on %s from %s;', object, array_to_string(rel.open, ', ')) as fix
      from rel where shown and relkind = 'm' and open <> '{}'`,
  },
  {
    code: 'definer_function_open',
    level: 'warning',
    query: `select p.oid::regprocedure::text as object, 'function' as kind,
      'It runs with the rights of its owner, and whoever reaches the API without signing in may call it.' as message,
      format('revoke execute on function %s from public, anon;', p.oid::regprocedure) as fix
      from pg_proc p join spaces s on s.oid = p.pronamespace
      where s.shown and p.prosecdef and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) and has_function_privilege('anon', p.oid, 'execute')
        and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')`,
  },
  {
    code: 'function_search_path',
    level: 'warning',
    query: `select p.oid::regprocedure::text as object, 'function' as kind,
      'It runs with the rights of its owner, but finds names along the search path of its caller.' as message,
      format('alter function %s set search_path = '''';', p.oid::regprocedure) as fix
      from pg_proc p join spaces s on s.oid = p.pronamespace
      where p.prosecdef and not exists (select from unnest(p.proconfig) c where c like 'search\\_path=%')
        and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')`,
  },
  {
    code: 'extension_in_public',
    level: 'warning',
    query: `select quote_ident(extname) as object, 'extension' as kind, format('Its functions are in %I, which the API shows.', s.nspname) as message,
      format('drop and create it: create extension %I schema extensions;', extname) as fix
      from pg_extension e join spaces s on s.oid = e.extnamespace where s.shown`,
  },
]

/** Bytes below which an index is not worth a word. */
const SMALL = 1_048_576

const SPEED: readonly Omit<Lint, 'area'>[] = [
  {
    code: 'foreign_key_without_index',
    level: 'warning',
    query: `select format('%I on %s', k.conname, object) as object, 'constraint' as kind,
      format('Each delete or key change in %s reads all of %s: no index begins with the key.', k.confrelid::regclass, object) as message,
      format('create index on %s (%s);', object, (select string_agg(quote_ident(a.attname), ', ' order by n.ord) from unnest(k.conkey) with ordinality n(num, ord) join pg_attribute a on a.attrelid = k.conrelid and a.attnum = n.num)) as fix
      from rel join pg_constraint k on k.conrelid = rel.oid and k.contype = 'f'
      where not exists (select from pg_index i where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null
        and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] <@ k.conkey)`,
  },
  {
    code: 'policy_per_row',
    level: 'warning',
    query: `select format('%I on %s', p.polname, object) as object, 'policy' as kind,
      'It calls a function of auth for each row: within (select …) it is called once.' as message, 'write (select auth.uid()) for auth.uid()' as fix
      from rel join pg_policy p on p.polrelid = rel.oid cross join lateral (select concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid)) as text) x
      where regexp_replace(x.text, 'SELECT auth\\.(uid|jwt|role|email)\\(\\)', '', 'g') ~ 'auth\\.(uid|jwt|role|email)\\(\\)'`,
  },
  {
    code: 'policy_without_index',
    level: 'info',
    query: `select distinct format('%I on %s', p.polname, object) as object, 'policy' as kind, format('It compares %I, which no index begins with.', a.attname) as message,
      format('create index on %s (%I);', object, a.attname) as fix
      from rel join pg_policy p on p.polrelid = rel.oid and p.polcmd <> 'a' join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
        and d.refclassid = 'pg_class'::regclass and d.refobjid = rel.oid and d.refobjsubid > 0
      join pg_attribute a on a.attrelid = rel.oid and a.attnum = d.refobjsubid
      where a.atttypid <> 'boolean'::regtype and not exists (select from pg_index i where i.indrelid = rel.oid and i.indisvalid and i.indkey[0] = a.attnum)`,
  },
  {
    code: 'duplicate_index',
    level: 'warning',
    query: `select b.indexrelid::regclass::text as object, 'index' as kind, format('The same as %s: each write keeps both.', a.indexrelid::regclass) as message,
      format('drop index %s;', b.indexrelid::regclass) as fix
      from rel join pg_index a on a.indrelid = rel.oid join pg_index b on b.indrelid = a.indrelid and b.indexrelid <> a.indexrelid
        and b.indkey::text = a.indkey::text and b.indclass::text = a.indclass::text and b.indoption::text = a.indoption::text and b.indcollation::text = a.indcollation::text
        and b.indnkeyatts = a.indnkeyatts
        and pg_get_expr(b.indpred, b.indrelid) is not distinct from pg_get_expr(a.indpred, a.indrelid) and pg_get_expr(b.indexprs, b.indrelid) is not distinct from pg_get_expr(a.indexprs, a.indrelid)
      join pg_class ca on ca.oid = a.indexrelid join pg_class cb on cb.oid = b.indexrelid and cb.relam = ca.relam
      where not exists (select from pg_constraint k where k.conindid = b.indexrelid) and (not b.indisunique or a.indisunique)
        and (a.indisunique and not b.indisunique or exists (select from pg_constraint k where k.conindid = a.indexrelid) or a.indexrelid < b.indexrelid)`,
  },
  {
    code: 'unused_index',
    level: 'info',
    query: `select i.indexrelid::regclass::text as object, 'index' as kind, format('Never read since the statistics began, and takes %s.', pg_size_pretty(pg_relation_size(i.indexrelid))) as message,
      format('drop index %s;', i.indexrelid::regclass) as fix
      from rel join pg_index i on i.indrelid = rel.oid join pg_stat_all_indexes u on u.indexrelid = i.indexrelid
      where u.idx_scan = 0 and not i.indisunique and pg_relation_size(i.indexrelid) >= ${SMALL}`,
  },
  {
    code: 'no_primary_key',
    level: 'info',
    query: `select object, 'table' as kind, 'It has no primary key: single rows cannot be named, by the API or by replication.' as message,
      format('alter table %s add column id bigint generated always as identity primary key;', object) as fix
      from rel where relkind in ('r', 'p') and not exists (select from pg_index i where i.indrelid = rel.oid and i.indisprimary)
        and not exists (select from pg_inherits h where h.inhrelid = rel.oid)`,
  },
  {
    code: 'bloat',
    level: 'warning',
    query: `select object, 'table' as kind, format('%s of its rows are dead, %s %% of all.', s.n_dead_tup, s.n_dead_tup * 100 / (s.n_dead_tup + s.n_live_tup)) as message,
      format('vacuum analyze %s;', object) as fix
      from rel join pg_stat_all_tables s on s.relid = rel.oid where s.n_dead_tup >= 10000 and s.n_dead_tup * 4 >= s.n_live_tup`,
  },
  {
    code: 'long_transaction',
    level: 'warning',
    query: `select format('session %s', pid) as object, 'session' as kind,
      format('A transaction of %I has been open for %s s: nothing that was deleted since can be cleaned up.', usename, extract(epoch from clock_timestamp() - xact_start)::integer) as message,
      format('select pg_terminate_backend(%s);', pid) as fix
      from pg_stat_activity where backend_type = 'client backend' and xact_start < clock_timestamp() - interval '5 minutes'`,
  },
]

export const LINTS: readonly Lint[] = [
  ...SECURITY.map((lint): Lint => ({ ...lint, area: 'security' })),
  ...SPEED.map((lint): Lint => ({ ...lint, area: 'speed' })),
]

/** The text that is run. */
export const textOfLint = ({ query }: Lint): string => `${RELATIONS} ${query} order by 1`
