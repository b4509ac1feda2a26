/** One run of pgbench on a cluster: CPU of PostgreSQL and its own for each transaction. */
import { spawn } from 'node:child_process'
import { cpuOfTree, reapedBy } from './proc.ts'

export interface Cluster {
  /** Main process. */
  readonly pid: number
  /** Directory of its socket. */
  readonly socket: string
  readonly password: string
  /** Who signs in; without: its owner. */
  readonly user?: string
}

export interface PgbenchRun {
  readonly clients: number
  readonly seconds: number
  /** Files of scripts, in turn. */
  readonly files: readonly string[]
  /** `:name` → text. */
  readonly variables: ReadonlyMap<string, string>
}

export interface PgbenchRound {
  /** CPU µs of PostgreSQL a transaction. */
  readonly cpu: number
  /** pgbench's own beside it. */
  readonly own: number
  readonly rate: number
  readonly done: number
}

const SETTLE = 100

export async function pgbench(cluster: Cluster, { clients, seconds, files, variables }: PgbenchRun): Promise<PgbenchRound> {
  const at = ['-h', cluster.socket, '-U', cluster.user ?? 'postgres']
  const how = ['-n', '-M', 'prepared', '-c', String(clients), '-j', '1', '-T', String(seconds)]
  const scripts = files.flatMap((path) => ['-f', path])
  const given = [...variables].flatMap(([name, value]) => ['-D', `${name}=${value}`])
  const env = { PATH: process.env.PATH, PGPASSWORD: cluster.password, PGOPTIONS: '-c search_path=public,extensions' }
  const before = [cpuOfTree(cluster.pid), reapedBy(process.pid)] as const
  const child = spawn('pgbench', [...at, ...how, ...scripts, ...given, 'postgres'], { env })
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk.toString()))
  const code = await new Promise((done) => child.once('close', done))
  // The backends are gone a moment later: until then nobody has counted what they used.
  await new Promise((resolve) => setTimeout(resolve, SETTLE))
  const done = Number(/actually processed: (\d+)/.exec(out)?.[1] ?? 0)
  const failed = Number(/failed transactions: (\d+)/.exec(out)?.[1] ?? 0)
  if (code !== 0 || done === 0 || failed > 0) throw new Error(`pgbench: ${code} ${out}`)
  return {
    cpu: (cpuOfTree(cluster.pid) - before[0]) / done,
    own: (reapedBy(process.pid) - before[1]) / done,
    rate: done / seconds,
    done,
  }
}
