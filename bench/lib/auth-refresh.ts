/** Exchanges of refresh tokens through the whole server, beside pgbench with the same statements. */
import { Agent, request } from 'node:http'
import { type People, USERS } from './auth-people.ts'
import { refreshReference } from './auth-reference.ts'
import { bar, median } from './figures.ts'
import { cpuOfTree } from './proc.ts'
import type { BenchProject, BenchServer } from './server.ts'

export interface RefreshOptions {
  readonly connections: number
  readonly seconds: number
  readonly rounds: number
}

/** One user after the other on each connection: a session of their own, an address of their own. */
class Client {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  readonly #url: URL
  readonly #headers: Record<string, string>
  #token: string

  constructor(server: BenchServer, project: BenchProject, n: number, token: string) {
    this.#url = new URL(`${server.url}/p/${project.ref}/auth/v1/token?grant_type=refresh_token`)
    const address = `198.51.100.${n % 256}`
    this.#headers = { apikey: project.anonKey, 'content-type': 'application/json', 'x-forwarded-for': address }
    this.#token = token
  }

  async exchange(): Promise<void> {
    const answer = await this.#post(JSON.stringify({ refresh_token: this.#token }))
    this.#token = (JSON.parse(answer) as { refresh_token: string }).refresh_token
  }

  #post(body: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = { ...this.#headers, 'content-length': String(Buffer.byteLength(body)) }
      const asked = request(this.#url, { agent: this.#agent, method: 'POST', headers }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.once('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`${response.statusCode} ${text}`))))
        response.once('error', reject)
      })
      asked.once('error', reject)
      asked.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** Exchanges on all connections for so long; how many. */
async function exchanges(clients: readonly Client[], seconds: number): Promise<number> {
  const end = performance.now() + seconds * 1000
  let done = 0
  const run = async (client: Client) => {
    while (performance.now() < end) {
      await client.exchange()
      done++
    }
  }
  await Promise.all(clients.map(run))
  return done
}

/** Clients of the last users, so many; `round` tells their tokens apart. */
async function clientsOf(
  server: BenchServer,
  project: BenchProject,
  people: People,
  connections: number,
  round: string,
): Promise<Client[]> {
  const clients: Client[] = []
  for (let i = 0; i < connections; i++) {
    const token = `a refresh token of the bench: ${round} ${i}`
    await people.giveToken(USERS - i, token)
    clients.push(new Client(server, project, i, token))
  }
  return clients
}

/** A server that has just started still compiles what it runs, and sign-ins are too few to end that. */
export async function warm(server: BenchServer, project: BenchProject, people: People, seconds: number): Promise<void> {
  const clients = await clientsOf(server, project, people, 8, 'warm')
  await exchanges(clients, seconds)
  for (const client of clients) client.close()
}

export async function refreshing(server: BenchServer, project: BenchProject, people: People, options: RefreshOptions): Promise<void> {
  const { connections, seconds, rounds } = options
  const root = server.child.pid!
  const reference = await refreshReference(people, connections)
  const clients = await clientsOf(server, project, people, connections, 'counted')
  try {
    await exchanges(clients, 2 * seconds)
    const seen = { ours: [] as number[], postgres: [] as number[], bench: [] as number[], own: [] as number[] }
    for (let round = 0; round < rounds; round++) {
      const pgbench = await reference.run(seconds)
      const before = [cpuOfTree(root), cpuOfTree(people.cluster.pid)] as const
      const done = await exchanges(clients, seconds)
      seen.ours.push((cpuOfTree(root) - before[0]) / done)
      seen.postgres.push((cpuOfTree(people.cluster.pid) - before[1]) / done)
      seen.bench.push(pgbench.cpu)
      seen.own.push(pgbench.own)
    }
    const text = (values: readonly number[]) => median(values).toFixed(0)
    const ratio = (other: (i: number) => number) => median(seen.ours.map((cpu, i) => cpu / other(i)))
    console.log(`refresh exchange, ${connections} connections, ${reference.statements} statements in ${reference.trips} round trips:`)
    console.log(`  ours ${text(seen.ours)} µs of CPU, PostgreSQL ${text(seen.postgres)} µs of it`)
    console.log(`  pgbench with the same statements ${text(seen.own)} µs, PostgreSQL under it ${text(seen.bench)} µs`)
    bar(
      'refresh exchange by pgbench with the same statements',
      ratio((i) => seen.bench[i]! + seen.own[i]!),
      2,
    )
    console.log(
      `        (${ratio((i) => seen.bench[i]!).toFixed(2)} × PostgreSQL alone under pgbench, ${ratio((i) => seen.postgres[i]!).toFixed(2)} × its share under us)`,
    )
  } finally {
    for (const client of clients) client.close()
    reference.stop()
  }
}
