/** One answer of a gigabyte: what the server holds meanwhile, and what its neighbours see of it. */
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { startBareReader } from './bare-reader.ts'
import { ownerOf } from './data.ts'
import { bar, median, ms } from './figures.ts'
import { type Load, requestText, startLoad } from './load.ts'
import { commandOf, cpuOfTree as cpuOf, pidsOf, rssOf } from './proc.ts'
import { type BenchProject, type BenchServer, must } from './server.ts'

const ROWS = 16_384
const ROW_BYTES = 65_536
const GIB = ROWS * ROW_BYTES
const SECONDS = 4
const ROUNDS = 3
const LOOK_MS = 50
/** Connections of the neighbours' load, with a pause between requests: their times, not the machine's limit. */
const NEIGHBOURS = { connections: 4, pause: 5 }

/** Its text compresses to nothing on disk; the answer does not know. */
const SCHEMA = `create table public.large (id int primary key, body text not null);
insert into public.large select i, repeat('x', ${ROW_BYTES}) from generate_series(1, ${ROWS}) i;
grant select on public.large to service_role`

async function neighbour(server: BenchServer) {
  const project = await server.project('neighbour')
  const { client } = await ownerOf(server, project)
  await client.query(
    `create table public.small (id int primary key); insert into public.small values (1); grant select on public.small to service_role`,
  )
  await client.end()
  const { hostname, port, host } = new URL(server.url)
  const headers = { apikey: project.serviceKey, authorization: `Bearer ${project.serviceKey}` }
  const request = requestText({ method: 'GET', path: `/p/${project.ref}/rest/v1/small?id=eq.1`, headers }, host)
  return startLoad({ host: hostname, port: Number(port), requests: [request], ...NEIGHBOURS })
}

/** Reads and forgets it, to its end or until `signal`. */
async function download(
  server: BenchServer,
  project: BenchProject,
  signal?: AbortSignal,
): Promise<{ status: number; bytes: number; seconds: number }> {
  const begun = performance.now()
  const headers = { apikey: project.serviceKey, authorization: `Bearer ${project.serviceKey}` }
  const request = get(`${server.url}/p/${project.ref}/rest/v1/large?select=id,body`, { headers })
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  let bytes = 0
  answer.on('data', (chunk: Buffer) => (bytes += chunk.length)).on('error', () => undefined)
  // Not `once`: an answer that is cut off ends with an error first.
  const close = new Promise((resolve) => answer.once('close', resolve))
  const stop = () => request.destroy()
  signal?.addEventListener('abort', stop, { once: true })
  await close
  return { status: answer.statusCode ?? 0, bytes, seconds: (performance.now() - begun) / 1000 }
}

/** What else runs while the neighbours' times are taken: over and over, until the time is up. */
type Beside = (signal: AbortSignal) => Promise<unknown>

async function p99(load: Load, beside: Beside): Promise<number> {
  const over = new AbortController()
  const running = load.run(SECONDS)
  const other = (async () => {
    while (!over.signal.aborted) await beside(over.signal)
  })()
  const { p99: found, errors } = await running
  over.abort()
  await other
  if (errors > 0) throw new Error(`${errors} neighbours' requests failed`)
  return found
}

/** One whole answer: its bytes, and what the server holds meanwhile. */
async function whole(server: BenchServer, project: BenchProject): Promise<void> {
  const node = pidsOf(server.child.pid!).find(
    (pid) => commandOf(pid).includes('main.ts') && !pidsOf(pid).some((below) => below !== pid && commandOf(below).includes('main.ts')),
  )!
  const idle = rssOf(node)
  let most = idle
  const look = setInterval(() => (most = Math.max(most, rssOf(node))), LOOK_MS)
  const spent = cpuOf(node)
  const { status, bytes, seconds } = await download(server, project)
  const cpu = (cpuOf(node) - spent) / 1e6
  clearInterval(look)
  console.log(
    `large answer: ${(bytes / 1_048_576).toFixed(0)} MiB, status ${status}, in ${seconds.toFixed(1)} s, ${cpu.toFixed(2)} s of the server's CPU; server ${idle.toFixed(0)} MiB, ${most.toFixed(0)} MiB at most`,
  )
  bar('missing of a gigabyte', Math.max(0, 1 - bytes / GIB) * 100, 0, '%')
  bar('server RSS above idle', most - idle, 32, 'MiB')
}

/** The same rows as JSON, without us. */
const BARE = 'select row_to_json(r)::text from (select id, body from public.large) r'

export async function largeAnswer(server: BenchServer): Promise<void> {
  const project = await server.project('large', { db: { engine: 'postgres', disk: 4096 } })
  await must(server.api('PATCH', `/projects/${project.ref}/settings/rest`, { max_rows: 1_000_000 }), 200)
  const { client } = await ownerOf(server, project)
  await client.query(SCHEMA)
  await client.end()
  const load = await neighbour(server)
  try {
    await load.run(2)
    await whole(server, project)
    const times = { quiet: [] as number[], bare: [] as number[], ours: [] as number[] }
    for (let round = 0; round < ROUNDS; round++) {
      times.quiet.push(await p99(load, (signal) => once(signal, 'abort')))
      // One that reads straight from the cluster cannot be told to stop half-way: each time another.
      const bare = await startBareReader(server, project)
      times.bare.push(await p99(load, (signal) => bare.read(BARE, signal)))
      await bare.stop()
      times.ours.push(await p99(load, (signal) => download(server, project, signal)))
    }
    const [quiet, bare, ours] = [median(times.quiet), median(times.bare), median(times.ours)]
    const shown = (list: readonly number[]) => list.map(ms).join(', ')
    console.log(
      `neighbours' p99: quiet ${shown(times.quiet)}; beside a bare reader ${shown(times.bare)}; beside our answers ${shown(times.ours)}`,
    )
    console.log(`  ${(bare / quiet).toFixed(2)} × beside the bare reader, ours ${(ours / bare).toFixed(2)} × of that`)
    bar("neighbours' p99", ours / quiet, 1.5)
  } finally {
    load.stop()
  }
}
