/** Points in time: how late the archive is, what it costs, and one of many projects restored to a moment while the others serve. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { bar, ms, quantile } from './figures.ts'
import { cpuOfTree } from './proc.ts'
import { type BenchProject, type BenchServer, must, ORGANISATION, startBench } from './server.ts'

const MICRO = 1_000_000
const WRITES = 2_000
/** ms of single writes, over which the archive's delay is looked at. */
const WATCHED = 30_000
const EVERY = 100
const WORKERS = 4
const RESTORED = 120_000
/** ms from a commit until it must be archived: the default. */
const WITHIN = 10_000

interface Archive {
  readonly ranges: readonly unknown[]
  readonly unstored_since: string | null
}

const pause = (time: number) => new Promise((resolve) => setTimeout(resolve, time))
const archiveOf = (server: BenchServer, { ref }: BenchProject) => must<Archive>(server.api('GET', `/projects/${ref}/archive`), 200)

async function owner({ dbUrl }: BenchProject): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: dbUrl })
  await client.connect()
  return client
}

/** CPU seconds of server and cluster for so many single commits. */
async function cost(server: BenchServer, client: pg.Client): Promise<number> {
  const before = cpuOfTree(server.child.pid!) / MICRO
  for (let n = 0; n < WRITES; n++) await client.query('insert into public.marks (text) values ($1)', ['x'.repeat(200)])
  // What is not archived yet is part of the cost.
  await pause(WITHIN)
  return cpuOfTree(server.child.pid!) / MICRO - before
}

async function delays(server: BenchServer, project: BenchProject, client: pg.Client): Promise<number[]> {
  const seen: number[] = []
  const until = performance.now() + WATCHED
  while (performance.now() < until) {
    await client.query('insert into public.marks (text) values ($1)', ['x'])
    const { unstored_since } = await archiveOf(server, project)
    seen.push(unstored_since === null ? 0 : Date.now() - Date.parse(unstored_since))
    await pause(EVERY)
  }
  return seen
}

async function serve(
  server: BenchServer,
  projects: readonly BenchProject[],
  done: () => boolean,
): Promise<{ answers: number; errors: number }> {
  const counted = { answers: 0, errors: 0 }
  await Promise.all(
    Array.from({ length: WORKERS }, async (_, worker) => {
      for (let n = worker; !done(); n += WORKERS) {
        const { ref, serviceKey } = projects[n % projects.length]!
        const answer = await fetch(`${server.url}/p/${ref}/rest/v1/marks?limit=1`, { headers: { apikey: serviceKey } }).catch(() => null)
        if (answer?.status === 200) counted.answers++
        else counted.errors++
        await answer?.text()
      }
    }),
  )
  return counted
}

async function restoreOne(server: BenchServer, from: BenchProject, at: string): Promise<number> {
  const began = performance.now()
  const body = { name: 'restored', from: { project: from.ref, data: true, at } }
  const made = await server.api<{ ref: string }>('POST', `/organisations/${ORGANISATION}/projects`, body, {
    headers: { prefer: 'wait=60' },
  })
  for (;;) {
    const { services } = await must<{ services: { status: string }[] }>(server.api('GET', `/projects/${made.body.ref}`), 200)
    if (services[0]?.status === 'awake') return performance.now() - began
    if (services[0]?.status === 'failed' || performance.now() - began > RESTORED) throw new Error('it was not restored')
    await pause(EVERY)
  }
}

export async function points(count: number): Promise<void> {
  const place = mkdtempSync(join(tmpdir(), 'sovra-bench-archive-'))
  chmodSync(place, 0o777)
  const server = await startBench({
    SOVRABASE_SLEEP_AFTER: 'off',
    SOVRABASE_BACKUP_ARCHIVE: place,
    SOVRABASE_LIMITS_AWAKE_CLUSTERS: String(count + 10),
  })
  try {
    const projects: BenchProject[] = []
    for (let n = 0; n < count; n++) {
      const project = await server.project(`project-${n}`)
      const client = await owner(project)
      await client.query(
        'create table public.marks (id bigint generated always as identity primary key, text text); grant select on public.marks to service_role',
      )
      await client.end()
      projects.push(project)
    }
    const [one, ...others] = projects as [BenchProject, ...BenchProject[]]
    const client = await owner(one)
    const without = await cost(server, client)
    await must(server.api('PATCH', `/projects/${one.ref}/settings/backup`, { point_in_time: true }), 200)
    while ((await archiveOf(server, one)).ranges.length === 0) await pause(EVERY)
    const withIt = await cost(server, client)
    console.log(`  ${WRITES} commits: ${without.toFixed(2)} s CPU without an archive, ${withIt.toFixed(2)} s with it`)
    const seen = await delays(server, one, client)
    console.log(`  commit to archive: median ${ms(quantile(seen, 0.5))}, most ${ms(Math.max(...seen))}`)
    bar('commit to archive', Math.max(...seen) / 1000, WITHIN / 1000, 's')
    const { rows } = await client.query<{ at: Date; marks: string }>('select clock_timestamp() as at, count(*) as marks from public.marks')
    await client.query('insert into public.marks (text) values ($1)', ['later'])
    await client.end()
    let finished = false
    const serving = serve(server, others, () => finished)
    const took = await restoreOne(server, one, rows[0]!.at.toISOString())
    finished = true
    const { answers, errors } = await serving
    console.log(`  1 of ${count} restored to a moment in ${ms(took)}; ${answers} answers of the others meanwhile`)
    bar('their errors', errors, 0, 'errors')
  } finally {
    await server.stop()
    rmSync(place, { recursive: true, force: true })
  }
}
