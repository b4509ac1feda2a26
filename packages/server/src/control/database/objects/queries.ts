import type { Objects } from '@sovrabase/contract/database'

/** Each answers one JSON list; $1: schemas, or null for people's own. Read by our superuser: the catalogue only. */
const HIDDEN = `'{information_schema,auth,storage,realtime,sovrabase,extensions,supabase_migrations}'`
const SPACES = `with spaces as (
  select n.oid, n.nspname, n.nspowner, n.nspacl from pg_namespace n
  where case when $1::text[] is null then n.nspname !~ '^pg_' and n.nspname <> all (${HIDDEN}::name[]) else n.nspname::text = any ($1::text[]) end
)`
const grants = (acl: string): string => `(select json_object_agg(x.role, x.list) from (
  select coalesce(r.rolname, 'public')::text as role, json_agg(lower(a.privilege_type) order by a.privilege_type) as list
  from aclexplode(${acl}) a left join pg_roles r on r.oid = a.grantee group by 1 order by 1) x)`
const owner = (id: string): string => `pg_get_userbyid(${id})`
const own = (table: string, id: string): string =>
  `not exists (select from pg_depend e where e.classid = '${table}'::regclass and e.objid = ${id} and e.deptype = 'e')`

const COLUMNS = `(select coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'nullable', not a.attnotnull,
  'default', case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end, 'generated', case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end,
  'identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' end, 'comment', col_description(c.oid, a.attnum)) order by a.attnum), '[]')
  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)`

const TABLES = `${SPACES} select json_agg(json_build_object('schema', s.nspname, 'name', c.relname, 'owner', ${owner('c.relowner')}, 'partitioned', c.relkind = 'p',
  'rls', c.relrowsecurity, 'force_rls', c.relforcerowsecurity, 'comment', obj_description(c.oid, 'pg_class'), 'columns', ${COLUMNS},
  'constraints', (select coalesce(json_agg(json_build_object('name', k.conname, 'kind', case k.contype when 'p' then 'primary key' when 'u' then 'unique' when 'f' then 'foreign key'
    when 'c' then 'check' when 'x' then 'exclude' when 'n' then 'not null' else k.contype::text end, 'definition', pg_get_constraintdef(k.oid), 'valid', k.convalidated) order by k.conname), '[]')
    from pg_constraint k where k.conrelid = c.oid and k.contype <> 'n'),
  'indexes', (select coalesce(json_agg(json_build_object('name', ic.relname, 'unique', i.indisunique, 'primary', i.indisprimary, 'valid', i.indisvalid, 'definition', pg_get_indexdef(i.indexrelid)) order by ic.relname), '[]')
    from pg_index i join pg_class ic on ic.oid = i.indexrelid where i.indrelid = c.oid),
  'triggers', (select coalesce(json_agg(json_build_object('name', t.tgname, 'enabled', t.tgenabled <> 'D', 'definition', pg_get_triggerdef(t.oid)) order by t.tgname), '[]')
    from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal),
  'policies', (select coalesce(json_agg(json_build_object('name', p.polname, 'permissive', p.polpermissive,
    'command', case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
    'roles', (select json_agg(coalesce(o.rolname, 'public')) from unnest(p.polroles) x(id) left join pg_roles o on o.oid = x.id),
    'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)) order by p.polname), '[]') from pg_policy p where p.polrelid = c.oid),
  'grants', ${grants(`coalesce(c.relacl, acldefault('r', c.relowner))`)}) order by s.nspname, c.relname) as list
  from pg_class c join spaces s on s.oid = c.relnamespace where c.relkind in ('r', 'p') and ${own('pg_class', 'c.oid')}`

const VIEWS = `${SPACES} select json_agg(json_build_object('schema', s.nspname, 'name', c.relname, 'owner', ${owner('c.relowner')}, 'materialised', c.relkind = 'm',
  'security_invoker', coalesce((select option_value::boolean from pg_options_to_table(c.reloptions) where option_name = 'security_invoker'), false),
  'query', pg_get_viewdef(c.oid), 'comment', obj_description(c.oid, 'pg_class'), 'columns', ${COLUMNS},
  'grants', ${grants(`coalesce(c.relacl, acldefault('r', c.relowner))`)}) order by s.nspname, c.relname) as list
  from pg_class c join spaces s on s.oid = c.relnamespace where c.relkind in ('v', 'm') and ${own('pg_class', 'c.oid')}`

const FUNCTIONS = `${SPACES} select json_agg(json_build_object('schema', s.nspname, 'name', p.proname, 'owner', ${owner('p.proowner')}, 'kind',
  case p.prokind when 'f' then 'function' when 'p' then 'procedure' when 'a' then 'aggregate' else 'window' end,
  'arguments', pg_get_function_arguments(p.oid), 'returns', pg_get_function_result(p.oid), 'language', l.lanname,
  'volatility', case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end, 'security', case when p.prosecdef then 'definer' else 'invoker' end,
  'definition', case when p.prokind <> 'a' then pg_get_functiondef(p.oid) end, 'comment', obj_description(p.oid, 'pg_proc'),
  'grants', ${grants(`coalesce(p.proacl, acldefault('f', p.proowner))`)}) order by s.nspname, p.proname, p.oid) as list
  from pg_proc p join spaces s on s.oid = p.pronamespace join pg_language l on l.oid = p.prolang where ${own('pg_proc', 'p.oid')}`

export const QUERIES: Readonly<Record<keyof Objects, string>> = {
  schemas: `${SPACES} select json_agg(json_build_object('name', s.nspname, 'owner', ${owner('s.nspowner')}, 'comment', obj_description(s.oid, 'pg_namespace'),
    'grants', ${grants(`coalesce(s.nspacl, acldefault('n', s.nspowner))`)}) order by s.nspname) as list from spaces s`,
  tables: TABLES,
  views: VIEWS,
  functions: FUNCTIONS,
  enums: `${SPACES} select json_agg(json_build_object('schema', s.nspname, 'name', t.typname, 'comment', obj_description(t.oid, 'pg_type'),
    'labels', (select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid)) order by s.nspname, t.typname) as list
    from pg_type t join spaces s on s.oid = t.typnamespace where t.typtype = 'e' and ${own('pg_type', 't.oid')}`,
  roles: `select json_agg(json_build_object('name', r.rolname, 'login', r.rolcanlogin, 'inherit', r.rolinherit, 'bypass_rls', r.rolbypassrls,
    'member_of', (select coalesce(json_agg(g.rolname order by g.rolname), '[]') from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid)) order by r.rolname) as list
    from pg_roles r where r.rolname !~ '^(pg|sovrabase)_' and $1::text[] is not distinct from $1`,
  extensions: `select json_agg(json_build_object('name', e.extname, 'version', e.extversion, 'schema', n.nspname) order by e.extname) as list
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace where $1::text[] is not distinct from $1`,
  publications: `select json_agg(json_build_object('name', p.pubname, 'owner', ${owner('p.pubowner')}, 'all_tables', p.puballtables,
    'publish', array_remove(array[case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end, case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end], null),
    'tables', (select coalesce(json_agg(json_build_object('schema', t.schemaname, 'name', t.tablename) order by t.schemaname, t.tablename), '[]') from pg_publication_tables t where t.pubname = p.pubname)) order by p.pubname) as list
    from pg_publication p where $1::text[] is not distinct from $1`,
}
