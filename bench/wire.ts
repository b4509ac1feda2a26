/**
 * The wire listener beside a direct connection: `pgbench -S` over the cluster's own socket, and through the listener (TCP, SCRAM), in turns.
 * Prints the median server CPU per transaction (cluster, and cluster with listener) and the ratio; pgbench's own CPU is not counted.
 * `--clients 8 --seconds 3 --rounds 5 --protocol prepared`
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Budget } from '@sovrabase/server/apis/wire/budget'
import { wireApi } from '@sovrabase/server/apis/wire/listener'
import { silentLog } from '@sovrabase/server/base/log'
import { startCluster } from '@sovrabase/server/runtime/engines/postgres/wire/cluster.testing'
import { holdEntry, newEntry } from '@sovrabase/server/runtime/entry'
import type { Service } from '@sovrabase/server/runtime/services'

const { values: flags } = parseArgs({
  options: {
    clients: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '5' },
    protocol: { type: 'string', default: 'prepared' },
    serve: { type: 'string' },
  },
})
const REF = 'abcdefghijklmnopqrst'
const TICK_US = 10_000

/** The listener alone, in a process of its own, so that its CPU can be told from this one's. */
async function serve(host: string): Promise<void> {
  const entry = newEntry({ id: REF, project: REF, name: 'db' } as Service)
  entry.endpoint = { service: REF, host, port: 5432, run: '1' }
  const listener = await wireApi({
    listen: { host: '127.0.0.1', port: 0 },
    resolve: async () => ({ connections: 100, keepIdle: false }),
    hold: async (_ref, _service, reason) => holdEntry(entry, reason, Date.now, () => {}),
    budget: new Budget({ limit: 10, window: 3_600_000, now: Date.now }),
    log: silentLog,
  })
  process.send?.(listener.port)
}

/** CPU µs of a process, its children that ended and its children that live. */
function cpuOf(pid: number): number {
  const fields = (id: number | string) =>
    readFileSync(`/proc/${id}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
  const own = (id: number | string) => {
    const [user, system, endedUser, endedSystem] = fields(id).slice(11, 15).map(Number)
    return (user ?? 0) + (system ?? 0) + (endedUser ?? 0) + (endedSystem ?? 0)
  }
  let ticks = 0
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (Number(id) === pid || Number(fields(id)[1]) === pid) ticks += own(id)
    } catch {
      // It ended in the meantime, and its parent has its time.
    }
  }
  return ticks * TICK_US
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

async function main(): Promise<void> {
  const cluster = await startCluster()
  const admin = await cluster.admin()
  const has = (await admin.query(`select 1 from pg_roles where rolname = 'postgres'`)).rows.length > 0
  await admin.query(`${has ? 'alter' : 'create'} role postgres login password 'bench'`)
  await admin.query('grant all on schema public to postgres')
  await admin.end()
  const listener = fork(import.meta.filename, ['--serve', cluster.host])
  const [port] = (await once(listener, 'message')) as [number]
  const pgbench = (host: string, at: number, user: string, ...args: string[]) =>
    execFileSync('pgbench', ['-h', host, '-p', String(at), '-U', user, ...args, 'postgres'], {
      env: { ...process.env, PGPASSWORD: 'bench' },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  type Way = [host: string, port: number, user: string]
  const ways: { direct: Way; listener: Way } = {
    direct: [cluster.host, 5432, 'postgres'],
    listener: ['127.0.0.1', port, `postgres.${REF}`],
  }
  const seen: Record<keyof typeof ways, number[]> = { direct: [], listener: [] }
  const rate: Record<keyof typeof ways, number[]> = { direct: [], listener: [] }
  try {
    pgbench(...ways.direct, '-i', '-q')
    const load = ['-S', '-n', '-M', flags.protocol, '-c', flags.clients, '-T', flags.seconds]
    for (let round = 0; round < Number(flags.rounds); round++) {
      for (const way of ['direct', 'listener'] as const) {
        const before = cpuOf(cluster.pid) + cpuOf(listener.pid ?? 0)
        const told = pgbench(...ways[way], ...load)
        const used = cpuOf(cluster.pid) + cpuOf(listener.pid ?? 0) - before
        seen[way].push(used / Number(/processed: (\d+)/.exec(told)?.[1] ?? 1))
        rate[way].push(Number(/tps = ([\d.]+)/.exec(told)?.[1] ?? 0))
      }
    }
  } finally {
    listener.kill()
    await cluster.stop()
  }
  const [direct, through] = [median(seen.direct), median(seen.listener)]
  for (const way of ['direct', 'listener'] as const)
    console.log(`${way.padEnd(9)} ${median(seen[way]).toFixed(1)} µs CPU a transaction, ${Math.round(median(rate[way]))} transactions/s`)
  console.log(`ratio     ${(through / direct).toFixed(2)} × (the listener adds ${(through - direct).toFixed(1)} µs)`)
}

if (flags.serve) await serve(flags.serve)
else await main()
