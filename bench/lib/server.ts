/** A whole server as a bench needs it: own data directory, free ports, no demo; projects, keys, connections. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type StartOptions, startServer, type TestServer } from '../../test/node.ts'

export const ORGANISATION = 'bench'

export interface BenchServer extends TestServer {
  /** A project that is ready; rejects when it is not within a minute. */
  project(name: string, services?: unknown): Promise<BenchProject>
}

export interface BenchProject {
  readonly ref: string
  /** Id of its service `db`: the name of its volume. */
  readonly service: string
  readonly anonKey: string
  readonly serviceKey: string
  readonly jwtSecret: string
  /** Of `postgres`, its owner. */
  readonly password: string
  /** Through the wire listener. */
  readonly dbUrl: string
}

/** Logs are written as in production, and read by nobody. */
export async function startBench(env: Record<string, string> = {}, options: StartOptions = {}): Promise<BenchServer> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'sovra-bench-'))
  const server = await startServer({ ...options, dataDir, env: { SOVRABASE_DEMO: 'off', ...env } })
  if (options.dataDir === undefined) await must(server.api('POST', '/organisations', { name: ORGANISATION }), 201)

  async function project(name: string, services?: unknown): Promise<BenchProject> {
    const headers = { prefer: 'wait=60' }
    const made = await must<{ ref: string; services: { id: string; status: string }[] }>(
      server.api('POST', `/organisations/${ORGANISATION}/projects`, { name, ...(services ? { services } : {}) }, { headers }),
      201,
    )
    return describe(made.ref, made.services[0]!.id)
  }

  async function describe(ref: string, service: string): Promise<BenchProject> {
    const keys = await must<{ anon_key: string; service_role_key: string; jwt_secret: string }>(
      server.api('POST', `/projects/${ref}/keys/reveal`),
      200,
    )
    const at = await must<{ password: string; db_url: string }>(server.api('POST', `/projects/${ref}/connection/reveal`), 200)
    return {
      ref,
      service,
      anonKey: keys.anon_key,
      serviceKey: keys.service_role_key,
      jwtSecret: keys.jwt_secret,
      password: at.password,
      dbUrl: at.db_url,
    }
  }

  return {
    ...server,
    project,
    async stop() {
      await server.kill()
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** The body of an answer that must have this status. */
export async function must<T = unknown>(answer: Promise<{ status: number; body: unknown }>, status: number): Promise<T> {
  const got = await answer
  if (got.status !== status) throw new Error(`${got.status}, not ${status}: ${JSON.stringify(got.body)}`)
  return got.body as T
}

/** Runs `fn`, then ends what it started, also when it fails or Ctrl-C is pressed. */
export async function withCleanup(fn: (later: (clean: () => unknown) => void) => Promise<void>): Promise<void> {
  const cleaners: (() => unknown)[] = []
  const clean = async () => {
    for (const cleaner of cleaners.splice(0).reverse()) await cleaner()
  }
  process.on('SIGINT', () => void clean().finally(() => process.exit(130)))
  try {
    await fn((cleaner) => cleaners.push(cleaner))
  } finally {
    await clean()
  }
}
