/** One answer of a gigabyte: what the server holds meanwhile, and what its neighbours see of it. */
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { ownerOf } from './data.ts'
import { bar, ms } from './figures.ts'
import { requestText, startLoad } from './load.ts'
import { commandOf, pidsOf, rssOf } from './proc.ts'
import { type BenchProject, type BenchServer, must } from './server.ts'

const ROWS = 16_384
const ROW_BYTES = 65_536
const GIB = ROWS * ROW_BYTES
const SECONDS = 8
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

/** Reads and forgets it. */
async function download(server: BenchServer, project: BenchProject): Promise<{ status: number; bytes: number; seconds: number }> {
  const begun = performance.now()
  const headers = { apikey: project.serviceKey, authorization: `Bearer ${project.serviceKey}` }
  const [answer] = (await once(get(`${server.url}/p/${project.ref}/rest/v1/large?select=id,body`, { headers }), 'response')) as [
    IncomingMessage,
  ]
  let bytes = 0
  answer.on('data', (chunk: Buffer) => (bytes += chunk.length))
  await once(answer, 'close')
  return { status: answer.statusCode ?? 0, bytes, seconds: (performance.now() - begun) / 1000 }
}

export async function largeAnswer(server: BenchServer): Promise<void> {
  const project = await server.project('large', { db: { engine: 'postgres', disk: 4096 } })
  await must(server.api('PATCH', `/projects/${project.ref}/settings/rest`, { max_rows: 1_000_000 }), 200)
  const { client } = await ownerOf(server, project)
  await client.query(SCHEMA)
  await client.end()
  const load = await neighbour(server)
  try {
    const node = pidsOf(server.child.pid!).find(
      (pid) => commandOf(pid).includes('main.ts') && !pidsOf(pid).some((below) => below !== pid && commandOf(below).includes('main.ts')),
    )!
    await load.run(2)
    const quiet = await load.run(SECONDS)
    const idle = rssOf(node)
    let most = idle
    const look = setInterval(() => (most = Math.max(most, rssOf(node))), LOOK_MS)
    const running = load.run(SECONDS)
    const answers: Awaited<ReturnType<typeof download>>[] = []
    const end = performance.now() + SECONDS * 1000
    do answers.push(await download(server, project))
    while (performance.now() < end)
    const beside = await running
    clearInterval(look)
    const [first] = answers
    console.log(
      `large answer: ${answers.length} times ${((first?.bytes ?? 0) / 1_048_576).toFixed(0)} MiB, status ${first?.status}, ${first?.seconds.toFixed(1)} s each; neighbours p99 ${ms(quiet.p99)} quiet, ${ms(beside.p99)} meanwhile, ${beside.errors} errors; server ${idle.toFixed(0)} MiB, ${most.toFixed(0)} MiB at most`,
    )
    bar('missing of a gigabyte', Math.max(0, 1 - (first?.bytes ?? 0) / GIB) * 100, 0, '%')
    bar('server RSS above idle', most - idle, 32, 'MiB')
    bar("neighbours' p99", beside.p99 / quiet.p99, 1.5)
  } finally {
    load.stop()
  }
}
