/** A restart under load: how long each project goes without an answer, and whether anything that was acknowledged is missing. */
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { WITHOUT_RIGHTS } from '../../test/node.ts'
import { bar, ms, quantile } from './figures.ts'
import { type BenchProject, type BenchServer, must, ORGANISATION, startBench } from './server.ts'

const NOBODY = 65_534
/** ms of load before and after. */
const SETTLED = 3_000
const ENV = { SOVRABASE_SLEEP_AFTER: 'off' }

interface Writer {
  readonly project: BenchProject
  readonly acknowledged: Set<number>
  /** ms since start of each acknowledgement. */
  readonly at: number[]
  refused: number
  readonly reasons: Set<string>
}

const pause = (time: number) => new Promise((resolve) => setTimeout(resolve, time))

/** One insert after the other, until it is told to stop. */
async function write(writer: Writer, url: string, stopped: () => boolean): Promise<void> {
  const { project, acknowledged, at } = writer
  for (let id = 1; !stopped(); id++) {
    const answer = await fetch(`${url}/p/${project.ref}/rest/v1/marks`, {
      method: 'POST',
      headers: { apikey: project.serviceKey, 'content-type': 'application/json' },
      body: JSON.stringify({ id }),
    }).catch((error: Error) => void writer.reasons.add(String(error.cause ?? error)))
    const text = await answer?.text().catch(() => '')
    if (answer?.status === 201) {
      acknowledged.add(id)
      at.push(performance.now())
    } else {
      writer.refused++
      if (answer) writer.reasons.add(`${answer.status} ${text}`)
      await pause(20)
    }
  }
}

async function lost({ acknowledged }: Writer, dbUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: dbUrl })
  await client.connect()
  const { rows } = await client.query<{ id: number }>('select id from public.marks')
  await client.end()
  const there = new Set(rows.map(({ id }) => id))
  return [...acknowledged].filter((id) => !there.has(id)).length
}

const gapOf = ({ at }: Writer): number => at.slice(1).reduce((most, time, n) => Math.max(most, time - (at[n] ?? time)), 0)

async function projectsOf(server: BenchServer, count: number): Promise<BenchProject[]> {
  const made: BenchProject[] = []
  for (let n = 0; n < count; n++) {
    const project = await server.project(`restarted-${n}`)
    const owner = new pg.Client({ connectionString: project.dbUrl })
    await owner.connect()
    await owner.query('create table public.marks (id int primary key); grant select, insert on public.marks to service_role')
    await owner.end()
    made.push(project)
  }
  return made
}

/** Loads all projects while `restart` runs; prints and answers the worst gap. */
async function measure(
  name: string,
  server: BenchServer,
  projects: readonly BenchProject[],
  restart: () => Promise<unknown>,
): Promise<void> {
  for (const { dbUrl } of projects) {
    const owner = new pg.Client({ connectionString: dbUrl })
    await owner.connect()
    await owner.query('truncate public.marks')
    await owner.end()
  }
  let stop = false
  const writers = projects.map((project): Writer => ({ project, acknowledged: new Set(), at: [], refused: 0, reasons: new Set() }))
  const writing = Promise.all(writers.map((writer) => write(writer, server.url, () => stop)))
  await pause(SETTLED)
  await restart()
  await pause(SETTLED)
  stop = true
  await writing
  const gaps = writers.map(gapOf)
  const missing = await Promise.all(writers.map((writer) => lost(writer, writer.project.dbUrl)))
  const refused = writers.reduce((sum, writer) => sum + writer.refused, 0)
  console.log(
    `  ${name}, ${projects.length} awake: gap median ${ms(quantile(gaps, 0.5))}, worst ${ms(Math.max(...gaps))}; ${refused} requests refused`,
  )
  const [reason] = writers.flatMap(({ reasons }) => [...reasons])
  if (reason !== undefined) console.log(`  the first that was refused: ${reason.slice(0, 200)}`)
  bar(
    `lost acknowledged writes, ${name}`,
    missing.reduce((sum, n) => sum + n, 0),
    0,
    'writes',
  )
}

/** As root: the next server takes over. As one process: stopped and started on the same ports. */
export async function restarts(count: number): Promise<void> {
  const root = process.geteuid?.() === 0
  if (root) {
    const server = await startBench(ENV)
    try {
      const projects = await projectsOf(server, count)
      await measure('taken over under the keeper', server, projects, async () => {
        const banners = () => server.output().split('Ctrl-C stops everything').length
        const before = banners()
        process.kill(server.child.pid ?? 0, 'SIGUSR2')
        while (banners() === before) await pause(20)
      })
    } finally {
      await server.stop()
    }
  }
  const dataDir = mkdtempSync(join(tmpdir(), 'sovra-bench-restart-'))
  if (root) chownSync(dataDir, NOBODY, NOBODY)
  const how = { dataDir, ...(root ? { rights: WITHOUT_RIGHTS } : {}) }
  let server = await startBench(ENV, how)
  try {
    await must(server.api('POST', '/organisations', { name: ORGANISATION }), 201)
    const projects = await projectsOf(server, count)
    const ports = { SOVRABASE_API_PORT: new URL(server.url).port, SOVRABASE_WIRE_PORT: String(server.wire.port) }
    await measure('one process, stopped and started', server, projects, async () => {
      await server.kill()
      server = await startBench({ ...ENV, ...ports }, how)
    })
  } finally {
    await server.kill()
    rmSync(dataDir, { recursive: true, force: true })
  }
}
