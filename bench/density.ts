/** Many projects on one server: asleep, awake and idle, and in turns under a limit. `--projects 300 --awake 100 --limit 10` */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { until } from '../test/until.ts'
import { volumesOf } from './lib/cluster.ts'
import { bar, closing, median, ms, quantile } from './lib/figures.ts'
import { commandOf, pidsOf, postgresOf, pssOf, rssOf } from './lib/proc.ts'
import { type BenchProject, type BenchServer, must, startBench, withCleanup } from './lib/server.ts'

const { values: flags } = parseArgs({
  options: {
    projects: { type: 'string', default: '300' },
    awake: { type: 'string', default: '100' },
    limit: { type: 'string', default: '10' },
    laps: { type: 'string', default: '2' },
  },
})
const count = Number(flags.projects)
const awake = Math.min(count, Number(flags.awake))
/** Of an idle cluster: postmaster, four of its own, one session of the gateway, one that listens. */
const PROCESSES = 7
/** ms for what a wake needs for a moment only. */
const SETTLE_MS = 15_000

/** Runs `fn` for each item, `width` at a time. */
async function each<T>(items: readonly T[], width: number, fn: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const item of queue) await fn(item)
    }),
  )
}

/** Node processes of the server: the one that serves, and the keeper before it where there is one. */
const nodesOf = (server: BenchServer): number[] =>
  pidsOf(server.child.pid!).filter((pid) => commandOf(pid).includes('main.ts') && !commandOf(pid).startsWith('setpriv'))

async function asleep(server: BenchServer, projects: readonly BenchProject[]): Promise<void> {
  await each(projects, 4, async ({ ref }) => void (await must(server.api('POST', `/projects/${ref}/sleep?force=true`), 200)))
}

/** Allocated MiB. */
const diskOf = (path: string): number => Number(execFileSync('du', ['-s', '-B1', path], { encoding: 'utf8' }).split('\t')[0]) / 1_048_576

async function rounds(server: BenchServer, projects: readonly BenchProject[]): Promise<void> {
  const times: number[] = []
  let errors = 0
  let most = 0
  const turns = Array.from({ length: Number(flags.laps) }, () => projects).flat()
  await each(turns, 4, async ({ ref, anonKey }) => {
    const begun = performance.now()
    const answer = await fetch(`${server.url}/p/${ref}/rest/v1/`, { headers: { apikey: anonKey } }).catch(() => null)
    await answer?.arrayBuffer()
    times.push(performance.now() - begun)
    if (answer?.status !== 200) errors++
    if (times.length % 20 === 0) most = Math.max(most, postgresOf(server.child.pid!).length)
  })
  console.log(
    `  ${turns.length} requests in turn over ${projects.length} projects, at most ${flags.limit} awake, 4 at once: p50 ${ms(quantile(times, 0.5))}  p95 ${ms(quantile(times, 0.95))}  max ${ms(Math.max(...times))}  (${most} postgres processes at most)`,
  )
  bar('errors in turn', errors, 0, '')
}

await withCleanup(async (later) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'sovra-bench-'))
  later(() => rmSync(dataDir, { recursive: true, force: true }))
  let server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off', SOVRABASE_LIMITS_AWAKE_CLUSTERS: '0' }, { dataDir })
  later(() => server.stop())
  await must(server.api('POST', '/organisations', { name: 'bench' }), 201)
  const projects: BenchProject[] = []
  const begun = performance.now()
  await each(
    Array.from({ length: count }, (_, i) => i),
    2,
    async (i) => {
      const project = await server.project(`p-${i}`)
      projects.push(project)
      await asleep(server, [project])
    },
  )
  console.log(`  ${count} projects made in ${((performance.now() - begun) / 1000).toFixed(0)} s, two at a time, each put to sleep`)
  bar('postgres processes while all sleep', postgresOf(server.child.pid!).length, 0, '')
  bar('disk of an empty project', median(volumesOf(dataDir).map(diskOf)), 20, 'MiB')
  // Idle: what the work of creating left is collected when the collector gets to it.
  let rss = Number.POSITIVE_INFINITY
  const nodes = nodesOf(server)
  const read = () => nodes.map(rssOf)
  const settled = () => {
    rss = Math.min(rss, Math.max(...read()))
    return rss <= 150
  }
  await until(settled, 60_000, 1_000).catch(() => {})
  console.log(
    `  node processes, MiB resident: ${read()
      .map((mib) => mib.toFixed(0))
      .join(' + ')} (the server; the keeper where root)`,
  )
  bar('server RSS, idle', rss, 150, 'MiB')

  const woken = projects.slice(0, awake)
  await each(woken, 4, async ({ ref }) => void (await must(server.api('POST', `/projects/${ref}/wake`), 200)))
  await until(() => postgresOf(server.child.pid!).length <= awake * PROCESSES, SETTLE_MS, 500).catch(() => {})
  const processes = postgresOf(server.child.pid!)
  console.log(
    `  ${awake} awake: ${processes.length} postgres processes, server ${read()
      .map((mib) => mib.toFixed(0))
      .join(' + ')} MiB`,
  )
  bar('PSS of an awake idle project', pssOf(processes) / awake, 10, 'MiB')

  await server.kill()
  server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off', SOVRABASE_LIMITS_AWAKE_CLUSTERS: flags.limit }, { dataDir })
  await rounds(server, woken)
  closing()
})
