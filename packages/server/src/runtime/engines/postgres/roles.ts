import type pg from 'pg'
import { ADMIN, AUTHENTICATOR, GATEWAY, OWNER, SYSTEM_ROLES } from './names.ts'
import { scramVerifier } from './scram.ts'

const list = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(', ')
const API_ROLES = ['anon', 'authenticated', 'service_role'] as const

/** Grants that the way of a request needs: role > member, with admin, inherit, set as in pg_auth_members, all given by our superuser. */
const EXPECTED = [
  ...API_ROLES.map((role) => `${role}>${AUTHENTICATOR}:fft`),
  ...[AUTHENTICATOR, ...SYSTEM_ROLES].map((role) => `${role}>${GATEWAY}:fft`),
  ...[AUTHENTICATOR, ...API_ROLES].map((role) => `${role}>${OWNER}:ttt`),
  `pg_use_reserved_connections>${GATEWAY}:ftf`,
].toSorted()

/**
 * True while `authenticator`, the gateway's sign-in and the roles of requests are as they must be; a fragment of the one query of a wake. $1 is the gateway's
 * verifier: a function that runs on the gateway's connection can RESET ROLE and change that role's own password or settings.
 * What people granted TO `authenticator` is theirs and stays.
 */
export const ROLES_INTACT = `(
  coalesce((
    select not (rolsuper or rolinherit or rolcreaterole or rolcreatedb or rolcanlogin or rolreplication or rolbypassrls) and rolpassword is null
    from pg_authid where rolname = '${AUTHENTICATOR}'
  ), false)
  and coalesce((
    select rolcanlogin and rolpassword = $1 and rolconnlimit = -1
      and not (rolsuper or rolinherit or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
      and not exists (select from pg_db_role_setting where setrole = pg_authid.oid)
    from pg_authid where rolname = '${GATEWAY}'
  ), false)
  and (
    select count(*) = ${API_ROLES.length} from pg_authid
    where rolname in (${list(API_ROLES)}) and rolbypassrls = (rolname = 'service_role') and rolpassword is null
      and oid = (select (value::json ->> rolname)::oid from sovrabase.applied where name = 'api_roles')
      and not (rolsuper or rolcreaterole or rolcreatedb or rolcanlogin or rolreplication)
  )
  and (
    select coalesce(array_agg(edge order by edge collate "C"), '{}') = array[${list(EXPECTED)}]
    from (
      select format('%s>%s:%s%s%s', role.rolname, member.rolname, left(admin_option::text, 1), left(inherit_option::text, 1), left(set_option::text, 1)) as edge
      from pg_auth_members
        join pg_authid role on role.oid = roleid
        join pg_authid member on member.oid = pg_auth_members.member
      where member.rolname = '${GATEWAY}'
        or role.rolname = '${AUTHENTICATOR}'
        or member.rolname in ('${AUTHENTICATOR}', '${OWNER}') and role.rolname in (${list(API_ROLES)})
    ) edges
  )
)`

/**
 * Makes these roles anew where they are not intact, in one transaction. Whatever `postgres` did to `authenticator` (dropped, renamed, made a
 * login, granted to others: even so that a grant of ours would be circular) ends here; of the roles of requests it may set what it likes, but
 * their names and rights to sign in and to pass row-level security are not its to give.
 */
export const repairRoles = (gatewayVerifier: string): string => `do $repair$
declare
  edge record;
  wanted text;
  number oid;
  former text;
begin
  -- Our schemas grant to them, so they cannot be dropped; but renamed, and others made in their names.
  for wanted, number in select each.key, each.value::oid from sovrabase.applied as known, json_each_text(known.value::json) as each (key, value) where name = 'api_roles' loop
    select rolname into former from pg_roles where oid = number;
    continue when former is null or former = wanted;
    if exists (select from pg_roles where rolname = wanted) then
      execute format('alter role %I rename to %I', wanted, wanted || '_' || to_regrole(quote_ident(wanted))::oid);
    end if;
    execute format('alter role %I rename to %I', former, wanted);
  end loop;
  if not exists (select from pg_roles where rolname = '${AUTHENTICATOR}') then
    create role ${AUTHENTICATOR} nologin noinherit;
  end if;
  for edge in
    select role.rolname as role, member.rolname as member, grantor.rolname as grantor
    from pg_auth_members
      join pg_authid role on role.oid = roleid
      join pg_authid member on member.oid = pg_auth_members.member
      join pg_authid grantor on grantor.oid = pg_auth_members.grantor
    where member.rolname = '${GATEWAY}'
      or role.rolname = '${AUTHENTICATOR}'
      or member.rolname = '${AUTHENTICATOR}' and role.rolname in (${list(API_ROLES)})
      -- Not ours: what the owner granted on by it would go with it.
      or member.rolname = '${OWNER}' and role.rolname in (${list(API_ROLES)}) and grantor.rolname <> '${ADMIN}'
  loop
    -- One revoke may have taken another along.
    if exists (
      select from pg_auth_members
      where roleid = edge.role::regrole and member = edge.member::regrole and grantor = edge.grantor::regrole
    ) then
      execute format('revoke %I from %I granted by %I cascade', edge.role, edge.member, edge.grantor);
    end if;
  end loop;
end
$repair$;
alter role ${AUTHENTICATOR} nosuperuser noinherit nocreaterole nocreatedb nologin noreplication nobypassrls connection limit -1 password null valid until 'infinity';
alter role ${GATEWAY} nosuperuser noinherit nocreaterole nocreatedb login noreplication nobypassrls connection limit -1 password '${gatewayVerifier}';
alter role ${GATEWAY} reset all;
${API_ROLES.map((role) => `alter role ${role} nosuperuser nocreaterole nocreatedb nologin noreplication ${role === 'service_role' ? '' : 'no'}bypassrls password null;`).join('\n')}
insert into sovrabase.applied (name, value)
  select 'api_roles', json_object_agg(rolname, oid)::text from pg_roles where rolname in (${list(API_ROLES)})
  on conflict (name) do nothing;
grant ${API_ROLES.join(', ')} to ${AUTHENTICATOR} with admin false, inherit false, set true;
grant ${[AUTHENTICATOR, ...SYSTEM_ROLES].join(', ')} to ${GATEWAY} with admin false, inherit false, set true;
grant pg_use_reserved_connections to ${GATEWAY} with admin false, inherit true, set false;
grant ${[AUTHENTICATOR, ...API_ROLES].join(', ')} to ${OWNER} with admin true, inherit true, set true;`

export const gatewayVerifier = (password: string): string => scramVerifier(GATEWAY, password)
export const adminVerifier = (password: string): string => scramVerifier(ADMIN, password)
/** The people's password is theirs to choose later; ours is as random as the others, but clients may insist on the usual number of rounds. */
export const ownerVerifier = (password: string): string => scramVerifier(OWNER, password, 4096)

/** Looks at both roles while the cluster runs on, so that one that never sleeps is not locked out until it does. */
export async function mendRoles(client: pg.Client, gatewayPassword: string): Promise<boolean> {
  const verifier = gatewayVerifier(gatewayPassword)
  const { rows } = await client.query<{ intact: boolean }>(`select ${ROLES_INTACT} as intact`, [verifier])
  if (rows[0]?.intact) return false
  await client.query(repairRoles(verifier))
  return true
}
