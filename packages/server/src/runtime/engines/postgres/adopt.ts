import type pg from 'pg'
import type { Service } from '../../services.ts'
import { secretOf } from './connections.ts'
import { SLOT } from './history/follow.ts'
import { ADMIN } from './names.ts'
import { adminVerifier } from './roles.ts'

/**
 * Empties every table of a copied cluster and keeps its structure: rows, materialised views, large objects, what our own tables hold.
 * No code of the project's people runs: event triggers are off, ordinary triggers do not fire in a superuser's session (connections.ts), and
 * those that they made to fire always are switched off for the TRUNCATE. Databases that they made beside `postgres` are dropped by the caller.
 */
const EMPTY = `do $empty$
declare
  item record;
  tables text;
begin
  create temporary table firing on commit drop as
    select tgrelid::regclass::oid as relation, tgname as name, tgenabled as enabled
    from pg_trigger where not tgisinternal and tgenabled in ('A', 'R');
  for item in select * from pg_temp.firing loop
    execute format('alter table %s disable trigger %I', item.relation::regclass, item.name);
  end loop;
  select string_agg(format('%I.%I', nspname, relname), ', ') into tables
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where relkind in ('r', 'p') and relpersistence <> 't'
    and nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and nspname !~ '^pg_(toast_)?temp_'
    and not (nspname = 'sovrabase' and relname in ('migrations', 'applied'))
    and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e');
  if tables is not null then
    execute 'truncate ' || tables || ' restart identity';
  end if;
  for item in select nspname, relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace where relkind = 'm' loop
    execute format('refresh materialized view %I.%I with no data', item.nspname, item.relname);
  end loop;
  perform lo_unlink(oid) from pg_largeobject_metadata;
  for item in select * from pg_temp.firing loop
    execute format('alter table %s enable %s trigger %I', item.relation::regclass, case item.enabled when 'A' then 'always' else 'replica' end, item.name);
  end loop;
end
$empty$`

const OTHER_DATABASES = `select datname from pg_database where datname not in ('postgres', 'template1')`
const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`

/**
 * First start of a copy: our superuser gets this service's password (until that is committed, the source's is the valid one), and where only
 * the structure is wanted, the rows go. Idempotent; the other roles' passwords are the business of `prepareCluster`.
 */
export async function adoptCluster(client: pg.Client, service: Service, keepData: boolean): Promise<void> {
  if (!keepData) {
    await client.query(EMPTY)
    const { rows } = await client.query<{ datname: string }>(OTHER_DATABASES)
    for (const { datname } of rows) {
      await client.query(`alter database ${identifier(datname)} is_template false`)
      await client.query(`drop database ${identifier(datname)} with (force)`)
    }
  }
  // What the source's archive waits for is none of the copy's business.
  await client.query(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '${SLOT}' and not active`)
  await client.query(`delete from sovrabase.applied where name = 'owner_password'`)
  await client.query(`alter role ${ADMIN} password '${adminVerifier(secretOf(service, ADMIN))}'`)
}
