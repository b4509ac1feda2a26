/** read, list and insert: the whole gateway beside pgbench on the same cluster and beside PocketBase, in turns. */
import { createSecretKey } from 'node:crypto'
import { parseArgs } from 'node:util'
import { parsePrefer } from '@sovrabase/server/apis/rest/parse/headers'
import { negotiate } from '@sovrabase/server/apis/rest/parse/media'
import { shapeQuery } from '@sovrabase/server/apis/rest/parse/query'
import { planRead } from '@sovrabase/server/apis/rest/plan/read'
import { planWrite } from '@sovrabase/server/apis/rest/plan/write'
import { signToken } from '@sovrabase/server/realms/tokens'
import { readCatalogue } from '@sovrabase/server/runtime/engines/postgres/catalogue/read'
import pg from 'pg'
import { type Ceiling, makeCeiling } from './ceiling.ts'
import { bar, closing, median, ms } from './figures.ts'
import { type Load, type LoadResult, type Request, requestText, startLoad } from './load.ts'
import { type PocketBase, startPocketBase } from './pocketbase.ts'
import { commandOf, cpuOfTree, postmastersOf } from './proc.ts'
import { type BenchProject, type BenchServer, startBench, withCleanup } from './server.ts'

export const ROLES = ['authenticated', 'anon', 'service_role'] as const
export const USERS = 500
export const ROWS = 15_000
/** Three digits at the end, so that pgbench can write it with its one kind of variable. */
const UUID = '00000000-0000-4000-8000-000000000'
const FIRST_USER = 100
export const uuidOf = (user: number): string => `${UUID}${FIRST_USER + user}`
const SUB = `('${UUID}' || :sub)::uuid`

const SCHEMA = `
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
  /** Query of request `n` by a user. */
  readonly query: (user: number, n: number) => string
  readonly prefer?: string
  readonly body?: string
  readonly pocketBase: (peer: PocketBase, user: number, n: number) => Omit<Request, 'headers'>
  readonly connections: readonly number[]
  readonly bars: { readonly ceiling: number; readonly pocketBase: number; readonly wide?: number }
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

function requestsOf(server: BenchServer, project: BenchProject, one: Case): string[] {
  const key = createSecretKey(Buffer.from(project.jwtSecret))
  const { host } = new URL(server.url)
  return Array.from({ length: USERS * ROLES.length }, (_, n) => {
    const user = (n * 7) % USERS
    const token = signToken(claimsOf(uuidOf(user), ROLES[n % ROLES.length]!), { alg: 'HS256', key })
    const path = `/p/${project.ref}/rest/v1/todos?${one.query(user, n)}`
    return requestText({ method: one.method, path, headers: headersOf(project, token, one), ...(one.body ? { body: one.body } : {}) }, host)
  })
}

const peerRequests = (peer: PocketBase, one: Case): string[] =>
  Array.from({ length: USERS }, (_, n) => {
    const user = (n * 7) % USERS
    const headers = {
      authorization: peer.token(user),
      accept: 'application/json',
      'user-agent': 'node',
      'content-type': 'application/json',
    }
    return requestText({ ...one.pocketBase(peer, user, n), headers }, `127.0.0.1:${peer.port}`)
  })

/** The statement that the API makes of such a request, from the cluster's own catalogue. */
async function planOf(client: pg.Client, one: Case) {
  const catalogue = await readCatalogue(client)
  const table = catalogue.schemas.get('public')?.tables.get('todos')
  if (!table) throw new Error('the catalogue has no todos')
  const shaped = shapeQuery(one.query(1, 1), { arguments: false })
  const input = {
    catalogue,
    schema: 'public',
    query: shaped.parse(),
    media: negotiate('application/json'),
    prefer: parsePrefer(one.prefer ?? '', false),
    head: false,
    maxRows: 1_000,
    aggregates: false,
    responds: false,
  }
  const keys = Object.keys(JSON.parse(one.body ?? '{}') as object)
  const plan =
    one.method === 'GET' ? planRead(input, table) : planWrite('insert', input, table, { isArray: false, keys, type: 'application/json' })
  return { plan, values: shaped.values }
}

async function ceilingsOf(server: BenchServer, project: BenchProject, one: Case): Promise<{ strict: Ceiling; full: Ceiling }> {
  const [pid = 0] = postmastersOf(server.child.pid!)
  const socket = /-k (\S+)/.exec(commandOf(pid))?.[1] ?? ''
  const client = new pg.Client({ host: socket, user: 'postgres', database: 'postgres', password: project.password })
  await client.connect()
  const { plan, values } = await planOf(client, one)
  await client.end()
  const common = {
    cluster: { pid, socket, password: project.password },
    roles: ROLES,
    clients: 32,
    setup: [`\\set u random(0, ${USERS - 1})`, `\\set id :u + ${USERS} * random(1, ${ROWS / USERS - 2})`, `\\set sub :u + ${FIRST_USER}`],
    plan,
    values,
    body: one.body ?? '',
    varying: [
      { text: String(rowOf(1, 1)), expression: ':id' },
      { text: uuidOf(1), expression: SUB },
    ],
    claims(role: string) {
      const [before = '', after = ''] = JSON.stringify(claimsOf(UUID, role)).split(UUID)
      return [`${before}${UUID}`, ':sub', after] as const
    },
  }
  const settings = {
    'request.headers': JSON.stringify({ ...headersOf(project, project.anonKey, one), host: new URL(server.url).host }),
    'request.method': one.method,
    'request.path': '/todos',
  }
  return { strict: makeCeiling({ ...common, settings: {} }), full: makeCeiling({ ...common, settings }) }
}

/** A round of load on a server: CPU µs of its whole process tree a request. */
async function measure(
  load: Load,
  pid: number,
  seconds: number,
  postmaster?: number,
): Promise<LoadResult & { cpu: number; postgres: number }> {
  const before = cpuOfTree(pid)
  const clusterBefore = postmaster === undefined ? 0 : cpuOfTree(postmaster)
  const result = await load.run(seconds)
  const cpu = (cpuOfTree(pid) - before) / result.done
  const postgres = postmaster === undefined ? 0 : (cpuOfTree(postmaster) - clusterBefore) / result.done
  if (result.errors > 0) throw new Error(`${result.errors} of ${result.done} requests failed: ${result.firstError}`)
  return { ...result, cpu, postgres }
}

type Measured = Awaited<ReturnType<typeof measure>>

export async function compare(one: Case): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      'no-peer': { type: 'boolean', default: false },
      profile: { type: 'string' },
    },
  })
  const seconds = Number(flags.seconds)
  await withCleanup(async (later) => {
    const profile: Record<string, string> = flags.profile ? { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${flags.profile}` } : {}
    const server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off', ...profile })
    later(() => server.stop())
    const project = await server.project('data', { db: { engine: 'postgres', connections: 80 } })
    const owner = new pg.Client({ connectionString: project.dbUrl })
    await owner.connect()
    await owner.query(SCHEMA)
    await owner.query('vacuum analyze public.todos')
    await owner.end()

    const { hostname, port } = new URL(server.url)
    const requests = requestsOf(server, project, one)
    const loads = new Map<number, Load>()
    for (const connections of one.connections) {
      const load = await startLoad({ host: hostname, port: Number(port), connections, requests })
      loads.set(connections, load)
      later(load.stop)
    }
    const [postmaster = 0] = postmastersOf(server.child.pid!)
    const { strict, full } = await ceilingsOf(server, project, one)
    later(strict.stop)
    later(full.stop)
    const peer = flags['no-peer'] ? null : await startPocketBase(USERS, ROWS)
    if (peer) later(peer.stop)
    const peerLoad = peer
      ? await startLoad({ host: '127.0.0.1', port: peer.port, connections: 32, requests: peerRequests(peer, one) })
      : null
    if (peerLoad) later(peerLoad.stop)

    for (const load of [loads.get(32)!, ...(peerLoad ? [peerLoad] : [])]) await load.run(2)
    const ours = new Map<number, Measured[]>(one.connections.map((connections) => [connections, []]))
    const theirs: Measured[] = []
    const ceilings: { strict: number; full: number; own: number; rate: number }[] = []
    for (let round = 0; round < Number(flags.rounds); round++) {
      const bare = await strict.run(seconds)
      const whole = await full.run(seconds)
      ceilings.push({ strict: bare.cpu, full: whole.cpu, own: bare.own, rate: bare.rate })
      for (const [connections, load] of loads) ours.get(connections)!.push(await measure(load, server.child.pid!, seconds, postmaster))
      if (peer && peerLoad) theirs.push(await measure(peerLoad, peer.pid, seconds))
    }
    report(one, ours, theirs, ceilings)
  })
}

function report(
  one: Case,
  ours: ReadonlyMap<number, Measured[]>,
  theirs: readonly Measured[],
  ceilings: readonly { strict: number; full: number; own: number; rate: number }[],
): void {
  const middle = <T>(list: readonly T[], pick: (item: T) => number) => median(list.map(pick))
  const line = (name: string, rounds: readonly Measured[]) =>
    console.log(
      `  ${name.padEnd(26)} ${middle(rounds, (r) => r.cpu)
        .toFixed(0)
        .padStart(5)} µs  ${middle(rounds, (r) => r.done / r.seconds)
        .toFixed(0)
        .padStart(6)}/s` +
        `  p50 ${ms(middle(rounds, (r) => r.p50))}  p99 ${ms(middle(rounds, (r) => r.p99))}${middle(rounds, (r) => r.postgres) > 0 ? `  (PostgreSQL ${middle(rounds, (r) => r.postgres).toFixed(0)} µs of it)` : ''}`,
    )
  console.log(`${one.name}: server CPU a request, ${ceilings.length} rounds in turn, medians`)
  for (const [connections, rounds] of ours) line(`ours, ${connections} connections`, rounds)
  if (theirs.length > 0) line('PocketBase, 32', theirs)
  const rate = middle(ceilings, (r) => r.rate).toFixed(0)
  console.log(
    `  ceiling: role, claims, query ${middle(ceilings, (r) => r.strict).toFixed(0)} µs  ${rate}/s  (pgbench itself ${middle(ceilings, (r) => r.own).toFixed(0)} µs)`,
  )
  console.log(`  ceiling with headers, method and path, as the API sets them ${middle(ceilings, (r) => r.full).toFixed(0)} µs`)
  const main = ours.get(32)!
  const ratio = (other: (i: number) => number, rounds = main) => median(rounds.map((round, i) => round.cpu / other(i)))
  bar(
    `${one.name} CPU of the ceiling`,
    ratio((i) => ceilings[i]!.strict),
    one.bars.ceiling,
  )
  console.log(
    `        (${ratio((i) => ceilings[i]!.full).toFixed(2)} × with headers, method and path in both; ${ratio((i) => ceilings[i]!.strict + ceilings[i]!.own).toFixed(2)} × with pgbench's own CPU)`,
  )
  if (theirs.length > 0)
    bar(
      `${one.name} CPU of PocketBase`,
      ratio((i) => theirs[i]!.cpu),
      one.bars.pocketBase,
    )
  if (one.bars.wide !== undefined)
    bar(
      'CPU of 256 connections by that of 32',
      ratio((i) => main[i]!.cpu, ours.get(256)),
      one.bars.wide,
    )
  closing()
}
