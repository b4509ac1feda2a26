import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, openProject } from '../project.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

/** What a collector got. */
let exported = ''
const collector = createServer((request, response) => {
  request.setEncoding('utf8').on('data', (part: string) => {
    exported += part
  })
  request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'))
})
await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
const dataDir = newDataDir()
const env = {
  SOVRABASE_DEMO: 'off',
  SOVRABASE_LOG_OTLP_URL: `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/logs`,
  SOVRABASE_API_TRUSTED_PROXIES: '127.0.0.1',
}
let server: TestServer = await startServer({ dataDir, env })
const cli = makeCli(() => dataDir)
after(async () => {
  await server.stop()
  cli.remove()
  collector.close()
  rmSync(dataDir, { recursive: true, force: true })
})

const project = await createProject(server, 'logged')
const FROM = { 'x-forwarded-for': '203.0.113.77' }
const NETWORK = '203.0.113.0'

interface Line {
  readonly source?: string
  readonly msg: string
  readonly address?: string
}
const lines = (...more: string[]) => cli.run(['logs', 'logged', '--json', '--limit', '2000', ...more])
async function statements(): Promise<string[]> {
  const { out } = await lines()
  const found = out.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]))
  return found.filter(({ source }) => source === 'postgres').map(({ msg }) => msg)
}
const switched = async () =>
  (await server.api<{ items: { name: string; actor_kind?: string }[] }>('GET', `/projects/${project.ref}/events?limit=100`)).body.items
    .map(({ name }) => name)
    .filter((name) => name.startsWith('statement_log.'))

/** Of the first administrator: the local token is not for whom a proxy speaks. */
async function memberToken(): Promise<string> {
  const [email, password] = ['ada@example.org', 'correct horse battery']
  const token = /\/setup\?token=(\S+)/.exec(server.output())?.[1] ?? ''
  await fetch(`${server.url}/setup`, { method: 'POST', body: new URLSearchParams({ token, email, password, organisation: 'first' }) })
  const { body } = await server.api<{ access_token: string }>('POST', '/session', { email, password }, { token: null })
  return body.access_token
}

test('an address is truncated wherever it is written down, and counted whole', async () => {
  await server.api('PATCH', `/projects/${project.ref}/settings/auth`, { email_autoconfirm: true })
  const signedUp = await fetch(`${project.url}/auth/v1/signup`, {
    method: 'POST',
    headers: { ...FROM, apikey: project.anon, 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'a@example.org', password: 'correct horse battery' }),
  })
  assert.equal(signedUp.status, 200, await signedUp.text())
  const rows = await project.sql(
    `select (select json_agg(distinct host(ip)) from auth.sessions) as sessions, (select json_agg(distinct ip_address) from auth.audit_log_entries) as audit`,
  )
  assert.deepEqual(rows, [{ sessions: [NETWORK], audit: [NETWORK] }])
  await server.api('PATCH', `/projects/${project.ref}`, { labels: { a: 'b' } }, { headers: FROM, token: await memberToken() })
  const { body } = await server.api<{ items: { name: string; ip: string | null }[] }>('GET', `/projects/${project.ref}/events`)
  assert.equal(body.items.find(({ name }) => name === 'project.updated')?.ip, NETWORK)
  const { out } = await lines()
  assert.ok(out.includes(`"address":"${NETWORK}"`))
  assert.ok(!out.includes('203.0.113.77'))
})

test('the log goes to a collector, from its first line on', async () => {
  await until(() => exported.includes(NETWORK), 30_000)
  assert.match(exported, /"service\.version"/)
  assert.match(exported, /\/v1\/projects\/:ref/)
})

test('statements are logged from the switch on: audited, without parameters, over sleep and restart, until it ends by itself', async () => {
  const secret = 'select $1::text as before_the_switch'
  await project.sql(secret, ['canary-1'])
  await project.sql('create table of_the_api (n int)')
  const read = () => fetch(`${project.url}/rest/v1/of_the_api?select=n`, { headers: { apikey: project.service } })
  assert.equal((await read()).status, 200)
  assert.deepEqual(await switched(), [])

  assert.match((await cli.run(['logs', 'statements', 'logged', 'on', '--for', '2h'])).out, /are logged until/)
  await project.sql('select $1::text as while_awake', ['canary-2'])
  await until(async () => (await statements()).some((text) => text.includes('while_awake')), 30_000)
  // Over a connection that was open before.
  await read()
  await until(async () => (await statements()).some((text) => text.includes('"of_the_api"')), 30_000)

  await server.api('POST', `/projects/${project.ref}/sleep?force=true`)
  await project.sql('select 1 as after_a_sleep')
  await until(async () => (await statements()).some((text) => text.includes('after_a_sleep')), 30_000)

  await server.kill('SIGKILL')
  server = await startServer({ dataDir, env })
  const again = await openProject(server, project.ref)
  await again.sql('select 1 as after_a_restart')
  await until(async () => (await statements()).some((text) => text.includes('after_a_restart')), 30_000)
  assert.match((await cli.run(['logs', 'statements', 'logged'])).out, /are logged until/)

  // A second, which is shorter than the command line would take.
  const set = await server.api('PUT', `/projects/${project.ref}/logs/statements`, { hours: 1 / 3600 })
  assert.equal(set.status, 200)
  await until(async () => (await switched())[0] === 'statement_log.ended', 30_000)
  await again.sql('select 1 as after_its_end')
  const said = (await statements()).join('\n')
  for (const never of ['before_the_switch', 'after_its_end', 'canary-', 'pg_stat_activity']) assert.ok(!said.includes(never), never)
  assert.deepEqual((await switched()).reverse(), ['statement_log.started', 'statement_log.started', 'statement_log.ended'])
  assert.match((await cli.run(['logs', 'statements', 'logged', 'off'])).out, /are not logged/)
})

test('who may not, and for how long not', async () => {
  assert.equal((await server.api('PUT', `/projects/${project.ref}/logs/statements`, { hours: 25 })).status, 400)
  assert.equal((await server.api('PUT', `/projects/${project.ref}/logs/statements`, {}, { token: null })).status, 401)
  assert.equal((await server.api('PUT', '/projects/abcdefghijklmnopqrst/logs/statements', {})).status, 404)
  assert.equal((await cli.run(['logs', 'statements', 'logged', 'on', '--for', '2d'])).code, 2)
})
