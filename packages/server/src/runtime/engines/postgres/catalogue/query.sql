-- The whole catalogue of a cluster in one row of JSON: arrays where an object's keys would repeat thousands of times (read.ts knows their order).
-- Runs as a superuser with search_path = pg_catalog: every name is qualified and types print with their schema.
with namespaces as materialized (
  select n.oid, n.nspname from pg_catalog.pg_namespace n where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
), roles as materialized (
  select r.oid, r.rolname from pg_catalog.pg_roles r where r.rolname in ('anon', 'authenticated', 'service_role')
), relations as materialized (
  select c.oid, c.relname, c.relkind, c.relnamespace, c.relrowsecurity, c.relforcerowsecurity, c.reltype,
    case when c.relkind in ('r', 'p') then 28 when c.relkind = 'm' then 0 else pg_catalog.pg_relation_is_updatable(c.oid, true) end as writable
  from pg_catalog.pg_class c join namespaces n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
), columns as (
  select a.attrelid, pg_catalog.json_agg(pg_catalog.json_build_array(
    a.attname,
    pg_catalog.format_type(a.atttypid, a.atttypmod),
    (a.attnotnull or (t.typtype = 'd' and t.typnotnull))::int,
    case when a.attidentity <> '' then pg_catalog.format('nextval(%L)', pg_catalog.pg_get_serial_sequence(r.oid::pg_catalog.regclass::text, a.attname))
      when a.attgenerated = '' then coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), case when t.typtype = 'd' then pg_catalog.pg_get_expr(t.typdefaultbin, 0) end) end,
    a.attgenerated, a.attidentity,
    case when t.typtype = 'd' then pg_catalog.format_type(t.typbasetype, t.typtypmod) end,
    case when t.typtype = 'e' then pg_catalog.format_type(a.atttypid, null) end,
    pg_catalog.col_description(r.oid, a.attnum)
  ) order by a.attnum) as list
  from relations r
  join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_type t on t.oid = a.atttypid
  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  group by a.attrelid
), keys as (
  select i.indrelid,
    pg_catalog.json_agg(k.names) filter (where i.indisprimary) -> 0 as primary_key,
    pg_catalog.json_agg(k.names) filter (where not i.indisprimary) as uniques
  from pg_catalog.pg_index i
  join relations r on r.oid = i.indrelid
  cross join lateral (
    select pg_catalog.json_agg(a.attname order by p.n) as names, pg_catalog.count(a.attname) as found
    from pg_catalog.generate_series(0, i.indnkeyatts - 1) p(n)
    left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[p.n] and a.attnum > 0
  ) k
  where i.indisunique and i.indpred is null and k.found = i.indnkeyatts
  group by i.indrelid
), policies as (
  select p.polrelid, pg_catalog.json_agg(pg_catalog.json_build_array(
    p.polname, p.polcmd,
    (select pg_catalog.json_agg(coalesce(o.rolname, 'public')) from pg_catalog.unnest(p.polroles) x(id) left join pg_catalog.pg_roles o on o.oid = x.id)
  ) order by p.polname) as list
  from pg_catalog.pg_policy p join relations r on r.oid = p.polrelid group by p.polrelid
), grants as (
  select r.oid, pg_catalog.json_object_agg(o.rolname, pg_catalog.concat(
    case when pg_catalog.has_any_column_privilege(o.oid, r.oid, 'select') then 'r' end,
    case when pg_catalog.has_any_column_privilege(o.oid, r.oid, 'insert') then 'a' end,
    case when pg_catalog.has_any_column_privilege(o.oid, r.oid, 'update') then 'w' end,
    case when pg_catalog.has_table_privilege(o.oid, r.oid, 'delete') then 'd' end)) as list
  from relations r cross join roles o group by r.oid
), arguments as (
  select p.oid, pg_catalog.json_agg(pg_catalog.json_build_array(
      coalesce(x.name, ''), pg_catalog.format_type(x.type, null), (x.place > p.pronargs - p.pronargdefaults)::int, (x.mode = 'v')::int
    ) order by x.place) as list,
    pg_catalog.count(*) filter (where coalesce(x.name, '') = '') as unnamed,
    pg_catalog.count(*) as total
  from pg_catalog.pg_proc p
  join namespaces n on n.oid = p.pronamespace
  cross join lateral (
    select t.type, m.mode, a.name, pg_catalog.row_number() over (order by t.place) as place
    from pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[])) with ordinality t(type, place)
    left join pg_catalog.unnest(p.proargnames) with ordinality a(name, place) on a.place = t.place
    left join pg_catalog.unnest(p.proargmodes) with ordinality m(mode, place) on m.place = t.place
    where coalesce(m.mode, 'i') in ('i', 'b', 'v')
  ) x
  group by p.oid
), functions as (
  select pg_catalog.json_agg(pg_catalog.json_build_array(
    n.nspname, p.proname, coalesce(g.list, '[]'::json), p.provolatile,
    case when p.prorettype = 'pg_catalog.void'::pg_catalog.regtype then 'v'
      when b.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,b,o}', false) then 'c' else 's' end,
    coalesce(tn.nspname, bn.nspname), coalesce(tc.relname, b.typname),
    p.proretset::int, p.prorows::int,
    (select pg_catalog.json_agg(o.rolname) from roles o where pg_catalog.has_function_privilege(o.oid, p.oid, 'execute')),
    pg_catalog.obj_description(p.oid, 'pg_proc'),
    (select pg_catalog.json_object_agg(pg_catalog.split_part(u.line, '=', 1), pg_catalog.substr(u.line, pg_catalog.strpos(u.line, '=') + 1))
      from pg_catalog.unnest(p.proconfig) u(line)
      where u.line !~* '^(role|session_authorization|transaction_[a-z_]+|(request|response|sovrabase|pgrst)[.][^=]*)=')
  ) order by n.nspname, p.proname, p.oid) as list
  from pg_catalog.pg_proc p
  join namespaces n on n.oid = p.pronamespace and n.nspname not in ('extensions', 'sovrabase')
  join pg_catalog.pg_type t on t.oid = p.prorettype
  join pg_catalog.pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
  join pg_catalog.pg_namespace bn on bn.oid = b.typnamespace
  left join pg_catalog.pg_class tc on tc.oid = b.typrelid and b.typrelid <> 0
  left join pg_catalog.pg_namespace tn on tn.oid = tc.relnamespace
  left join arguments g on g.oid = p.oid
  where p.prokind = 'f' and p.prorettype not in ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
    and (coalesce(g.unnamed, 0) = 0 or (g.total = 1 and p.proargtypes[0] in (
      'pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype, 'pg_catalog.text'::pg_catalog.regtype,
      'pg_catalog.bytea'::pg_catalog.regtype, 'pg_catalog.xml'::pg_catalog.regtype))
      or (g.total = 1 and exists (select 1 from relations r where r.reltype = p.proargtypes[0])))
), view_tokens as (
  -- The tree of a view's query as it is stored: braces tell the depth, an entry of depth 2 is a column of the view itself (deeper ones are
  -- of subqueries), and knows the column of a relation that it shows. Names have braces and spaces escaped.
  select w.ev_class, m.place, m.token,
    pg_catalog.sum(case m.token[1] when '{' then 1 when '}' then -1 else 0 end) over (partition by w.ev_class order by m.place) as depth
  from pg_catalog.pg_rewrite w join relations r on r.oid = w.ev_class and r.relkind in ('v', 'm')
  cross join lateral pg_catalog.regexp_matches(w.ev_action::text,
    '(\\.|[{}]|:resno (\d+) :resname (?:[^\s\\]|\\.)+ :ressortgroupref \d+ :resorigtbl (\d+) :resorigcol (\d+))', 'g') with ordinality m(token, place)
  where w.ev_type = '1' and w.is_instead
), views as (
  select pg_catalog.json_agg(pg_catalog.json_build_array(v.nspname, v.relname, v.list) order by v.nspname, v.relname) as list from (
    select n.nspname, r.relname, pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, bn.nspname, b.relname, ba.attname) order by a.attnum) as list
    from view_tokens t
    join relations r on r.oid = t.ev_class join namespaces n on n.oid = r.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attnum = t.token[2]::int
    join relations b on b.oid = t.token[3]::pg_catalog.oid join namespaces bn on bn.oid = b.relnamespace
    join pg_catalog.pg_attribute ba on ba.attrelid = b.oid and ba.attnum = t.token[4]::int and ba.attnum > 0
    where t.depth = 2 and t.token[2] is not null
    group by n.nspname, r.relname) v
), foreign_keys as (
  select pg_catalog.json_agg(pg_catalog.json_build_array(
    k.conname, sn.nspname, s.relname, tn.nspname, t.relname,
    (select pg_catalog.json_agg(a.attname order by u.place) from pg_catalog.unnest(k.conkey) with ordinality u(num, place)
      join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num),
    (select pg_catalog.json_agg(a.attname order by u.place) from pg_catalog.unnest(k.confkey) with ordinality u(num, place)
      join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num)
  ) order by k.conname, k.oid) as list
  from pg_catalog.pg_constraint k
  join relations s on s.oid = k.conrelid join namespaces sn on sn.oid = s.relnamespace
  join relations t on t.oid = k.confrelid join namespaces tn on tn.oid = t.relnamespace
  where k.contype = 'f' and k.conparentid = 0
)
select pg_catalog.json_build_object(
  'version', pg_catalog.current_setting('server_version_num')::int,
  'schemas', (select pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, (select pg_catalog.json_agg(o.rolname) from roles o where pg_catalog.has_schema_privilege(o.oid, n.oid, 'usage')), pg_catalog.obj_description(n.oid, 'pg_namespace')) order by n.nspname) from namespaces n),
  'tables', (select pg_catalog.json_agg(pg_catalog.json_build_array(
      n.nspname, r.relname, r.relkind, c.list, k.primary_key, k.uniques, r.relrowsecurity::int, r.relforcerowsecurity::int, p.list, g.list, r.writable,
      pg_catalog.obj_description(r.oid, 'pg_class')
    ) order by n.nspname, r.relname)
    from relations r join namespaces n on n.oid = r.relnamespace
    left join columns c on c.attrelid = r.oid left join keys k on k.indrelid = r.oid
    left join policies p on p.polrelid = r.oid left join grants g on g.oid = r.oid),
  'views', (select v.list from views v),
  'foreignKeys', (select f.list from foreign_keys f),
  'functions', (select f.list from functions f),
  'handlers', (select pg_catalog.json_agg(h.list order by h.list::text) from (
    select pg_catalog.json_build_array(pn.nspname, p.proname, case when r.oid is null then '*' else rn.nspname end, coalesce(r.relname, '*'),
      pg_catalog.lower(m.typname), (m.typbasetype = 'pg_catalog.bytea'::pg_catalog.regtype)::int, 1) as list
    from pg_catalog.pg_type m join pg_catalog.pg_proc p on p.prorettype = m.oid and p.prokind = 'a' and p.pronargs = 1
    join namespaces pn on pn.oid = p.pronamespace
    left join relations r on r.reltype = p.proargtypes[0] left join namespaces rn on rn.oid = r.relnamespace
    where m.typtype = 'd' and m.typname ~ '^([A-Za-z0-9.-]+/[A-Za-z0-9.+-]+|[*]/[*])$' and (r.oid is not null or p.proargtypes[0] = 'pg_catalog.anyelement'::pg_catalog.regtype)
    union all
    select pg_catalog.json_build_array(pn.nspname, p.proname, pn.nspname, p.proname,
      pg_catalog.lower(m.typname), (m.typbasetype = 'pg_catalog.bytea'::pg_catalog.regtype)::int, 0)
    from pg_catalog.pg_type m join pg_catalog.pg_proc p on p.prorettype = m.oid and p.prokind = 'f' and not p.proretset
    join namespaces pn on pn.oid = p.pronamespace
    where m.typtype = 'd' and m.typname ~ '^([A-Za-z0-9.-]+/[A-Za-z0-9.+-]+|[*]/[*])$') h),
  'representations', (select pg_catalog.json_object_agg(c.key, c.function) from (
    select pg_catalog.format_type(c.castsource, null) || '>' || pg_catalog.format_type(c.casttarget, null) as key, pg_catalog.format('%I.%I', n.nspname, p.proname) as function
    from pg_catalog.pg_cast c
    join pg_catalog.pg_type s on s.oid = c.castsource join pg_catalog.pg_type t on t.oid = c.casttarget
    join pg_catalog.pg_proc p on p.oid = c.castfunc join namespaces n on n.oid = p.pronamespace
    where c.castcontext = 'i' and c.castmethod = 'f' and (
      s.typtype = 'd' and t.oid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.text'::pg_catalog.regtype)
      or t.typtype = 'd' and s.oid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.text'::pg_catalog.regtype))
    order by 1) c),
  'geoJson', (select n.nspname from pg_catalog.pg_proc p join namespaces n on n.oid = p.pronamespace
    where p.proname = 'st_asgeojson' and p.proargtypes[0] = 'pg_catalog.record'::pg_catalog.regtype order by 1 limit 1),
  'roleSettings', (select pg_catalog.json_object_agg(r.rolname, r.list) from (
    select r.rolname, pg_catalog.json_object_agg(x.name, x.value order by d.setdatabase) as list
    from pg_catalog.pg_db_role_setting d join pg_catalog.pg_roles r on r.oid = d.setrole
    cross join lateral (select pg_catalog.split_part(u.line, '=', 1) as name, pg_catalog.substr(u.line, pg_catalog.strpos(u.line, '=') + 1) as value
      from pg_catalog.unnest(d.setconfig) u(line)) x
    left join pg_catalog.pg_settings p on p.name = x.name
    where d.setdatabase in (0, (select b.oid from pg_catalog.pg_database b where b.datname = pg_catalog.current_database()))
      and (r.rolname = 'authenticator' or exists (select from pg_catalog.pg_auth_members m join pg_catalog.pg_roles a on a.oid = m.member
        where m.roleid = r.oid and a.rolname = 'authenticator'))
      and (p.context = 'user' or p.name is null) and x.name !~ '^(role|session_authorization|transaction_[a-z_]+)$'
      and x.name !~ '^(request|response|sovrabase|pgrst)[.]'
    group by r.rolname order by 1) r),
  'enums', (select pg_catalog.json_object_agg(e.name, e.labels) from (
    select pg_catalog.format_type(t.oid, null) as name, pg_catalog.json_agg(l.enumlabel order by l.enumsortorder) as labels
    from pg_catalog.pg_type t join namespaces n on n.oid = t.typnamespace join pg_catalog.pg_enum l on l.enumtypid = t.oid group by t.oid order by 1) e),
  'domains', (select pg_catalog.json_object_agg(d.name, d.base) from (
    select pg_catalog.format_type(t.oid, null) as name, pg_catalog.format_type(t.typbasetype, t.typtypmod) as base
    from pg_catalog.pg_type t join namespaces n on n.oid = t.typnamespace where t.typtype = 'd' order by 1) d),
  'settings', (select pg_catalog.json_object_agg(s.name, s.value) from (
    select pg_catalog.split_part(x.line, '=', 1) as name, pg_catalog.substr(x.line, pg_catalog.strpos(x.line, '=') + 1) as value
    from pg_catalog.pg_db_role_setting d join pg_catalog.pg_roles r on r.oid = d.setrole and r.rolname = 'authenticator'
    cross join lateral pg_catalog.unnest(d.setconfig) x(line)
    where d.setdatabase in (0, (select b.oid from pg_catalog.pg_database b where b.datname = pg_catalog.current_database())) and x.line like 'pgrst.%'
    order by d.setdatabase, 1) s)
)::text as catalogue
