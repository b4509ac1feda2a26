-- Functions, composite types and enums of the schemas $1 as one JSON value; names of types are qualified (search_path is pg_catalog).
with namespaces as (
  select oid, nspname from pg_catalog.pg_namespace where nspname = any ($1)
), functions as (
  select n.nspname, p.proname, p.oid, p.proretset, p.prorows, p.prorettype, p.pronargs, p.pronargdefaults,
    coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]) as types, p.proargnames as names, p.proargmodes as modes
  from pg_catalog.pg_proc p join namespaces n on n.oid = p.pronamespace
  where p.prokind = 'f' and p.prorettype not in ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
    and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e')
), arguments as (
  select f.oid, t.place, coalesce(m.mode, 'i') as mode, coalesce(a.name, '') as name, t.type,
    pg_catalog.row_number() over (partition by f.oid, coalesce(m.mode, 'i') in ('i', 'b', 'v') order by t.place) as input,
    f.pronargs, f.pronargdefaults
  from functions f
  cross join lateral pg_catalog.unnest(f.types) with ordinality t(type, place)
  left join lateral pg_catalog.unnest(f.names) with ordinality a(name, place) on a.place = t.place
  left join lateral pg_catalog.unnest(f.modes) with ordinality m(mode, place) on m.place = t.place
), relations as (
  select c.reltype, n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f')
)
select pg_catalog.json_build_object(
  'functions', (select pg_catalog.json_agg(pg_catalog.json_build_object(
      'schema', f.nspname, 'name', f.proname, 'set', f.proretset, 'rows', f.prorows, 'returns', pg_catalog.format_type(f.prorettype, null),
      'relation', (select pg_catalog.json_build_object('schema', r.nspname, 'name', r.relname) from relations r where r.reltype = f.prorettype),
      'args', (select pg_catalog.json_agg(pg_catalog.json_build_object('name', a.name, 'type', pg_catalog.format_type(a.type, null),
          'optional', a.input > a.pronargs - a.pronargdefaults) order by a.place) from arguments a where a.oid = f.oid and a.mode in ('i', 'b', 'v')),
      'columns', (select pg_catalog.json_agg(pg_catalog.json_build_object('name', a.name, 'type', pg_catalog.format_type(a.type, null)) order by a.place)
        from arguments a where a.oid = f.oid and a.mode in ('t', 'o', 'b')),
      'of', (select pg_catalog.json_build_object('schema', r.nspname, 'name', r.relname) from arguments a join relations r on r.reltype = a.type
        where a.oid = f.oid and a.place = 1 and a.name = '' and f.pronargs = 1)
    ) order by f.nspname, f.proname, f.oid) from functions f),
  'composites', (select pg_catalog.json_agg(pg_catalog.json_build_object('schema', n.nspname, 'name', c.relname, 'fields', (
      select pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod)) order by a.attnum)
      from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    )) order by n.nspname, c.relname)
    from pg_catalog.pg_class c join namespaces n on n.oid = c.relnamespace
    where c.relkind = 'c' and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e')),
  'enums', (select pg_catalog.json_agg(pg_catalog.json_build_object('schema', n.nspname, 'name', t.typname, 'type', pg_catalog.format_type(t.oid, null), 'labels', (
      select pg_catalog.json_agg(e.enumlabel order by e.enumsortorder) from pg_catalog.pg_enum e where e.enumtypid = t.oid
    )) order by n.nspname, t.typname)
    from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace where t.typtype = 'e')
) as found
