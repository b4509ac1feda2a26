/**
 * The data path without HTTP: `asRole` against pgbench with the same statements on the same cluster, 32 requests under way,
 * 3 roles and 500 users alternating. Prints the median CPU per request of interleaved rounds and the ratio.
 * `ours` is the CPU of PostgreSQL and of this process; the ceiling is the CPU of PostgreSQL under pgbench (pgbench's own beside it).
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { asRole, type Identity } from '@sovrabase/server/runtime/engines/postgres/as-role'
import { prepare, startCluster } from '@sovrabase/server/runtime/engines/postgres/wire/cluster.testing'
import { PipelinePool } from '@sovrabase/server/runtime/engines/postgres/wire/pool'

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string', default: '' },
    clients: { type: 'string', default: '32' },
    shared: { type: 'string' },
    exclusive: { type: 'string' },
    bare: { type: 'boolean', default: false },
    ceiling: { type: 'boolean', default: true },
  },
  allowNegative: true,
})
const ROLES = ['authenticated', 'editor', 'service_role'] as const
const USERS = 500
const CLIENTS = Number(flags.clients)
const TICKS_US = 10_000
const HEADERS = '{"host":"127.0.0.1:8080","user-agent":"node","accept":"application/json","x-client-info":"supabase-js-node/2.109.0"}'
/** Three digits at the end, so that pgbench can write it with its one kind of variable. */
const UUID = '00000000-0000-4000-8000-000000000'
const FIRST_USER = 100
const uuidOf = (user: number): string => `${UUID}${FIRST_USER + user}`
const claimsOf = (user: number, role: string): string =>
  `{"iss":"http://127.0.0.1:8080/p/abcdefghijklmnopqrst/auth/v1","sub":"${uuidOf(user)}","aud":"authenticated","exp":1795003600,"iat":1795000000,"email":"user${user}@example.com","phone":"","app_metadata":{"provider":"email","providers":["email"]},"user_metadata":{},"role":"${role}","aal":"aal1","session_id":"5b7a1a0e-3f1e-4a56-a2c7-0f6a1b2c3d4e"}`

const JSON_OF = (inner: string): string => `select coalesce(json_agg(t), '[]')::text as body from (${inner}) t`
const SUB = `(:uuid::text || :sub)::uuid`
interface Case {
  readonly sql: string
  readonly params: (user: number, n: number) => (string | number)[]
  /** The parameters as pgbench expressions. */
  readonly variables: readonly string[]
  readonly method: string
  readonly quick: boolean
}
const CASES: Record<string, Case> = {
  read: {
    sql: JSON_OF('select id, title, done from public.todos where id = $1'),
    params: (user, n) => [user + USERS * (1 + (n % 28))],
    variables: [':id'],
    method: 'GET',
    quick: true,
  },
  list: {
    sql: JSON_OF('select id, title, done, inserted_at from public.todos where owner = $1 order by id limit 20'),
    params: (user) => [uuidOf(user)],
    variables: [SUB],
    method: 'GET',
    quick: true,
  },
  insert: {
    sql: `with t as (insert into public.todos(owner, title) values ($1, $2) returning id, title, done) ${JSON_OF('select * from t')}`,
    params: (user) => [uuidOf(user), 'a new todo'],
    variables: [SUB, ':title'],
    method: 'POST',
    quick: false,
  },
}

const cluster = await startCluster(['fsync=on', 'synchronous_commit=on', 'full_page_writes=on'])
const directory = mkdtempSync(join(tmpdir(), 'sovra-bench-'))
try {
  await prepare(cluster, USERS)
  const client = await cluster.admin()
  await client.query(
    `update public.todos set owner = ('00000000-0000-4000-8000-' || lpad((${FIRST_USER} + id % ${USERS})::text, 12, '0'))::uuid`,
  )
  await client.query('vacuum full analyze public.todos')
  await client.end()
  const settings = flags.bare ? 2 : 5
  console.log(
    `${CLIENTS} requests under way, ${settings} settings a request, ${flags.rounds} rounds of ${flags.seconds} s; CPU µs a request`,
  )
  for (const [name, one] of Object.entries(CASES)) if (flags.only === '' || flags.only.split(',').includes(name)) await compare(name, one)
} finally {
  rmSync(directory, { recursive: true, force: true })
  await cluster.stop()
}

async function compare(name: string, one: Case): Promise<void> {
  const limits = {
    ...(flags.shared ? { shared: Number(flags.shared) } : {}),
    ...(flags.exclusive ? { exclusive: Number(flags.exclusive) } : {}),
  }
  const pool = new PipelinePool({
    host: cluster.host,
    port: 5432,
    user: 'sovrabase_gateway',
    password: 'gateway-password',
    database: 'postgres',
    searchPath: 'public',
    limits,
  })
  const file = join(directory, `${name}.sql`)
  const script = ROLES.map((role) => [role, pgbenchScript(one, role)] as const)
  const scripts = script.map(([role, text]) => {
    const path = `${file}.${role}`
    writeFileSync(path, text)
    return path
  })
  await drive(pool, one, 500)
  const rounds: Round[] = []
  for (let i = 0; i < Number(flags.rounds); i++) {
    const ceiling = flags.ceiling ? await pgbench(scripts) : { cpu: Number.NaN, total: Number.NaN, rate: Number.NaN }
    const before = [treeCpu(cluster.pid), process.cpuUsage()] as const
    const start = performance.now()
    const done = await drive(pool, one, Number(flags.seconds) * 1_000)
    const took = performance.now() - start
    const own = process.cpuUsage(before[1])
    const postgres = ((treeCpu(cluster.pid) - before[0]) * TICKS_US) / done
    const node = (own.user + own.system) / done
    rounds.push({
      postgres,
      node,
      ours: postgres + node,
      rate: (done / took) * 1_000,
      ceiling: ceiling.cpu,
      whole: ceiling.total,
      ceilingRate: ceiling.rate,
    })
  }
  const of = (pick: (round: Round) => number) => median(rounds.map(pick))
  console.log(
    `${name.padEnd(7)} ours ${of((r) => r.ours).toFixed(1)} (postgres ${of((r) => r.postgres).toFixed(1)}, node ${of((r) => r.node).toFixed(1)}), ` +
      `${of((r) => r.rate).toFixed(0)}/s | ceiling ${of((r) => r.ceiling).toFixed(1)} (with pgbench ${of((r) => r.whole).toFixed(1)}), ${of((r) => r.ceilingRate).toFixed(0)}/s | ` +
      `ratio ${of((r) => r.ours / r.ceiling).toFixed(2)} (${of((r) => r.ours / r.whole).toFixed(2)} with pgbench's own)`,
  )
  console.log(`        ${JSON.stringify(pool.load)} retried ${pool.metrics.retried} errors ${pool.metrics.errors}`)
  await pool.close()
}

interface Round {
  postgres: number
  node: number
  ours: number
  rate: number
  ceiling: number
  whole: number
  ceilingRate: number
}

/** Keeps CLIENTS requests under way for `ms`; the number of answers. */
async function drive(pool: PipelinePool, one: Case, ms: number): Promise<number> {
  const end = performance.now() + ms
  let n = 0
  const options = { quick: one.quick }
  const worker = async () => {
    while (performance.now() < end) {
      const count = n++
      const user = (count * 7) % USERS
      const role = ROLES[count % ROLES.length]!
      const identity: Identity = flags.bare
        ? { role, claimsJson: claimsOf(user, role), searchPath: 'public' }
        : { role, claimsJson: claimsOf(user, role), searchPath: 'public', headersJson: HEADERS, method: one.method, path: '/todos' }
      const result = await asRole(pool, identity, { sql: one.sql, params: one.params(user, count) }, options)
      const bytes = result.bytes()
      if (bytes === null || bytes.length < 10) throw new Error(`wrong answer: ${result.text()}`)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, worker))
  return n
}

/** The same statements. Variables of pgbench become parameters; its numbers are put between the two parts of the claims. */
function pgbenchScript(one: Case, role: string): string {
  const more = flags.bare
    ? ''
    : ` or set_config('request.headers', :headers, true) is null or set_config('request.method', '${one.method}', true) is null or set_config('request.path', '/todos', true) is null`
  const query = one.variables.reduce((sql, variable, i) => sql.replaceAll(`$${i + 1}`, variable), one.sql)
  return `\\set u random(0, ${USERS - 1})
\\set id :u + ${USERS} * random(1, 28)
\\set sub :u + ${FIRST_USER}
\\startpipeline
select where set_config('role', '${role}', true) is null or set_config('request.jwt.claims', :before::text || :sub || :after, true) is null${more};
${query};
\\endpipeline
`
}

async function pgbench(scripts: string[]): Promise<{ cpu: number; total: number; rate: number }> {
  const args = [
    '-h',
    cluster.host,
    '-U',
    'sovrabase_gateway',
    '-n',
    '-M',
    'prepared',
    '-c',
    String(CLIENTS),
    '-j',
    '1',
    '-T',
    flags.seconds,
  ]
  for (const script of scripts) args.push('-f', script)
  const [before_, after] = claimsOf(0, ROLES[0]).split(uuidOf(0)) as [string, string]
  const variables = { before: `${before_}${UUID}`, after, headers: HEADERS, uuid: UUID, title: 'a new todo' }
  for (const [name, value] of Object.entries(variables)) args.push('-D', `${name}=${value}`)
  const before = treeCpu(cluster.pid)
  const child = spawn('/usr/bin/pgbench', [...args, 'postgres'], { env: { PGPASSWORD: 'gateway-password', PATH: process.env.PATH } })
  let out = ''
  let own = 0
  child.stdout.on('data', (chunk: Buffer) => (out += chunk))
  child.stderr.on('data', (chunk: Buffer) => (out += chunk))
  const watch = setInterval(() => (own = ticksOf(child.pid!)?.own ?? own), 20)
  const code = await new Promise((resolve) => child.once('close', resolve))
  clearInterval(watch)
  const done = Number(/actually processed: (\d+)/.exec(out)?.[1] ?? 0)
  if (code !== 0 || done === 0) throw new Error(out)
  const cpu = ((treeCpu(cluster.pid) - before) * TICKS_US) / done
  return { cpu, total: cpu + (own * TICKS_US) / done, rate: done / Number(flags.seconds) }
}

function ticksOf(pid: number): { parent: number; own: number; reaped: number } | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ').map(Number)
    return { parent: fields[1]!, own: fields[11]! + fields[12]!, reaped: fields[13]! + fields[14]! }
  } catch {
    return null
  }
}

/** Clock ticks that the process, its children, and those that it reaped have used. */
function treeCpu(pid: number): number {
  const own = ticksOf(pid)
  let sum = (own?.own ?? 0) + (own?.reaped ?? 0)
  for (const entry of readdirSync('/proc')) {
    const ticks = /^\d+$/.test(entry) ? ticksOf(Number(entry)) : null
    if (ticks?.parent === pid) sum += ticks.own
  }
  return sum
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}
