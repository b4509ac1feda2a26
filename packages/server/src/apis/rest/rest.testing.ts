import { readFileSync } from 'node:fs'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type pg from 'pg'
import { fail } from '../../base/errors.ts'
import { answerFrameworkError, toSovraError } from '../../base/http-errors.ts'
import { type CatalogueHolder, holdCatalogue } from '../../runtime/engines/postgres/catalogue/holder.ts'
import { startCluster, type TestCluster } from '../../runtime/engines/postgres/wire/cluster.testing.ts'
import { PipelinePool } from '../../runtime/engines/postgres/wire/pool.ts'
import { restApi } from './routes.ts'

/** One request and what is answered. `json` is compared parsed, `text` as it is, `error` by its keys; of headers only those named. */
export interface Case {
  readonly request: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  readonly status: number
  readonly json?: unknown
  readonly text?: string
  readonly error?: Readonly<Record<string, unknown>>
  readonly answers?: Readonly<Record<string, string | undefined>>
}

/** The API on a real cluster, without the gateway: role and claims come from the headers `x-role` and `x-claims`. */
export interface TestRest {
  readonly app: FastifyInstance
  readonly cluster: TestCluster
  readonly admin: pg.Client
  readonly holder: CatalogueHolder
  settings: object
  full: boolean
  stop(): Promise<void>
}

/** `settings` of the cluster: `name=value` texts. */
export async function startRest(settings: readonly string[] = []): Promise<TestRest> {
  const cluster: TestCluster = await startCluster(settings)
  const [admin, listener] = [await cluster.admin(), await cluster.admin()]
  await admin.query(readFileSync(new URL('./rest.testing.sql', import.meta.url), 'utf8'))
  const answers = readFileSync(new URL('../../runtime/engines/postgres/system/0007_answers.sql', import.meta.url), 'utf8')
  await admin.query(`create schema sovrabase; grant usage on schema sovrabase to public; ${answers}`)
  const holder = await holdCatalogue(listener)
  const pool = new PipelinePool({
    host: cluster.host,
    port: 5432,
    user: 'sovrabase_gateway',
    password: 'gateway-password',
    database: 'postgres',
    searchPath: 'public, extensions',
  })
  const app = fastify({
    routerOptions: { maxParamLength: 1024 },
    frameworkErrors: (error, request, reply) =>
      void answerFrameworkError(error, request as FastifyRequest, reply as unknown as FastifyReply),
  })
  // What the server says of other origins, before the API is asked.
  app.addHook('onRequest', (request, reply, done) => {
    const allowed = request.headers['x-allowed']
    if (typeof allowed === 'string') reply.header('access-control-allow-origin', allowed)
    done()
  })
  const rest: TestRest = {
    app,
    cluster,
    admin,
    holder,
    full: false,
    settings: { tx_end: 'commit-allow-override' },
    stop: async () => {
      await app.close()
      await pool.close(0)
      holder.close()
      await Promise.all([admin.end(), listener.end()])
      await cluster.stop()
    },
  }
  const api = restApi({
    open: () => ({ database: { pool, catalogue: holder, full: rest.full, spec: { disk: 7 } }, release: () => undefined }),
    principal: (request) => {
      const role = String(request.headers['x-role'] ?? 'anon')
      return { role, kind: role === 'anon' ? 'anon' : 'user', claimsJson: String(request.headers['x-claims'] ?? `{"role":"${role}"}`) }
    },
    settings: () => rest.settings,
    known: () => holder.current,
    url: () => new URL('http://localhost/rest/v1/'),
    shared: (request) => request.headers['x-shared'] === 'yes',
    bodyLimit: 10 * 1024 * 1024,
  })
  app.setErrorHandler((error, request, reply) => api.render(toSovraError(error, request), request, reply))
  app.setNotFoundHandler((request, reply) => api.render(fail('not_found'), request, reply))
  await app.register(api.routes)
  return rest
}
