/** Limits of a project, from config.yaml to what its people are told. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const TABLE = `
create table public.rows (id bigint generated always as identity primary key, filling text);
grant all on public.rows to service_role;
create function public.nap(seconds float8) returns text language sql as $$ select pg_sleep(seconds)::text $$;
grant execute on function public.nap to service_role;
`
const DISK = 64
/** MiB: more than the quota leaves, far less than its reserve. */
const FILL = 60

const env = {
  SOVRABASE_DEMO: 'off',
  SOVRABASE_LIMITS_PROJECT_DISK: `${DISK}MiB`,
  SOVRABASE_LIMITS_PROJECT_MEMORY: '256MiB',
  SOVRABASE_LIMITS_PROJECT_CONNECTIONS: '3',
  SOVRABASE_LIMITS_PROJECT_STATEMENT_TIMEOUT: '500ms',
  SOVRABASE_LIMITS_PROJECT_WIRE_STATEMENT_TIMEOUT: '1s',
  SOVRABASE_LIMITS_WATCH_STATEMENTS: '100ms',
  SOVRABASE_LIMITS_WATCH_DISK: '100ms',
}

interface RestError {
  readonly code: string
  readonly message: string
  readonly hint: string | null
}

describe('limits of a project', () => {
  let server: TestServer
  let project: TestProject
  let url: string

  before(async () => {
    server = await startServer({ env })
    project = await createProject(server, 'limited')
    url = (await server.api<{ db_url: string }>('POST', `/projects/${project.ref}/connection/reveal`)).body.db_url
    await project.sql(TABLE)
  })
  after(() => server?.stop())

  /** The backend of an ended session may take a moment to go. */
  const connect = (onNotice?: (notice: { code?: string | undefined; hint?: string | undefined }) => void) =>
    until(() => tryConnect(onNotice))
  const tryConnect = async (onNotice?: Parameters<typeof connect>[0]) => {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    if (onNotice) client.on('notice', onNotice)
    await client.connect()
    return client
  }
  const codeOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'allowed',
      (error: { code: string }) => error.code,
    )
  const insert = () => rest(project, project.service, 'POST', '/rows', { body: { filling: 'x' } })

  test('a new service has the defaults of the installation, and what is given above them', async () => {
    const spec = (of: TestProject) => (of.services[0] as unknown as { spec: Record<string, unknown> }).spec
    const { memory, disk, connections, statement_timeout, wire_statement_timeout } = spec(project)
    assert.deepEqual(
      { memory, disk, connections, statement_timeout, wire_statement_timeout },
      { memory: 256, disk: DISK, connections: 3, statement_timeout: 500, wire_statement_timeout: 1000 },
    )
    const other = await createProject(server, 'other', { services: { db: { engine: 'postgres', disk: 0 } } })
    assert.deepEqual([spec(other).disk, spec(other).memory], [0, 256])
  })

  test('a statement over its time: on the APIs by its own limit, on the wire by the watchdog, whatever the session has set', async () => {
    const slow = await rest(project, project.service, 'POST', '/rpc/nap', { body: { seconds: 30 } })
    assert.deepEqual([slow.status, (slow.body as RestError).code], [500, '57014'])
    const client = await connect()
    await client.query('set statement_timeout = 0')
    assert.equal(await codeOf(client.query('select pg_sleep(30)')), '57014')
    assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }], 'the session goes on')
    await client.end()
  })

  test('connections over the limit are refused, and possible again', async () => {
    const clients = [await connect(), await connect(), await connect()]
    assert.equal(await codeOf(tryConnect()), '53300')
    for (const client of clients) await client.end()
    await (await connect()).end()
  })

  test('a full disk: a clear error with a hint; DELETE, TRUNCATE and DROP are possible; then it is written again', async () => {
    const client = await connect()
    // What does not compress, in steps that are through before the watchdog ends them.
    const fill = `insert into public.rows (filling)
      select string_agg(md5(random()::text), '') from generate_series(1, 256) page, generate_series(1, 128) part group by page`
    for (let mib = 0; mib < FILL; mib++) if ((await codeOf(client.query(fill))) !== 'allowed') break
    const full = await until(async () => {
      const answer = await insert()
      return answer.status === 201 ? undefined : answer
    })
    const error = full.body as RestError
    assert.deepEqual([full.status, error.code], [507, '53100'])
    assert.match(error.message, new RegExp(`disk quota of ${DISK} MiB`))
    assert.match(error.hint ?? '', /truncate/i)
    await until(async () => (await codeOf(client.query(`insert into public.rows (filling) values ('x')`))) === '25006')
    const told: { code?: string | undefined; hint?: string | undefined }[] = []
    const late = await connect((notice) => told.push(notice))
    await late.end()
    assert.equal(told[0]?.code, '53100', 'a session that begins is told why it is read-only')
    assert.match(told[0]?.hint ?? '', /default_transaction_read_only = off/)
    const editor = await server.api<{ hint: string }>('POST', `/projects/${project.ref}/database/query`, { sql: 'create table t()' })
    assert.match(editor.body.hint, /disk quota/)
    assert.equal((await rest(project, project.service, 'GET', '/rows?select=id&limit=1')).status, 200)
    const gone = await rest(project, project.service, 'DELETE', '/rows?id=lt.5')
    assert.equal(gone.status, 204)
    await client.query('set default_transaction_read_only = off')
    await client.query('create table public.scrap (n int); drop table public.scrap')
    await client.query('truncate public.rows')
    // WAL that nobody needs any more counts until a checkpoint has recycled it; sleeping makes one.
    await client.end()
    assert.equal((await server.api('POST', `/projects/${project.ref}/sleep?force=true`)).status, 200)
    await until(async () => (await insert()).status === 201)
    await until(async () => (await codeOf(project.sql(`insert into public.rows (filling) values ('x')`))) === 'allowed')
  })
})
