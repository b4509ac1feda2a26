/** Tokens of requests beside the bare signature, keys and settings until they are seen, password sign-ins beside the bare hash, refresh exchanges beside PostgreSQL's share, reads during a storm of sign-ins. `--sign-ins 60 --refreshes 300 --seconds 5 --rounds 3` */
import { argon2Sync, randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { bar, closing, median, ms } from './lib/figures.ts'
import { requestText, startLoad } from './lib/load.ts'
import { cpuOfTree, postmastersOf } from './lib/proc.ts'
import { type BenchProject, type BenchServer, must, startBench, withCleanup } from './lib/server.ts'
import { verifying } from './lib/verify.ts'

const { values: flags } = parseArgs({
  options: {
    'sign-ins': { type: 'string', default: '60' },
    refreshes: { type: 'string', default: '300' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
})
const signIns = Number(flags['sign-ins'])
const refreshes = Number(flags.refreshes)
const seconds = Number(flags.seconds)
const rounds = Number(flags.rounds)
const PASSWORD = 'correct horse battery staple'
const EMAIL = 'bench@example.org'
/** As realms/hashing.ts makes them. */
const HASH = { parallelism: 1, tagLength: 32, memory: 19_456, passes: 2 } as const
const STORM = 8
const READERS = 8

interface Session {
  readonly access_token: string
  readonly refresh_token: string
}

/** CPU µs of one bare hash, in this process. */
function bareHash(times: number): number {
  const before = process.cpuUsage()
  for (let i = 0; i < times; i++) argon2Sync('argon2id', { ...HASH, message: PASSWORD, nonce: randomBytes(16) })
  const { user, system } = process.cpuUsage(before)
  return (user + system) / times
}

async function ask(url: string, key: string, path: string, body: unknown): Promise<Session | null> {
  const headers = { apikey: key, 'content-type': 'application/json' }
  const answer = await fetch(`${url}/auth/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  if (answer.status === 429) {
    await answer.arrayBuffer()
    return null
  }
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as Session
}

/** CPU µs of the whole server, and of PostgreSQL in it, for each of `times` runs of `fn`. */
async function cpuOf(root: number, times: number, fn: () => Promise<unknown>): Promise<{ all: number; postgres: number }> {
  const [main] = postmastersOf(root)
  const postgres = () => (main === undefined ? 0 : cpuOfTree(main))
  const before = [cpuOfTree(root), postgres()] as const
  for (let i = 0; i < times; i++) await fn()
  return { all: (cpuOfTree(root) - before[0]) / times, postgres: (postgres() - before[1]) / times }
}

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

async function prepare(project: BenchProject): Promise<void> {
  const client = new pg.Client({ connectionString: project.dbUrl })
  await client.connect()
  await client.query(`create table todos (id int primary key, title text); insert into todos select i, 'x' from generate_series(1, 1000) i;
    alter table todos enable row level security; grant select on todos to authenticated; create policy all_of_them on todos for select using (true)`)
  await client.end()
}

await withCleanup(async (later) => {
  const server = await startBench()
  later(() => server.stop())
  const project = await server.project('auth')
  const url = `${server.url}/p/${project.ref}`
  const root = server.child.pid ?? 0
  const rates = { sign_ins: 100_000, failures: 1_000, refreshes: 100_000 }
  await must(server.api('PATCH', `/projects/${project.ref}/settings/auth`, { email_autoconfirm: true, rates }), 200)
  await prepare(project)
  const { cached, first, bare: signature } = verifying()
  console.log(
    `token of a request: ${cached.toFixed(2)} µs known, ${first.toFixed(1)} µs new; the bare ES256 signature ${signature.toFixed(1)} µs`,
  )
  bar('token of a request, known', cached, 3, 'µs')
  bar('token of a request, new, by the bare signature', first / signature, 2)
  const shown = await visible(server, url, project.ref)
  bar('settings until they are seen', shown.settings, 2_000, 'ms')
  bar('keys until they are seen', shown.keys, 2_000, 'ms')
  const enter = () => ask(url, project.anonKey, '/token?grant_type=password', { email: EMAIL, password: PASSWORD })
  let session = await ask(url, project.anonKey, '/signup', { email: EMAIL, password: PASSWORD })
  for (let i = 0; i < 10; i++) session = (await enter()) ?? session
  const exchange = async () => {
    session = await ask(url, project.anonKey, '/token?grant_type=refresh_token', { refresh_token: session?.refresh_token })
  }
  for (let i = 0; i < 50; i++) await exchange()

  const headers = { apikey: project.anonKey, authorization: `Bearer ${session?.access_token}` }
  const { hostname, port, host } = new URL(server.url)
  const requests = [requestText({ method: 'GET', path: `/p/${project.ref}/rest/v1/todos?id=eq.7`, headers }, host)]
  const load = await startLoad({ host: hostname, port: Number(port), connections: READERS, requests, pause: 5 })
  later(() => load.stop())
  await load.run(1)

  const seen = {
    bare: [] as number[],
    signIn: [] as number[],
    refresh: [] as number[],
    share: [] as number[],
    quiet: [] as number[],
    storm: [] as number[],
  }
  for (let round = 0; round < rounds; round++) {
    seen.bare.push(bareHash(signIns))
    seen.signIn.push((await cpuOf(root, signIns, enter)).all)
    const { all, postgres } = await cpuOf(root, refreshes, exchange)
    seen.refresh.push(all)
    seen.share.push(postgres)
    seen.quiet.push((await load.run(seconds)).p99)
    let on = true
    const storm = Promise.all(
      Array.from({ length: STORM }, async () => {
        while (on) await enter()
      }),
    )
    seen.storm.push((await load.run(seconds)).p99)
    on = false
    await storm
  }
  const [bare, signIn, refresh, share, quiet, storm] = [seen.bare, seen.signIn, seen.refresh, seen.share, seen.quiet, seen.storm].map(
    median,
  ) as [number, number, number, number, number, number]
  console.log(`password sign-in: ${ms(signIn / 1000)} of CPU (whole server and PostgreSQL); the bare hash ${ms(bare / 1000)}`)
  bar('password sign-in by the bare hash', signIn / bare, 1.15)
  console.log(`refresh exchange: ${refresh.toFixed(0)} µs of CPU, PostgreSQL ${share.toFixed(0)} µs of it`)
  bar("refresh exchange by PostgreSQL's share", refresh / share, 2)
  console.log(`reads, ${READERS} connections: p99 ${ms(quiet)} quiet, ${ms(storm)} while ${STORM} sign in all the time`)
  bar("reads' p99 during the storm by the quiet one", storm / quiet, 2)
  closing()
})
