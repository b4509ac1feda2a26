/** What the benches of the data API ask: the rows, requests told three ways, and the ceiling of each. */
import { createSecretKey } from 'node:crypto'
import { type Asked, type Call, prepare } from '@sovrabase/server/apis/rest/prepare'
import { spaceOf } from '@sovrabase/server/apis/rest/space'
import { signToken } from '@sovrabase/server/realms/tokens'
import { readCatalogue } from '@sovrabase/server/runtime/engines/postgres/catalogue/read'
import pg from 'pg'
import { type Ceiling, makeCeiling, type Varying } from './ceiling.ts'
import { type Request, requestText } from './load.ts'
import type { PocketBase } from './pocketbase.ts'
import { commandOf, postmastersOf } from './proc.ts'
import type { BenchProject, BenchServer } from './server.ts'

export const ROLES = ['authenticated', 'anon', 'service_role'] as const
export const USERS = 500
export const ROWS = 15_000
/** Three digits at the end, so that pgbench can write it with its one kind of variable. */
const UUID = '00000000-0000-4000-8000-000000000'
const FIRST_USER = 100
export const uuidOf = (user: number): string => `${UUID}${FIRST_USER + user}`
const SUB = `('${UUID}' || :sub)::uuid`

export const SCHEMA = `
create table public.todos (
  id bigint generated always as identity primary key,
  owner uuid not null default auth.uid(),
  title text not null,
  done boolean not null default false,
  inserted_at timestamptz not null default now()
);
alter table public.todos enable row level security;
grant select, insert on public.todos to anon, authenticated, service_role;
create policy own on public.todos for all to anon, authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
insert into public.todos (owner, title, done)
  select ('${UUID}' || (${FIRST_USER} + i % ${USERS}))::uuid, 'Todo number ' || i, i % 2 = 0 from generate_series(1, ${ROWS}) i;
create index todos_owner on public.todos (owner);
`

/** One kind of request, told three ways. */
export interface Case {
  readonly name: string
  readonly method: 'GET' | 'POST'
  /** Table or `rpc/<function>`; without: todos. */
  readonly target?: string
  /** Query of request `n` by a user. */
  readonly query: (user: number, n: number) => string
  readonly prefer?: string
  readonly body?: string
  /** What differs from request to request beside row and user: texts of request (1, 1). */
  readonly varying?: readonly Varying[]
  /** Undefined: it has nothing like it. */
  readonly pocketBase?: (peer: PocketBase, user: number, n: number) => Omit<Request, 'headers'>
  readonly connections: readonly number[]
  /** `full`: the ceiling with headers, method and path too, as the API sets them. */
  readonly bars: { readonly ceiling: number; readonly against?: 'strict' | 'full'; readonly pocketBase: number; readonly wide?: number }
  /** SQL that its owner runs after each round. */
  readonly tidy?: string
}

/** Rows of a user, whatever `n`: ids are dealt in turn. Never user 0's first: there is no row 0. */
export const rowOf = (user: number, n: number): number => user + USERS * (1 + (n % (ROWS / USERS - 2)))

const claimsOf = (user: string, role: string): Record<string, unknown> => ({
  aud: 'authenticated',
  sub: user,
  email: 'user@example.com',
  phone: '',
  app_metadata: { provider: 'email', providers: ['email'] },
  user_metadata: {},
  role,
  aal: 'aal1',
  session_id: '5b7a1a0e-3f1e-4a56-a2c7-0f6a1b2c3d4e',
  iat: 1_795_000_000,
  exp: 2_000_000_000,
})

const headersOf = (project: BenchProject, token: string, one: Case): Record<string, string> => ({
  apikey: project.anonKey,
  authorization: `Bearer ${token}`,
  accept: 'application/json',
  'user-agent': 'node',
  'x-client-info': 'supabase-js-node/2.109.0',
  ...(one.prefer ? { prefer: one.prefer } : {}),
  ...(one.body ? { 'content-type': 'application/json' } : {}),
})

export function requestsOf(server: BenchServer, project: BenchProject, one: Case): string[] {
  const key = createSecretKey(Buffer.from(project.jwtSecret))
  const { host } = new URL(server.url)
  return Array.from({ length: USERS * ROLES.length }, (_, n) => {
    const user = (n * 7) % USERS
    const token = signToken(claimsOf(uuidOf(user), ROLES[n % ROLES.length]!), { alg: 'HS256', key })
    const path = `/p/${project.ref}/rest/v1/${targetOf(one)}?${one.query(user, n)}`
    return requestText({ method: one.method, path, headers: headersOf(project, token, one), ...(one.body ? { body: one.body } : {}) }, host)
  })
}

export const peerRequests = (peer: PocketBase, ask: NonNullable<Case['pocketBase']>): string[] =>
  Array.from({ length: USERS }, (_, n) => {
    const user = (n * 7) % USERS
    const headers = {
      authorization: peer.token(user),
      accept: 'application/json',
      'user-agent': 'node',
      'content-type': 'application/json',
    }
    return requestText({ ...ask(peer, user, n), headers }, `127.0.0.1:${peer.port}`)
  })

export const targetOf = (one: Case): string => one.target ?? 'todos'

export const callOf = (one: Case): Call => {
  const [, rpc, name = ''] = /^(rpc\/)?(.*)$/.exec(targetOf(one)) ?? []
  return { method: one.method, name, rpc: rpc !== undefined }
}

/** A request as the API's own planner takes it. */
export const askedOf = (one: Case, user: number, n: number): Asked => ({
  method: one.method,
  url: `/${targetOf(one)}?${one.query(user, n)}`,
  headers: {
    accept: 'application/json',
    ...(one.prefer ? { prefer: one.prefer } : {}),
    ...(one.body ? { 'content-type': 'application/json' } : {}),
  },
  ...(one.body ? { body: Buffer.from(one.body) } : {}),
})

/** As `postgres`, past the gateway. */
export async function ownerOf(server: BenchServer, project: BenchProject): Promise<{ client: pg.Client; pid: number; socket: string }> {
  const pid = postmastersOf(server.child.pid!).find((each) => commandOf(each).includes(project.service.replaceAll('-', ''))) ?? 0
  const socket = /-k (\S+)/.exec(commandOf(pid))?.[1] ?? ''
  const client = new pg.Client({ host: socket, user: 'postgres', database: 'postgres', password: project.password })
  await client.connect()
  return { client, pid, socket }
}

export async function ceilingsOf(server: BenchServer, project: BenchProject, one: Case): Promise<{ strict: Ceiling; full: Ceiling }> {
  const { client, pid, socket } = await ownerOf(server, project)
  // The statement that the API makes of such a request, from the cluster's own catalogue.
  const catalogue = await readCatalogue(client)
  await client.end()
  const { plan, values, body } = prepare(askedOf(one, 1, 1), callOf(one), spaceOf(catalogue, undefined), catalogue, 'public')
  const common = {
    cluster: { pid, socket, password: project.password },
    roles: ROLES,
    clients: 32,
    setup: [
      `\\set u random(0, ${USERS - 1})`,
      `\\set id :u + ${USERS} * random(1, ${ROWS / USERS - 2})`,
      `\\set board :u + ${USERS} * random(1, 2)`,
      `\\set sub :u + ${FIRST_USER}`,
    ],
    plan,
    values,
    body,
    // The case's own first: its text may be that of a row too (board 1001, todo 1001), and there are fewer boards than rows.
    varying: [...(one.varying ?? []), { text: String(rowOf(1, 1)), expression: ':id' }, { text: uuidOf(1), expression: SUB }],
    claims(role: string) {
      const [before = '', after = ''] = JSON.stringify(claimsOf(UUID, role)).split(UUID)
      return [`${before}${UUID}`, ':sub', after] as const
    },
  }
  const settings = {
    'request.headers': JSON.stringify({ ...headersOf(project, project.anonKey, one), host: new URL(server.url).host }),
    'request.method': one.method,
    'request.path': `/${targetOf(one)}`,
  }
  return { strict: makeCeiling({ ...common, settings: {} }), full: makeCeiling({ ...common, settings }) }
}
