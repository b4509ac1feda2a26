/** The whole gateway beside pgbench on the same cluster and beside PocketBase, in turns. */
import { parseArgs } from 'node:util'
import { type Case, ceilingsOf, ownerOf, peerRequests, ROWS, requestsOf, SCHEMA, USERS } from './data.ts'
import { bar, closing, median, ms } from './figures.ts'
import { type Load, type LoadResult, startLoad } from './load.ts'
import { type PocketBase, startPocketBase } from './pocketbase.ts'
import { cpuOfTree } from './proc.ts'
import { type BenchProject, type BenchServer, startBench, withCleanup } from './server.ts'

/** Seconds. V8 compiles what is hot in the first tens of thousands of requests: a tenth of the server's CPU after two seconds, nearly none after ten. */
const WARM_UP = 10
/** Compiled long before. */
const PEER_WARM_UP = 2

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

export type Measured = Awaited<ReturnType<typeof measure>>

export interface Stage {
  readonly server: BenchServer
  readonly project: BenchProject
  readonly peer: PocketBase | null
}

export async function compare(one: Case): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      'no-peer': { type: 'boolean', default: false },
      profile: { type: 'string' },
    },
  })
  await withCleanup(async (later) => {
    const profile: Record<string, string> = flags.profile ? { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${flags.profile}` } : {}
    const server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off', ...profile })
    later(() => server.stop())
    const project = await server.project('data', { db: { engine: 'postgres', connections: 80 } })
    const { client } = await ownerOf(server, project)
    await client.query(SCHEMA)
    await client.query('vacuum analyze public.todos')
    await client.end()
    const peer = flags['no-peer'] ? null : await startPocketBase(USERS, ROWS)
    if (peer) later(peer.stop)
    await compareOn({ server, project, peer }, one, { rounds: Number(flags.rounds), seconds: Number(flags.seconds) })
    closing()
  })
}

/** Rounds of one case, and what they say. Answers CPU µs of PostgreSQL a request, of the ceiling with all that the API sets. */
export async function compareOn(stage: Stage, one: Case, { rounds, seconds }: { rounds: number; seconds: number }): Promise<number> {
  const { server, project, peer } = stage
  const { hostname, port } = new URL(server.url)
  const requests = requestsOf(server, project, one)
  const loads = new Map<number, Load>()
  for (const connections of one.connections)
    loads.set(connections, await startLoad({ host: hostname, port: Number(port), connections, requests }))
  const { strict, full } = await ceilingsOf(server, project, one)
  const { client, pid: postmaster } = await ownerOf(server, project)
  const ask = one.pocketBase
  const peerLoad =
    peer && ask ? await startLoad({ host: '127.0.0.1', port: peer.port, connections: 32, requests: peerRequests(peer, ask) }) : null
  try {
    await loads.get(32)!.run(WARM_UP)
    await peerLoad?.run(PEER_WARM_UP)
    const ours = new Map<number, Measured[]>(one.connections.map((connections) => [connections, []]))
    const theirs: Measured[] = []
    const ceilings: Round[] = []
    for (let round = 0; round < rounds; round++) {
      const bare = await strict.run(seconds)
      const whole = await full.run(seconds)
      ceilings.push({ strict: bare.cpu, full: whole.cpu, own: bare.own, rate: bare.rate })
      for (const [connections, load] of loads) ours.get(connections)!.push(await measure(load, server.child.pid!, seconds, postmaster))
      if (one.tidy) await client.query(one.tidy)
      if (peer && peerLoad) theirs.push(await measure(peerLoad, peer.pid, seconds))
    }
    report(one, ours, theirs, ceilings)
    return median(ceilings.map((round) => round.full))
  } finally {
    await client.end()
    for (const load of [...loads.values(), ...(peerLoad ? [peerLoad] : [])]) load.stop()
    strict.stop()
    full.stop()
  }
}

interface Round {
  readonly strict: number
  readonly full: number
  /** pgbench's own. */
  readonly own: number
  readonly rate: number
}

function report(one: Case, ours: ReadonlyMap<number, Measured[]>, theirs: readonly Measured[], ceilings: readonly Round[]): void {
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
  const { against = 'strict' } = one.bars
  const ratio = (other: (i: number) => number, rounds = main) => median(rounds.map((round, i) => round.cpu / other(i)))
  bar(
    `${one.name} CPU of the ceiling`,
    ratio((i) => ceilings[i]![against]),
    one.bars.ceiling,
  )
  console.log(
    against === 'full'
      ? `        (${ratio((i) => ceilings[i]!.strict).toFixed(2)} × the ceiling without headers, method and path)`
      : `        (${ratio((i) => ceilings[i]!.full).toFixed(2)} × with headers, method and path in both; ${ratio((i) => ceilings[i]!.strict + ceilings[i]!.own).toFixed(2)} × with pgbench's own CPU)`,
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
}
