/** Asleep and awake, with many clients at once. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { startServer, type TestServer } from '../node.ts'
import { clusterProcesses, postmasters } from '../processes.ts'
import { createProject, metric, openProject, type ProjectBody, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const TABLE = `
create table public.rows (id bigint generated always as identity primary key, who text not null);
grant select, insert on public.rows to anon, service_role;
grant usage on all sequences in schema public to anon;
`
const WAKES = 'sovrabase_runtime_wake_seconds_count'
/** Wakes that keyless callers have from this address. */
const BUDGET = 3

const statusOf = async (server: TestServer, project: TestProject) => (await openProject(server, project.ref)).services[0]?.status
const put = (server: TestServer, project: TestProject, force = false) =>
  server.api('POST', `/projects/${project.ref}/sleep${force ? '?force=true' : ''}`)

/** Put to sleep, whatever runs just now. */
const asleep = (server: TestServer, project: TestProject) => until(async () => (await put(server, project)).status === 200)

describe('one project', () => {
  let server: TestServer
  let project: TestProject

  before(async () => {
    server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_LIMITS_RATES_WAKES: String(BUDGET) } })
    project = await createProject(server, 'sleeper')
    await project.sql(TABLE)
  })
  after(() => server?.stop())

  const read = (key: string | null = project.anon) => rest(project, key, 'GET', '/rows?select=id&limit=1')

  test('sleeps by itself once idle: no process is left; the next request wakes it', async () => {
    const lazy = await createProject(server, 'lazy', { services: { db: { engine: 'postgres', sleep_after: 1 } } })
    await lazy.sql(TABLE)
    const mine = () => postmasters(server.dataDir)
    await until(() => mine().length === 1, 60_000)
    await until(async () => (await statusOf(server, lazy)) === 'asleep')
    assert.equal((await rest(lazy, lazy.service, 'POST', '/rows', { body: { who: 'woke it' } })).status, 201)
    assert.equal(mine().length, 2)
    await until(() => mine().length === 1, 60_000)
    assert.deepEqual((await rest(lazy, lazy.anon, 'GET', '/rows?select=who')).body, [{ who: 'woke it' }])
  })

  test('put to sleep it has no process', async () => {
    await asleep(server, project)
    await until(() => clusterProcesses(server.dataDir).length === 0, 60_000)
    assert.equal(await statusOf(server, project), 'asleep')
  })

  test('50 simultaneous first requests make one wake', async () => {
    await asleep(server, project)
    const before = await metric(server, WAKES)
    const answers = await Promise.all(Array.from({ length: 50 }, () => read()))
    assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200])
    assert.equal((await metric(server, WAKES)) - before, 1)
  })

  test('says why it is awake', async () => {
    await read()
    const client = new pg.Client({ connectionString: await connectionOf(server, project) })
    await client.connect()
    const [service] = (await openProject(server, project.ref)).services
    assert.equal(service?.status, 'awake')
    assert.ok(service.awake_because.includes('1 wire connection'), JSON.stringify(service.awake_because))
    assert.ok(service.awake_because.some((why) => why.startsWith('last used ')))
    await client.end()
    const listed = await server.api<{ items: ProjectBody[] }>('GET', '/projects?name=sleeper')
    assert.ok((listed.body.items[0]?.services[0]?.awake_because.length ?? 0) > 0)
    await asleep(server, project)
    assert.deepEqual((await openProject(server, project.ref)).services[0]?.awake_because, [])
  })

  test('an idle wire connection is closed with 57P01 when it sleeps', async () => {
    const client = new pg.Client({ connectionString: await connectionOf(server, project) })
    const ended = new Promise<Error & { code?: string }>((done) => client.on('error', done))
    await client.connect()
    await asleep(server, project)
    assert.equal((await ended).code, '57P01')
  })

  test('a connection whose client has said goodbye is none, though its sockets are not closed yet', async () => {
    const client = new pg.Client({ connectionString: await connectionOf(server, project) })
    await client.connect()
    client.on('error', () => {})
    await client.query('select 1')
    const [, answer] = await Promise.all([client.end(), put(server, project)])
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
  })

  test('a statement on a wire connection is not put to sleep, unless by force', async () => {
    const running = project.sql('select pg_sleep(60) /* long */')
    const seen = assert.rejects(running, { code: '57P01' })
    await until(
      async () =>
        (await project.sql("select from pg_stat_activity where query like '%/* long */' and state = 'active' and pid <> pg_backend_pid()"))
          .length > 0,
    )
    const refused = await put(server, project)
    assert.deepEqual([refused.status, (refused.body as { code: string }).code], [409, 'project_busy'])
    assert.equal((await put(server, project, true)).status, 200)
    await seen
  })

  test('neither a bad key nor health, preflight or an unknown project wakes anything', async () => {
    await asleep(server, project)
    const before = await metric(server, WAKES)
    assert.equal((await read('sb_publishable_wrong')).status, 401)
    assert.equal((await read(`${project.anon}x`)).status, 401)
    assert.equal((await rest(project, project.anon, 'GET', '/rows', { token: 'eyJhbGciOiJIUzI1NiJ9.e30.x' })).status, 401)
    assert.equal((await fetch(`${server.url}/health`)).status, 200)
    const preflight = { origin: 'https://app.example', 'access-control-request-method': 'GET' }
    assert.ok((await fetch(`${project.url}/rest/v1/rows`, { method: 'OPTIONS', headers: preflight })).ok)
    const stranger = { url: project.url.replace(project.ref, 'a'.repeat(20)) }
    assert.equal((await rest(stranger, project.anon, 'GET', '/rows')).status, 404)
    assert.equal(await metric(server, WAKES), before)
    assert.equal(await statusOf(server, project), 'asleep')
  })

  test('a stranger without a key cannot keep a project awake', async () => {
    for (let wake = 0; wake < BUDGET; wake++) {
      await asleep(server, project)
      assert.equal((await read(null)).status, 200)
    }
    await asleep(server, project)
    const refused = await read(null)
    assert.equal(refused.status, 429)
    assert.ok(Number(refused.headers.get('retry-after')) > 0)
    assert.equal(await statusOf(server, project), 'asleep')
    assert.equal((await read()).status, 200, 'a key still wakes it')
    assert.equal((await read(null)).status, 200, 'awake, it answers strangers')
  })

  test('sleep racing with requests and wire connections loses nothing', async () => {
    const { body: first } = await rest(project, project.service, 'GET', '/rows?select=id')
    const writers = 6
    const rounds = 25
    let under = true
    const sleeping = (async () => {
      let slept = 0
      while (under) {
        if ((await put(server, project)).status === 200) slept++
        assert.equal((await read()).status, 200)
      }
      return slept
    })()
    const overHttp = Array.from({ length: writers }, async (_, who) => {
      for (let i = 0; i < rounds; i++) {
        const answer = await rest(project, project.service, 'POST', '/rows', { body: { who: `${who}/${i}` } })
        assert.equal(answer.status, 201, JSON.stringify(answer.body))
      }
    })
    const overWire = (async () => {
      for (let i = 0; i < rounds; i++) {
        // A connection that is idle when sleep comes is closed with a word: a client connects again, as a pool does.
        await until(() => project.sql('insert into public.rows (who) values ($1) returning id', [`wire/${i}`]), 60_000)
      }
    })()
    const ended = await Promise.allSettled([...overHttp, overWire])
    under = false
    assert.ok((await sleeping) > 0, 'it slept at least once under the requests')
    for (const end of ended) if (end.status === 'rejected') throw end.reason
    const { body: last } = await rest(project, project.service, 'GET', '/rows?select=id')
    assert.equal((last as unknown[]).length - (first as unknown[]).length, (writers + 1) * rounds)
  })
})

async function connectionOf(server: TestServer, project: TestProject): Promise<string> {
  return (await server.api<{ db_url: string }>('POST', `/projects/${project.ref}/connection/reveal`)).body.db_url
}

test('at the limit of awake clusters the one idle longest sleeps: five projects with two places, no error', async (t) => {
  const server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_LIMITS_AWAKE_CLUSTERS: '2' } })
  t.after(() => server.stop())
  const projects: TestProject[] = []
  for (let i = 0; i < 5; i++) projects.push(await createProject(server, `p${i}`))
  for (const project of projects) await project.sql(TABLE)
  for (let round = 0; round < 3; round++) {
    for (const project of projects) {
      const answer = await rest(project, project.service, 'POST', '/rows', { body: { who: String(round) } })
      assert.equal(answer.status, 201, JSON.stringify(answer.body))
      assert.ok(postmasters(server.dataDir).length <= 2)
    }
  }
  // All at once: who finds no place waits for one.
  const together = await Promise.all(projects.map((project) => rest(project, project.service, 'GET', '/rows?select=who')))
  for (const { status, body } of together) assert.deepEqual([status, (body as unknown[]).length], [200, 3])
})
