/**
 * Tokens of requests beside the bare signature, keys and settings until they are seen, refresh exchanges beside pgbench with the very statements,
 * password sign-ins beside the bare hash, reads during a storm of sign-ins; PocketBase beside both.
 * `--only token,refresh,sign-in,storm --sign-ins 60 --connections 32 --seconds 5 --rounds 3 --no-peer --profile DIR`
 */
import { parseArgs } from 'node:util'
import { type People, peopleOf } from './lib/auth-people.ts'
import { refreshing, warm } from './lib/auth-refresh.ts'
import { EMAIL, PASSWORD, signingIn } from './lib/auth-sign-in.ts'
import { stormed } from './lib/auth-storm.ts'
import { bar, closing } from './lib/figures.ts'
import { startPocketBase } from './lib/pocketbase.ts'
import { type BenchProject, type BenchServer, must, startBench, withCleanup } from './lib/server.ts'
import { verifying } from './lib/verify.ts'

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: 'token,refresh,sign-in,storm' },
    'sign-ins': { type: 'string', default: '60' },
    connections: { type: 'string', default: '32' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    'no-peer': { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
})
const parts = flags.only.split(',')
const seconds = Number(flags.seconds)
const rounds = Number(flags.rounds)
const PEERS = 20

/** ms from the answer of a change until the public doors show it. */
async function visible(server: BenchServer, url: string, ref: string): Promise<{ settings: number; keys: number }> {
  const since = async (seen: () => Promise<boolean>): Promise<number> => {
    const start = performance.now()
    while (!(await seen())) await new Promise((resolve) => setTimeout(resolve, 5))
    return performance.now() - start
  }
  const read = async <T>(path: string): Promise<T> => (await (await fetch(`${url}/auth/v1${path}`)).json()) as T
  await must(server.api('PATCH', `/projects/${ref}/settings/auth`, { anonymous_users: true }), 200)
  const settings = await since(async () => (await read<{ external: { anonymous_users: boolean } }>('/settings')).external.anonymous_users)
  const before = (await read<{ keys: unknown[] }>('/.well-known/jwks.json')).keys.length
  await must(server.api('POST', `/projects/${ref}/signing-keys`, { alg: 'ES256' }), 201)
  const keys = await since(async () => (await read<{ keys: unknown[] }>('/.well-known/jwks.json')).keys.length > before)
  return { settings, keys }
}

async function tokens(server: BenchServer, url: string, ref: string): Promise<void> {
  const { cached, first, bare: signature } = verifying()
  console.log(
    `token of a request: ${cached.toFixed(2)} µs known, ${first.toFixed(1)} µs new; the bare ES256 signature ${signature.toFixed(1)} µs`,
  )
  bar('token of a request, known', cached, 3, 'µs')
  bar('token of a request, new, by the bare signature', first / signature, 2)
  const shown = await visible(server, url, ref)
  bar('settings until they are seen', shown.settings, 2_000, 'ms')
  bar('keys until they are seen', shown.keys, 2_000, 'ms')
}

const TODOS = `create table public.todos (id int primary key, title text);
  insert into public.todos select i, 'x' from generate_series(1, 1000) i;
  alter table public.todos enable row level security;
  grant select on public.todos to authenticated;
  create policy all_of_them on public.todos for select using (true);`

/** Of a fresh user, for the reads. */
async function signUp(url: string, key: string): Promise<string> {
  const headers = { apikey: key, 'content-type': 'application/json' }
  const answer = await fetch(`${url}/auth/v1/signup`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ email: EMAIL, password: PASSWORD }),
  })
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
  return ((await answer.json()) as { access_token: string }).access_token
}

async function signIns(server: BenchServer, project: BenchProject, url: string, people: People): Promise<void> {
  await people.client.query(`set role postgres; ${TODOS} reset role`)
  const token = await signUp(url, project.anonKey)
  const peer = flags['no-peer'] ? null : await startPocketBase(PEERS, PEERS * 2)
  try {
    await peer?.signUp(EMAIL, PASSWORD)
    if (parts.includes('sign-in')) await signingIn(server, project, peer, { rounds, signIns: Number(flags['sign-ins']) })
    if (!parts.includes('storm')) return
    const { hostname, port } = new URL(server.url)
    const headers = { apikey: project.anonKey, authorization: `Bearer ${token}` }
    const reads = { host: hostname, port: Number(port), path: `/p/${project.ref}/rest/v1/todos?id=eq.7`, headers }
    await stormed(server, project, peer, reads, { rounds, seconds })
  } finally {
    peer?.stop()
  }
}

await withCleanup(async (later) => {
  const profile: Record<string, string> = flags.profile ? { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${flags.profile}` } : {}
  // Users have an address each: a count of one address is one row, and whoever comes by it waits for the others.
  const server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off', SOVRABASE_API_TRUSTED_PROXIES: '127.0.0.1', ...profile })
  later(() => server.stop())
  const project = await server.project('auth', { db: { engine: 'postgres', connections: 80 } })
  const url = `${server.url}/p/${project.ref}`
  const rates = { sign_ins: 100_000, failures: 1_000, refreshes: 100_000 }
  await must(server.api('PATCH', `/projects/${project.ref}/settings/auth`, { email_autoconfirm: true, rates }), 200)
  const people = await peopleOf(server, project)
  later(() => people.close())
  if (parts.includes('token')) await tokens(server, url, project.ref)
  if (parts.includes('refresh')) await refreshing(server, project, people, { connections: Number(flags.connections), seconds, rounds })
  else await warm(server, project, people, seconds)
  if (parts.includes('sign-in') || parts.includes('storm')) await signIns(server, project, url, people)
  closing()
})
