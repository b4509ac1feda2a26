/** A new server takes over from the one before it: under the keeper the clusters stay, nobody is refused, and nothing that was answered is lost. */
import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { startServer, type TestServer, WITHOUT_RIGHTS } from '../node.ts'
import { everything, postmasters } from '../processes.ts'
import { createProject, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const isRoot = process.geteuid?.() === 0
const LONG = 60_000

describe('under the keeper', { skip: !isRoot && 'without root there is no keeper' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sovra-takeover-'))
  const config = join(folder, 'config.yaml')
  let server: TestServer
  let shop: TestProject
  const serverPids = () =>
    everything().flatMap(({ parent, pid }) => (parent === server.child.pid && /main\.ts/.test(commandOf(pid)) ? [pid] : []))
  const commandOf = (pid: number) => everything().find((one) => one.pid === pid)?.command ?? ''
  const reload = () => process.kill(server.child.pid ?? 0, 'SIGUSR2')
  const startedAt = async () => (await server.api<{ started_at: string }>('GET', '/status')).body.started_at

  /** Until the one server of the keeper is another than before. */
  async function taken(formers: readonly number[]): Promise<number> {
    return until(() => {
      const now = serverPids()
      return now.length === 1 && !formers.includes(now[0] ?? 0) ? now[0] : undefined
    }, LONG)
  }

  before(async () => {
    chmodSync(folder, 0o755)
    writeFileSync(config, 'limits:\n  body:\n    rest: 9MiB\n')
    server = await startServer({ env: { CONFIG_PATH: config } })
    shop = await createProject(server, 'shop')
    await shop.sql('create table public.notes (id int primary key); grant all on public.notes to service_role')
  })
  after(async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('clusters go on, requests wait instead of being refused, and what was answered is there', async () => {
    const clusters = postmasters(server.dataDir).map(({ pid }) => pid)
    const former = serverPids()
    const session = new pg.Client({
      connectionString: (await server.api<{ db_url: string }>('POST', `/projects/${shop.ref}/connection/reveal`)).body.db_url,
    })
    const told = new Promise<string>((done) => session.on('error', (error) => done(error.message)))
    await session.connect()
    const written: number[] = []
    const failures: string[] = []
    let next = 0
    let stop = false
    const writers = Array.from({ length: 4 }, async () => {
      while (!stop) {
        const id = ++next
        // A kept connection may end under a request that was just sent: each takes its own here, and none may fail.
        await rest(shop, shop.service, 'POST', '/notes', { body: { id }, headers: { connection: 'close' } }).then(
          ({ status, body }) => (status === 201 ? written.push(id) : failures.push(`${status} ${JSON.stringify(body)}`)),
          (error: Error) => failures.push(String(error.cause ?? error)),
        )
      }
    })
    reload()
    await taken(former)
    const after = written.length
    await until(() => written.length > after + 20, LONG)
    stop = true
    await Promise.all(writers)
    assert.deepEqual(failures, [])
    assert.match(await told, /terminat|shutting down|shutdown|restart/i)
    assert.deepEqual(
      postmasters(server.dataDir).map(({ pid }) => pid),
      clusters,
    )
    const rows = await shop.sql('select id from public.notes order by id')
    const there = new Set(rows.map(({ id }) => id))
    assert.deepEqual(
      written.filter((id) => !there.has(id)),
      [],
    )
  })

  test('what runs is known: it is awake, and can be put to sleep', async () => {
    const status = async () =>
      (await server.api<{ services: { status: string }[] }>('GET', `/projects/${shop.ref}`)).body.services[0]?.status
    assert.equal(await status(), 'awake')
    assert.equal((await server.api('POST', `/projects/${shop.ref}/sleep?force=true`)).status, 200)
    assert.deepEqual(
      postmasters(server.dataDir).filter(({ directory }) => directory.includes(shop.services[0]?.id.replaceAll('-', '') ?? '?')),
      [],
    )
    assert.deepEqual(await shop.sql('select 1 as one'), [{ one: 1 }])
  })

  test('a server that cannot start takes nothing over', async () => {
    const [former, since] = [serverPids(), await startedAt()]
    writeFileSync(config, 'limits: nonsense\n')
    reload()
    await until(() => server.output().includes('the former server stays'), LONG)
    assert.deepEqual([serverPids(), await startedAt()], [former, since])
    assert.equal((await rest(shop, shop.service, 'GET', '/notes?limit=1')).status, 200)
    writeFileSync(config, '')
    reload()
    await taken(former)
    assert.notEqual(await startedAt(), since)
  })
})

test('without the keeper the signal does not end the server', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'sovra-takeover-'))
  t.after(() => rmSync(dataDir, { recursive: true, force: true }))
  if (isRoot) chownSync(dataDir, 65_534, 65_534)
  const server = await startServer({ dataDir, env: { SOVRABASE_DEMO: 'off' }, ...(isRoot ? { rights: WITHOUT_RIGHTS } : {}) })
  t.after(() => server.kill())
  process.kill(server.child.pid ?? 0, 'SIGUSR2')
  await until(() => server.output().includes('taking over needs the keeper'), LONG)
  assert.equal((await server.api('GET', '/status')).status, 200)
})
