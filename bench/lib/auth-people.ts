/** The people of the auth bench: a project's realm as one that has been there for a while, and a way to its cluster past the gateway. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { loadSecrets } from '@sovrabase/server/base/secrets'
import { adminConnection, GATEWAY_SETTINGS } from '@sovrabase/server/runtime/engines/postgres/connections'
import { ADMIN, DATABASE, GATEWAY } from '@sovrabase/server/runtime/engines/postgres/names'
import { PipelinePool } from '@sovrabase/server/runtime/engines/postgres/wire/pool'
import pg from 'pg'
import type { Cluster } from './pgbench.ts'
import { commandOf, postmastersOf } from './proc.ts'
import type { BenchProject, BenchServer } from './server.ts'

/** Each with an identity and a session of so many exchanges. */
export const USERS = 5_000
const TOKENS = 3

/** Ids that pgbench can write too, of user or session number `n`. */
export const idOf = (what: 'user' | 'session', n: string): string => `md5('${what} ' || ${n})::uuid`

const SEED = `
insert into auth.users (id, aud, role, email, email_confirmed_at, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
  select ${idOf('user', 'i')}, 'authenticated', 'authenticated', 'user' || i || '@example.org', now(),
    '{"provider": "email", "providers": ["email"]}', '{}', now(), now() from generate_series(1, ${USERS}) i;
insert into auth.identities (id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
  select md5('identity ' || i)::uuid, ${idOf('user', 'i')}, ${idOf('user', 'i')},
    jsonb_build_object('sub', ${idOf('user', 'i')}, 'email', 'user' || i || '@example.org', 'email_verified', true), 'email', now(), now(), now()
  from generate_series(1, ${USERS}) i;
insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
  select ${idOf('session', 'i')}, ${idOf('user', 'i')}, now(), now(), 'aal1', 'bench', '192.0.2.1' from generate_series(1, ${USERS}) i;
insert into auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method, id)
  select ${idOf('session', 'i')}, now(), now(), 'password', md5('proof ' || i)::uuid from generate_series(1, ${USERS}) i;
insert into auth.refresh_tokens (token, user_id, revoked, created_at, updated_at, session_id)
  select encode(sha256(('token ' || i || ' ' || n)::bytea), 'hex'), ${idOf('user', 'i')}, n < ${TOKENS}, now(), now(), ${idOf('session', 'i')}
  from generate_series(1, ${USERS}) i, generate_series(1, ${TOKENS}) n;
`

/** Opened passwords of the roles of a project's cluster: the bench is its server's owner. */
function passwordsOf(server: BenchServer, service: string): (role: string) => string {
  const secrets = loadSecrets({ folder: join(server.dataDir, 'keys'), jwtSecret: null, dataExists: true, knownKeyId: null })
  const db = new DatabaseSync(join(server.dataDir, 'metadata.sqlite'), { readOnly: true })
  const rows = db.prepare('select name, secret from service_secrets where service_id = ?').all(service) as {
    name: string
    secret: string
  }[]
  db.close()
  return (role) => secrets.vault.open(rows.find(({ name }) => name === role)?.secret ?? '', `service_secrets/${service}/${role}`)
}

export interface People {
  /** As the gateway signs in. */
  readonly cluster: Cluster
  readonly pool: PipelinePool
  /** Our superuser's. */
  readonly client: pg.Client
  /** A refresh token of the session of user number `n`, as it is stored. */
  addToken(n: number, stored: string): Promise<void>
  /** The same for a text that the API is given. */
  giveToken(n: number, text: string): Promise<void>
  close(): Promise<void>
}

export async function peopleOf(server: BenchServer, project: BenchProject): Promise<People> {
  const pid = postmastersOf(server.child.pid!).find((each) => commandOf(each).includes(project.service.replaceAll('-', ''))) ?? 0
  const socket = /-k (\S+)/.exec(commandOf(pid))?.[1] ?? ''
  const passwordOf = passwordsOf(server, project.service)
  const client = new pg.Client(adminConnection({ host: socket, port: 5432 } as never, passwordOf(ADMIN)))
  await client.connect()
  await client.query(SEED)
  await client.query('vacuum analyze')
  const signIn = { host: socket, port: 5432, user: GATEWAY, password: passwordOf(GATEWAY), database: DATABASE }
  const pool = new PipelinePool({ ...signIn, searchPath: 'public, extensions', settings: GATEWAY_SETTINGS })
  const addToken = async (n: number, stored: string): Promise<void> => {
    const rows = `select $2, ${idOf('user', '$1::int')}, false, now(), now(), ${idOf('session', '$1::int')}`
    await client.query(`insert into auth.refresh_tokens (token, user_id, revoked, created_at, updated_at, session_id) ${rows}`, [n, stored])
  }
  return {
    cluster: { pid, socket, password: signIn.password, user: GATEWAY },
    pool,
    client,
    addToken,
    giveToken: (n, text) => addToken(n, createHash('sha256').update(text).digest('hex')),
    async close() {
      await pool.close()
      await client.end()
    },
  }
}
