import { createHash } from 'node:crypto'
import type pg from 'pg'
import { fail, isSovraError } from '../../../base/errors.ts'
import type { Service } from '../../services.ts'
import { secretOf } from './connections.ts'
import { allowedNames, isAllowed } from './extensions.ts'
import { type Applied, type Migration, migrateCluster, pendingMigrations } from './migrations.ts'
import { ADMIN, GATEWAY, OWNER } from './names.ts'
import { adminVerifier, gatewayVerifier, ownerVerifier, ROLES_INTACT, repairRoles } from './roles.ts'
import { fullSpec, type PostgresSpec } from './spec.ts'
import { letSessionsTell, logsStatements, SESSIONS_TELL } from './statements.ts'

/** What a wake has seen and done. */
export interface PreparedCluster {
  /** "18.4" */
  readonly engineVersion: string
  readonly systemVersion: number
  /** Next transaction of the cluster, before anything was done. */
  readonly xid: string
  /** Nothing had to be changed: what was known of the cluster before it slept still holds. */
  readonly untouched: boolean
  /** The cluster runs, but on its former system version, or without something of its spec. */
  readonly degraded?: { readonly code: string; readonly message: string }
}

interface State {
  xid: string
  version: string
  migrations: Applied[]
  intact: boolean
  tells: boolean
  admin: boolean
  applied: Record<string, string>
  extensions: string[]
}

const STATE = `select json_build_object(
  'xid', pg_snapshot_xmax(pg_current_snapshot())::text,
  'version', current_setting('server_version'),
  'migrations', (select coalesce(json_agg(json_build_object('version', version, 'checksum', checksum) order by version), '[]') from sovrabase.migrations),
  'intact', ${ROLES_INTACT},
  'tells', ${SESSIONS_TELL},
  'admin', (select rolpassword = $2 from pg_authid where rolname = '${ADMIN}'),
  'applied', (select coalesce(json_object_agg(name, value), '{}') from sovrabase.applied),
  'extensions', (select json_agg(extname) from pg_extension)
)::text as state`

const fingerprint = (text: string): string => createHash('sha256').update(text).digest('base64url')
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`
const record = (name: string, value: string): string =>
  `insert into sovrabase.applied (name, value) values (${literal(name)}, ${literal(value)})
   on conflict (name) do update set value = excluded.value, applied_at = now();`

/** Statements that bring roles, passwords and switches to what the service wants; none for a cluster that is as it was left. */
function repairs(state: State, service: Service<Partial<PostgresSpec>>): string[] {
  const statements: string[] = []
  const gateway = gatewayVerifier(secretOf(service, GATEWAY))
  if (!state.intact) statements.push(repairRoles(gateway))
  // By its fingerprint, not by the stored verifier: the owner may have chosen another password since, which stays until ours changes.
  const owner = fingerprint(secretOf(service, OWNER))
  if (state.applied.owner_password !== owner) {
    statements.push(`alter role ${OWNER} login password '${ownerVerifier(secretOf(service, OWNER))}';`, record('owner_password', owner))
  }
  const open = String(fullSpec(service.spec).open_grants)
  if ((state.applied.open_grants ?? 'false') !== open)
    statements.push(`select sovrabase.open_grants(${open});`, record('open_grants', open))
  const tell = logsStatements(service)
  if (state.tells !== tell) statements.push(letSessionsTell(tell))
  // Last, and in the same transaction: while it has not committed, the former password is the valid one.
  if (!state.admin) statements.push(`alter role ${ADMIN} password '${adminVerifier(secretOf(service, ADMIN))}';`)
  return statements
}

/** As the owner, for whom the trusted extension's script is then run: ours would own it otherwise. */
const extensionText = (name: string): string =>
  `set local role ${OWNER}; create extension if not exists "${name}" with schema extensions cascade; reset role;`

async function makeExtensions(client: pg.Client, state: State, wanted: readonly string[]): Promise<void> {
  for (const name of wanted) {
    if (state.extensions.includes(name)) continue
    if (!isAllowed(name)) throw fail('extension_refused', { name, allowed: allowedNames().join(', ') })
    try {
      await client.query(extensionText(name))
    } catch (cause) {
      throw fail('extension_failed', { name, sqlstate: (cause as { code?: string }).code ?? '' }, { cause })
    }
  }
}

const versionOf = (state: State): number => state.migrations.at(-1)?.version ?? 0

/**
 * Every wake: ONE query when nothing is to do. Roles, passwords and switches in one transaction; system migrations each in its own;
 * then the extensions of the spec. A migration or extension that fails does not stop the wake: the cluster is `degraded`.
 * Rejects where the cluster itself must not be used (`system_schema_newer`, a database error in our own roles).
 */
export async function prepareCluster(
  client: pg.Client,
  service: Service<Partial<PostgresSpec>>,
  migrations: readonly Migration[],
): Promise<PreparedCluster> {
  const verifiers = [gatewayVerifier(secretOf(service, GATEWAY)), adminVerifier(secretOf(service, ADMIN))]
  const { rows } = await client.query<{ state: string }>(STATE, verifiers)
  const state = JSON.parse(rows[0]?.state ?? 'null') as State
  const engineVersion = state.version.replace(/ .*/, '')
  const statements = repairs(state, service)
  if (statements.length > 0) await client.query(statements.join('\n'))
  let systemVersion = versionOf(state)
  try {
    const pending = pendingMigrations(migrations, state.migrations)
    await migrateCluster(client, pending)
    systemVersion = pending.at(-1)?.version ?? systemVersion
    await makeExtensions(client, state, fullSpec(service.spec).extensions ?? [])
    const wanted = fullSpec(service.spec).extensions ?? []
    const untouched = statements.length === 0 && pending.length === 0 && wanted.every((name) => state.extensions.includes(name))
    return { engineVersion, systemVersion, untouched, xid: state.xid }
  } catch (error) {
    if (!isSovraError(error) || error.code === 'system_schema_newer') throw error
    if (error.code === 'system_schema_failed') systemVersion = (error.details as { version: number }).version
    return { engineVersion, systemVersion, untouched: false, xid: state.xid, degraded: { code: error.code, message: error.message } }
  }
}
