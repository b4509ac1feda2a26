import type pg from 'pg'

/**
 * A digest of what the catalogue takes from objects that all databases of a cluster share: settings of roles, memberships, names. No event
 * trigger fires for them, so somebody has to look; they are a few dozen rows. For a superuser's connection with search_path = pg_catalog.
 */
const SHARED = `select pg_catalog.md5(pg_catalog.concat_ws('|',
  (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', d.setdatabase, d.setrole, d.setconfig), ',' order by d.setdatabase, d.setrole) from pg_catalog.pg_db_role_setting d),
  (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', m.oid, m.inherit_option, m.set_option), ',' order by m.oid) from pg_catalog.pg_auth_members m),
  (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', r.oid, r.rolname, r.rolinherit, r.rolsuper), ',' order by r.oid) from pg_catalog.pg_authid r)
)) as digest`

export async function sharedDigest(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ digest: string }>({ name: 'shared', text: SHARED })
  return rows[0]?.digest ?? ''
}
