/** POST of a project to its first successful insert, beside template copy + fsync of each file + bare start; also with a pool of 3. `--rounds 10` */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { until } from '../test/until.ts'
import { Bare, copy, fsyncAll, programOf, templateOf, volumesOf } from './lib/cluster.ts'
import { bar, closing, ms, quantile } from './lib/figures.ts'
import { postmastersOf } from './lib/proc.ts'
import { type BenchServer, must, ORGANISATION, startBench, withCleanup } from './lib/server.ts'

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '10' } } })
const SQL = 'create table public.todos (id int primary key, title text); insert into public.todos values (1)'
const POOL = 3

/** ms from the POST to the first row; then the project is put to sleep, so that it costs the next one nothing. */
async function create(server: BenchServer, name: string): Promise<number> {
  const begun = performance.now()
  const { ref } = await must<{ ref: string }>(
    server.api('POST', `/organisations/${ORGANISATION}/projects`, { name }, { headers: { prefer: 'wait=60' } }),
    201,
  )
  const created = performance.now() - begun
  // The password is asked for apart: an audited act of its own, no part of a creation.
  const { db_url } = await must<{ db_url: string }>(server.api('POST', `/projects/${ref}/connection/reveal`), 200)
  const again = performance.now()
  const client = new pg.Client({ connectionString: db_url })
  await client.connect()
  await client.query(SQL)
  const took = created + performance.now() - again
  await client.end()
  await must(server.api('POST', `/projects/${ref}/sleep?force=true`), 200)
  return took
}

/** Until the pool is full again and no job is under way. */
async function refilled(server: BenchServer): Promise<void> {
  const db = new DatabaseSync(join(server.dataDir, 'metadata.sqlite'), { readOnly: true })
  const ready = db.prepare(`select count(*) as n from services where project_ref = '' and status in ('awake', 'asleep')`)
  const open = db.prepare(`select count(*) as n from jobs where finished_at is null and kind = 'reconcile'`)
  await until(() => (ready.get() as { n: number }).n >= POOL && (open.get() as { n: number }).n === 0, 60_000).finally(() => db.close())
}

await withCleanup(async (later) => {
  const plain = await startBench({ SOVRABASE_SLEEP_AFTER: 'off' })
  later(() => plain.stop())
  const pooled = await startBench({ SOVRABASE_SLEEP_AFTER: 'off', SOVRABASE_ENGINES_POSTGRES_POOL: String(POOL) })
  later(() => pooled.stop())
  await plain.project('first')
  const program = programOf(postmastersOf(plain.child.pid!)[0]!)
  const [volume = ''] = volumesOf(plain.dataDir)
  const template = templateOf(plain.dataDir)
  const bare = new Bare(program, statSync(volume).uid)
  later(() => bare.remove())
  // On the same file system, out of the server's way.
  const folder = mkdtempSync(`${plain.dataDir}-copy-`)
  later(() => rmSync(folder, { recursive: true, force: true }))
  bare.give(folder)

  const times = { ours: [] as number[], pool: [] as number[], bare: [] as number[] }
  for (let round = -1; round < Number(flags.rounds); round++) {
    const ours = await create(plain, `plain-${round + 1}`)
    await refilled(pooled)
    const pool = await create(pooled, `pooled-${round + 1}`)
    await refilled(pooled)
    const begun = performance.now()
    const fresh = join(folder, String(round + 1))
    copy(template, fresh)
    bare.give(fresh)
    bare.trust(fresh)
    copy(join(volume, 'postgresql.conf'), join(fresh, 'postgresql.conf'))
    fsyncAll(fresh)
    await bare.firstQuery(fresh, SQL)
    const beside = performance.now() - begun
    await bare.stop()
    rmSync(fresh, { recursive: true })
    if (round < 0) continue
    times.ours.push(ours)
    times.pool.push(pool)
    times.bare.push(beside)
  }
  for (const [name, list] of Object.entries(times))
    console.log(`  ${name.padEnd(5)} p50 ${ms(quantile(list, 0.5))}  p95 ${ms(quantile(list, 0.95))}`)
  bar('create p50', quantile(times.ours, 0.5) / quantile(times.bare, 0.5), 1.3)
  bar(`create p50 with a pool of ${POOL}`, quantile(times.pool, 0.5) / quantile(times.bare, 0.5), 0.4)
  closing()
})
