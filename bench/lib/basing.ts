/** The base backup of a large project that is awake, beside pg_basebackup on an exact copy of its cluster. */
import { appendFileSync, existsSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import { type Bare, copy } from './cluster.ts'
import { type Copies, inTurns, shell, timed, ZSTD } from './copies.ts'
import { bar, median, ms, quantile } from './figures.ts'
import { type BenchProject, type BenchServer, must } from './server.ts'

export interface Beside {
  readonly server: BenchServer
  readonly bare: Bare
  readonly project: BenchProject
  readonly volume: string
  readonly copies: Copies
  readonly rounds: number
}

/** ms of traffic without a backup. */
const QUIET = 5_000
/** Slower than 1 / 0.6 of pg_basebackup's time is too slow. */
const SPEED = 0.6
const root = resolve(import.meta.dirname, '../..')

/** Of PostgreSQL's own tools, fetched where they are not there. */
async function pgBasebackup(): Promise<{ program: string; libraries: string }> {
  const tools = join(process.env.SOVRA_TOOLS_DIR ?? join(root, '.cache/tools'), 'postgresql-18')
  const program = join(tools, 'bin/pg_basebackup')
  if (!existsSync(program)) await shell('bash "$1" >&2', join(root, 'scripts/postgres-tools.sh'))
  return { program, libraries: join(tools, 'lib') }
}

async function fill(project: BenchProject, megabytes: number): Promise<void> {
  const owner = new pg.Client({ connectionString: project.dbUrl })
  await owner.connect()
  await owner.query('create table public.blobs (id int primary key, text text); create table public.todos (id int primary key, title text)')
  await owner.query(`insert into public.todos values (1, 'one'); grant select on public.todos to service_role`)
  // Text that compresses about as people's does.
  for (let n = 0; n < megabytes; n++)
    await owner.query(
      `insert into public.blobs select ${n} * 128 + i, (select string_agg(md5((${n} * 128 + i * 1000 + j)::text), '') from generate_series(1, 240) j) from generate_series(1, 128) i`,
    )
  await owner.query('checkpoint').catch(() => {})
  await owner.end()
}

/** Requests one after the other until `done`; their times. */
async function traffic(server: BenchServer, { ref, serviceKey }: BenchProject, done: () => boolean): Promise<number[]> {
  const times: number[] = []
  while (!done()) {
    times.push(
      await timed(async () => {
        const answer = await fetch(`${server.url}/p/${ref}/rest/v1/todos?id=eq.1`, { headers: { apikey: serviceKey } })
        if (answer.status !== 200) throw new Error(await answer.text())
        await answer.text()
      }),
    )
  }
  return times
}

async function meanwhile(server: BenchServer, project: BenchProject, work: () => Promise<unknown>): Promise<number> {
  let finished = false
  const loaded = traffic(server, project, () => finished)
  await work().finally(() => {
    finished = true
  })
  return quantile(await loaded, 0.99)
}

type Beneath = 'alone' | 'ours' | 'theirs'

/** Each in turns; medians. */
async function besides(
  works: Record<Beneath, () => Promise<unknown>>,
  rounds: number,
  measure: (work: () => Promise<unknown>) => Promise<number>,
): Promise<Record<Beneath, number>> {
  const seen: Record<Beneath, number[]> = { alone: [], ours: [], theirs: [] }
  for (let round = 0; round < rounds; round++)
    for (const [name, work] of Object.entries(works)) seen[name as Beneath].push(await measure(work))
  return { alone: median(seen.alone), ours: median(seen.ours), theirs: median(seen.theirs) }
}

/** Answers the file of the last backup. */
export async function basing({ server, bare, project, volume, copies, rounds }: Beside, megabytes: number): Promise<string> {
  await fill(project, megabytes)
  const { program, libraries } = await pgBasebackup()
  const twin = join(copies.folder, 'twin')
  await must(server.api('POST', `/projects/${project.ref}/sleep?force=true`), 200)
  copy(volume, twin)
  bare.give(copies.folder)
  bare.trust(twin)
  writeFileSync(join(twin, 'pg_hba.conf'), 'local all all trust\nlocal replication all trust\n')
  // Its autovacuum writes; a checkpoint then takes away what a copy that has begun still needs.
  appendFileSync(join(twin, 'postgresql.auto.conf'), "wal_keep_size = '4GB'\n")
  await bare.firstQuery(twin, 'select 1')
  await must(server.api('POST', `/projects/${project.ref}/wake`), 200)
  let file = ''
  const ours = async () => {
    file = await copies.backup(`/projects/${project.ref}/backup`, 'one.tar')
  }
  const script = `LD_LIBRARY_PATH="$4" "$1" -h "$2" -U sovrabase_admin -D - -Ft -X fetch -c fast --no-manifest | ${ZSTD} -o "$3"`
  const theirs = () => shell(script, program, bare.sockets, join(copies.folder, 'beside.zst'), libraries)
  const times = await inTurns(rounds, ours, theirs)
  console.log(`  ${megabytes} MB awake: ours ${ms(times.ours)}, pg_basebackup | zstd ${ms(times.theirs)}`)
  bar('base backup beside pg_basebackup', times.ours / times.theirs, 1 / SPEED)
  const p99 = await besides({ alone: () => setTimeout(QUIET), ours, theirs }, rounds, (work) => meanwhile(server, project, work))
  await bare.stop()
  console.log(
    `  p99 of its traffic: alone ${ms(p99.alone)}, meanwhile ${ms(p99.ours)}, beside pg_basebackup | zstd of a twin ${ms(p99.theirs)}`,
  )
  bar('p99 of its traffic', p99.ours / p99.alone, 2)
  return file
}
