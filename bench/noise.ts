/** Two neighbours of a project that is saturated by hostile statements and connections, beside a quiet run. `--seconds 6 --rounds 3` */
import { parseArgs } from 'node:util'
import pg from 'pg'
import { bar, closing, median, ms } from './lib/figures.ts'
import { type LoadResult, requestText, startLoad } from './lib/load.ts'
import { type BenchProject, startBench, withCleanup } from './lib/server.ts'

const { values: flags } = parseArgs({
  options: { seconds: { type: 'string', default: '6' }, rounds: { type: 'string', default: '3' }, width: { type: 'string', default: '4' } },
})
const seconds = Number(flags.seconds)
const HOSTILE = [
  'select sum(sqrt(i)) from generate_series(1, 2000000) i',
  'select md5(i::text) as h from generate_series(1, 300000) i order by h offset 299990',
  'select count(*) from generate_series(1, 3000) a, generate_series(1, 1000) b where (a * b) % 7 = 0',
  `select length(string_agg(repeat('x', 100), '')) from generate_series(1, 100000)`,
]

/** Until stopped: statements that burn CPU and memory on `width` connections, and one that opens and leaves connections all the time. */
function hostile(
  project: BenchProject,
  width: number,
): { stop(): Promise<void>; count: () => { statements: number; connections: number } } {
  let on = true
  let statements = 0
  let connections = 0
  const open = async () => {
    const client = new pg.Client({ connectionString: project.dbUrl })
    client.on('error', () => {})
    await client.connect()
    connections++
    return client
  }
  // What is refused or ended is no fault here: it is the guard at work.
  const forever = async (fn: () => Promise<void>) => {
    while (on) await fn().catch(() => {})
  }
  const workers = Array.from({ length: width }, (_, i) =>
    forever(async () => {
      const client = await open()
      try {
        for (let n = i; on; n++) {
          await client.query(HOSTILE[n % HOSTILE.length]!)
          statements++
        }
      } finally {
        await client.end().catch(() => {})
      }
    }),
  )
  const churn = forever(async () => {
    const client = await open()
    await client.query('select 1')
    await client.end()
  })
  return {
    count: () => ({ statements, connections }),
    async stop() {
      on = false
      await Promise.all([...workers, churn])
    },
  }
}

await withCleanup(async (later) => {
  const server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off' })
  later(() => server.stop())
  const loud = await server.project('loud')
  const neighbours = [await server.project('one'), await server.project('two')]
  for (const { dbUrl } of neighbours) {
    const owner = new pg.Client({ connectionString: dbUrl })
    await owner.connect()
    await owner.query(`create table public.todos (id int primary key, title text); insert into public.todos select i, 'todo' from generate_series(1, 1000) i;
      grant select, insert on public.todos to service_role`)
    await owner.end()
  }
  const { hostname, port, host } = new URL(server.url)
  const requests = Array.from({ length: 1000 }, (_, n) => {
    const { ref, serviceKey } = neighbours[n % 2]!
    const path = `/p/${ref}/rest/v1/todos?select=id,title&id=eq.${n + 1}`
    return requestText({ method: 'GET', path, headers: { apikey: serviceKey, authorization: `Bearer ${serviceKey}` } }, host)
  })
  const load = await startLoad({ host: hostname, port: Number(port), connections: 8, requests, pause: 20 })
  later(load.stop)
  await load.run(2)
  const quiet: LoadResult[] = []
  const noisy: LoadResult[] = []
  for (let round = 0; round < Number(flags.rounds); round++) {
    quiet.push(await load.run(seconds))
    const enemy = hostile(loud, Number(flags.width))
    noisy.push(await load.run(seconds))
    const { statements, connections } = enemy.count()
    await enemy.stop()
    console.log(`  hostile in round ${round + 1}: ${statements} heavy statements, ${connections} connections`)
  }
  for (const [name, results] of [
    ['quiet', quiet],
    ['noisy', noisy],
  ] as const) {
    const of = (pick: (result: LoadResult) => number) => median(results.map(pick))
    const errors = results.reduce((sum, result) => sum + result.errors, 0)
    console.log(
      `  ${name}  ${of((r) => r.done / r.seconds).toFixed(0)}/s  p50 ${ms(of((r) => r.p50))}  p99 ${ms(of((r) => r.p99))}  max ${ms(of((r) => r.max))}  errors ${errors}`,
    )
  }
  console.log(`  neighbours' p99: ${(median(noisy.map((r) => r.p99)) / median(quiet.map((r) => r.p99))).toFixed(1)} × the quiet run`)
  bar(
    'errors of the neighbours',
    noisy.reduce((sum, result) => sum + result.errors, 0),
    0,
    '',
  )
  closing()
})
