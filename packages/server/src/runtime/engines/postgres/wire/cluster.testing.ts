import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { type Engine, startPostgres } from '../../../../../../../test/engines.ts'
import { until } from '../../../../../../../test/until.ts'

/** A bare PostgreSQL of its own for the tests and benchmarks of this folder and its neighbours. */
export interface TestCluster {
  /** Directory of its unix socket; the port is 5432. */
  readonly host: string
  readonly pid: number
  /** A superuser's connection. */
  admin(): Promise<pg.Client>
  stop(): Promise<void>
}

/** The engine's process is not waited for by the event loop, so something else must be. */
async function stopped(engine: Engine): Promise<void> {
  const awake = setInterval(() => undefined, 1_000)
  await engine.kill()
  clearInterval(awake)
}

/** Starts a new cluster (well under a second once its programs are cached); `settings` are `name=value` texts. */
export async function startCluster(settings: readonly string[] = []): Promise<TestCluster> {
  const engine = await startPostgres(settings)
  const admin = async () => {
    const client = new pg.Client(engine.url('postgres'))
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  await until(async () => (await admin()).end().then(() => true))
  return { host: engine.directory, pid: engine.pid(), stop: () => stopped(engine), admin }
}

/** Roles as in a project's cluster, a todos table under row-level security with 30 rows for each user, and a policy helper that memoises. */
export async function prepare(cluster: TestCluster, users = 500): Promise<void> {
  const client = await cluster.admin()
  try {
    await client.query(readFileSync(join(import.meta.dirname, 'cluster.testing.sql'), 'utf8'))
    await client.query(
      `insert into public.todos(id, owner, title) select i, md5((i % $1)::text)::uuid, 'todo ' || i from generate_series(1, $1 * 30) i`,
      [users],
    )
    await client.query(`select setval('public.todos_id_seq', $1)`, [users * 30])
    await client.query('vacuum analyze public.todos')
  } finally {
    await client.end()
  }
}
