/** The first request to a sleeping project, beside a bare `postgres` start with its first query on a copy of the same directory. `--rounds 20` */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { Bare, copy, programOf, volumesOf } from './lib/cluster.ts'
import { bar, closing, ms, quantile } from './lib/figures.ts'
import { postmastersOf } from './lib/proc.ts'
import { must, startBench, withCleanup } from './lib/server.ts'

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '20' } } })
const SQL = 'select id, title from public.todos where id = 1'

await withCleanup(async (later) => {
  const server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off' })
  later(() => server.stop())
  const project = await server.project('wake')
  const owner = new pg.Client({ connectionString: project.dbUrl })
  await owner.connect()
  await owner.query(`create table public.todos (id int primary key, title text); insert into public.todos values (1, 'one');
    grant select on public.todos to service_role`)
  await owner.end()
  const [postmaster = 0] = postmastersOf(server.child.pid!)
  const program = programOf(postmaster)
  const [volume = ''] = volumesOf(server.dataDir)
  const sleep = () => must(server.api('POST', `/projects/${project.ref}/sleep?force=true`), 200)

  await sleep()
  const folder = mkdtempSync(join(tmpdir(), 'sovra-bench-copy-'))
  later(() => rmSync(folder, { recursive: true, force: true }))
  const twin = join(folder, 'volume')
  copy(volume, twin)
  const uid = statSync(volume).uid
  const bare = new Bare(program, uid)
  later(() => bare.remove())
  bare.give(folder)
  bare.trust(twin)

  const headers = { apikey: project.serviceKey, authorization: `Bearer ${project.serviceKey}` }
  const ours: number[] = []
  const theirs: number[] = []
  for (let round = -1; round < Number(flags.rounds); round++) {
    const begun = performance.now()
    const answer = await fetch(`${server.url}/p/${project.ref}/rest/v1/todos?id=eq.1`, { headers })
    const text = await answer.text()
    const took = performance.now() - begun
    if (answer.status !== 200) throw new Error(`${answer.status}: ${text}`)
    await sleep()
    const started = performance.now()
    await bare.firstQuery(twin, SQL)
    const beside = performance.now() - started
    await bare.stop()
    // The first of all warms the files of both.
    if (round < 0) continue
    ours.push(took)
    theirs.push(beside)
  }
  for (const [name, times] of [
    ['ours', ours],
    ['bare', theirs],
  ] as const)
    console.log(`  ${name}  p50 ${ms(quantile(times, 0.5))}  p95 ${ms(quantile(times, 0.95))}  (${times.length} in turn)`)
  bar('wake p50', quantile(ours, 0.5) / quantile(theirs, 0.5), 1.5)
  bar('wake p95', quantile(ours, 0.95) / quantile(theirs, 0.95), 2.5)
  closing()
})
