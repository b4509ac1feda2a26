/** Projects of the former major of PostgreSQL under this version, and their way to the current one: on real clusters, by pg_upgrade. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Service } from '@sovrabase/contract/service'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, openProject, type ProjectBody, rest, type TestProject } from '../project.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

const TOOLS = process.env.SOVRA_TOOLS_DIR || resolve(import.meta.dirname, '../../.cache/tools')
const THERE = existsSync(join(TOOLS, 'postgresql-server-17/VERSION'))
const missing = THERE || process.env.CI === 'true' ? false : 'the former major is not installed: run scripts/test-tools.sh'
const FORMER = '17.11'
const ENV = { SOVRABASE_DEMO: 'off', SOVRABASE_NODE_NAME: 'major' }
const ROWS = 50

const FACTS = `select current_setting('data_checksums') as checksums, current_setting('server_version') as version,
  (select count(*)::int from pg_database where datname = 'template0') as template0,
  (select count(*)::int from pg_collation where collprovider = 'c' and collname not in ('C', 'POSIX')) as collations,
  (select tags -> 'n' from public.notes where id = 7) as tag, (select datlocprovider::text from pg_database where datname = 'postgres') as provider`

const dataDir = newDataDir()
const cli = makeCli(() => dataDir)
let server: TestServer
let current = ''
/** As they were made, with their keys of then. */
const made: Record<string, TestProject> = {}

type Body = Omit<ProjectBody, 'services'> & { readonly services: readonly Service[] }
const dbOf = async (name: string): Promise<Service> => {
  const { body } = await server.api<Body>('GET', `/projects/${made[name]?.ref}`)
  const db = body.services.find((service) => service.name === 'db')
  assert.ok(db)
  return db
}
const again = (name: string): Promise<TestProject> => openProject(server, made[name]?.ref ?? '')
const volumes = (): string[] => readdirSync(join(dataDir, 'projects')).filter((name) => !/^(\.|build-)/.test(name))
/** Of whole data directories: one that is being made has none yet. */
const majorsOnDisk = (): string[] =>
  volumes()
    .map((name) => join(dataDir, 'projects', name, 'PG_VERSION'))
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, 'utf8').trim())
    .sort()
const count = async (name: string): Promise<number> => {
  const project = made[name]
  const answer = await rest({ url: `${server.url}/p/${project?.ref}` }, project?.service ?? '', 'GET', '/notes?select=id')
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return (answer.body as unknown[]).length
}
const postgresOf = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return (
          /(postgres|pg_upgrade)/.test(readFileSync(`/proc/${pid}/comm`, 'utf8')) &&
          readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dataDir)
        )
      } catch {
        return false
      }
    })

describe('a newer major of PostgreSQL', { skip: missing }, () => {
  before(async () => {
    const former = await startServer({ dataDir, env: { ...ENV, SOVRABASE_ENGINES_POSTGRES_MAJOR: '17' } })
    for (const name of ['shop', 'diary']) {
      const project = await createProject(former, name)
      await project.sql(`create extension hstore; create extension pg_trgm;
        create table public.notes (id int primary key, text text, tags hstore);
        alter table public.notes enable row level security;
        create index on public.notes using gin (text gin_trgm_ops);
        insert into public.notes select i, 'note ' || i, hstore('n', i::text) from generate_series(1, ${ROWS}) i`)
      made[name] = project
    }
    assert.equal(await former.kill(), 0)
    server = await startServer({ dataDir, env: ENV })
    current = (await server.api<{ engines: { version: string }[] }>('GET', '/status')).body.engines[0]?.version ?? ''
  })
  after(async () => {
    await server?.kill()
    cli.remove()
    rmSync(dataDir, { recursive: true, force: true })
  })

  test('what the former major wrote is served by it', async () => {
    assert.deepEqual(majorsOnDisk(), ['17', '17'])
    assert.equal(await count('shop'), ROWS)
    assert.deepEqual(await (await again('shop')).sql(`select current_setting('server_version') as version`), [{ version: FORMER }])
    assert.equal((await dbOf('shop')).engine_version, FORMER)
    assert.match(current, /^18\./)
  })

  test('what pg_upgrade refuses goes on with the former major, and says why', async () => {
    const diary = await again('diary')
    await diary.sql('create table public.odd (f regproc)')
    const ran = await cli.run(['upgrade', '--engines', 'diary', '--json'])
    assert.equal(ran.code, 1, ran.out)
    const [moved] = JSON.parse(ran.out) as { error: { code: string; message: string } }[]
    assert.equal(moved?.error.code, 'upgrade_failed')
    assert.match(moved?.error.message ?? '', /reg\*/)
    assert.equal(await count('diary'), ROWS)
    assert.equal((await dbOf('diary')).upgrade?.state, 'failed')
    assert.deepEqual(majorsOnDisk(), ['17', '17'])
  })

  test('killed in the middle nothing of it runs on; the next server moves it, with rows, keys and passwords, and its neighbour is served', async () => {
    assert.equal((await server.api('POST', `/projects/${made.shop?.ref}/upgrade`)).status, 202)
    await until(async () => (await dbOf('shop')).upgrade?.step === 'upgrade')
    assert.equal((await server.api('POST', `/projects/${made.shop?.ref}/upgrade`)).body.code, 'upgrade_running')
    await server.kill('SIGKILL')
    await until(() => postgresOf().length === 0)
    assert.deepEqual(majorsOnDisk(), ['17', '17'])
    server = await startServer({ dataDir, env: ENV })
    let seen = ''
    await until(async () => {
      assert.equal(await count('diary'), ROWS)
      seen = JSON.stringify((await dbOf('shop')).upgrade)
      return (await dbOf('shop')).upgrade?.state === 'kept'
    }, 120_000).catch((cause: unknown) => {
      throw new Error(`the move stays at ${seen}`, { cause })
    })
    assert.deepEqual(majorsOnDisk(), ['17', '17', '18'])
    assert.equal(await count('shop'), ROWS)
    const project = await again('shop')
    assert.equal(project.service, made.shop?.service)
    const [row] = await project.sql(FACTS)
    assert.deepEqual(row, { checksums: 'on', version: current, template0: 0, collations: 0, tag: '7', provider: 'b' })
    const db = await dbOf('shop')
    assert.deepEqual([db.engine_version, db.upgrade?.from, db.upgrade?.to], [current, FORMER, current])
    assert.equal((await server.api('POST', `/projects/${made.shop?.ref}/upgrade`)).body.code, 'upgrade_current')
    assert.match((await cli.run(['status'])).out, /1 to confirm since/)
    const disk = await cli.answer<{ kinds: { kept: number }; orphans: unknown[] }>(['disk'])
    assert.ok(disk.kinds.kept > 0)
    assert.deepEqual(disk.orphans, [])
  })

  test('back: the former major with its rows of then', async () => {
    await (await again('shop')).sql(`insert into public.notes values (1000, 'written since')`)
    assert.equal((await cli.run(['upgrade', '--back', 'shop'])).code, 2, 'nobody was asked')
    assert.equal((await cli.run(['upgrade', '--back', 'shop', '--yes'])).code, 0)
    assert.equal(await count('shop'), ROWS)
    assert.equal((await dbOf('shop')).engine_version, FORMER)
    await until(async () => (await dbOf('shop')).upgrade === undefined)
    assert.deepEqual(majorsOnDisk(), ['17', '17'])
    assert.equal((await cli.run(['upgrade', '--confirm', 'shop'])).code, 1)
  })

  test('confirmed, the former directory is gone; all of it is in the audit log', async () => {
    const [one] = await cli.answer<{ result: { outcome: string; version: string; wanted: string }[] }[]>(['upgrade', '--engines', 'shop'])
    const moved = one?.result[0]
    assert.deepEqual([moved?.outcome, moved?.version, moved?.wanted], ['upgraded', FORMER, current])
    const confirmed = await cli.answer<{ name: string; result: string }[]>(['upgrade', '--confirm', '--all'])
    assert.deepEqual(
      confirmed.map(({ name, result }) => [name, result]),
      [
        ['diary', 'nothing is kept'],
        ['shop', 'the former directory goes'],
      ],
    )
    await until(async () => (await dbOf('shop')).upgrade === undefined)
    assert.deepEqual(majorsOnDisk(), ['17', '18'])
    assert.equal(await count('shop'), ROWS)
    const { body: events } = await server.api<{ items: { name: string }[] }>('GET', `/projects/${made.shop?.ref}/events?limit=200`)
    const names = new Set(events.items.map(({ name }) => name).filter((name) => name.startsWith('upgrade.')))
    assert.deepEqual([...names].sort(), ['upgrade.confirmed', 'upgrade.finished', 'upgrade.reverted', 'upgrade.started'])
  })
})
