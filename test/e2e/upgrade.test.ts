/** Data of a former version under this one, and upgrades that fail: on real processes. A newer version is a copy of this one with one migration more. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, describe, test } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { FIXTURES, type FixtureProject, ROWS, unpackFixture } from '../fixtures/data.ts'
import { runServer, startServer, type TestServer } from '../node.ts'
import { openProject, type ProjectBody, rest } from '../project.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

const root = resolve(import.meta.dirname, '../..')
const SYSTEM = join(root, 'packages/server/src/runtime/engines/postgres/system')
const VERSION = readdirSync(SYSTEM).length
const ENV = { SOVRABASE_DEMO: 'off', SOVRABASE_NODE_NAME: 'fixture' }
const parent = mkdtempSync(join(tmpdir(), 'sovra-upgrade-'))
after(() => rmSync(parent, { recursive: true, force: true }))

/** The next version of the program, with what it changes; answers its script. */
function nextVersion(name: string, change: (source: string) => void): string {
  const at = join(parent, name)
  mkdirSync(at)
  cpSync(join(root, 'packages'), join(at, 'packages'), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(at, 'node_modules'))
  change(join(at, 'packages/server/src'))
  return join(at, 'packages/server/src/main.ts')
}

interface Body extends ProjectBody {
  readonly services: readonly (ProjectBody['services'][number] & { readonly system_version: number | null })[]
}
const dbOf = async (server: TestServer, { ref }: FixtureProject) =>
  (await server.api<Body>('GET', `/projects/${ref}`)).body.services.find(({ name }) => name === 'db')

describe('data of a former version', () => {
  for (const fixture of FIXTURES)
    test(`${fixture} boots, migrates and serves: same keys, same passwords, every row`, async (t) => {
      const dataDir = join(parent, fixture)
      const projects = await unpackFixture(fixture, dataDir)
      const server = await startServer({ dataDir: newDataDir(dataDir), env: ENV })
      t.after(() => server.kill())
      assert.ok(readdirSync(join(dataDir, 'snapshots')).some((name) => name.includes('-before-')))
      for (const { ref, service, anon, password } of projects) {
        const client = createClient(`${server.url}/p/${ref}`, service)
        const { data, error } = await client.from('notes').select('id').order('id')
        assert.deepEqual([data?.length, error], [ROWS, null])
        assert.deepEqual((await createClient(`${server.url}/p/${ref}`, anon).from('notes').select()).data, [])
        const project = await openProject(server, ref)
        assert.equal(project.service, service)
        assert.deepEqual(await project.sql('select count(*)::int as n from public.notes'), [{ n: ROWS }])
        const { body } = await server.api<{ password: string }>('POST', `/projects/${ref}/connection/reveal`)
        assert.equal(body.password, password)
        const signedUp = await createClient(project.url, project.anon).auth.signUp({
          email: 'a@example.org',
          password: 'a long password 1',
        })
        assert.equal(signedUp.error, null)
      }
      for (const project of projects)
        assert.deepEqual([(await dbOf(server, project))?.status, (await dbOf(server, project))?.system_version], ['awake', VERSION])
    })
})

describe('upgrades that fail', () => {
  const [fixture = ''] = FIXTURES

  test('a metadata migration: the metadata is put back, and the former version starts on it', async (t) => {
    const dataDir = join(parent, 'metadata')
    const [project] = await unpackFixture(fixture, dataDir)
    assert.ok(project)
    const before = await startServer({ dataDir: newDataDir(dataDir), env: ENV })
    assert.equal(await before.kill(), 0)
    const newer = nextVersion('throws', (source) => {
      const file = join(source, 'metadata/migrations/index.ts')
      const more = `
        { name: 'zz_new_table', run: async (db) => void (await import('kysely').then(({ sql }) => sql\`create table zz_new (id integer)\`.execute(db))) },
        { name: 'zz_throws', run: async () => { throw new Error('a mistake of the new version') } },
      ]`
      const text = readFileSync(file, 'utf8')
      const changed = text.replace(/(MIGRATIONS: readonly Migration\[\] = \[[^\]]*)\]/, `$1, ${more}`)
      assert.notEqual(changed, text, 'the list of migrations is written in another way')
      writeFileSync(file, changed)
    })
    const failed = await runServer(dataDir, { program: newer, env: ENV })
    assert.equal(failed.code, 2, failed.output)
    assert.match(failed.output, /zz_throws/)
    assert.match(failed.output, /the metadata is as it was before/)
    const server = await startServer({ dataDir: newDataDir(dataDir), env: ENV })
    t.after(() => server.kill())
    const again = await openProject(server, project.ref)
    assert.equal((await rest(again, project.service, 'GET', '/notes')).status, 200)
    assert.equal(await server.kill(), 0)
  })

  test('a system schema: that project stays on its version and readable, its neighbours go on', async (t) => {
    const dataDir = join(parent, 'system')
    const [shop, diary] = await unpackFixture(fixture, dataDir)
    assert.ok(shop && diary)
    const before = await startServer({ dataDir: newDataDir(dataDir), env: ENV })
    await (await openProject(before, shop.ref)).sql('create table public.marked (id int)')
    assert.equal(await before.kill(), 0)
    const number = String(VERSION + 1).padStart(4, '0')
    const newer = nextVersion('schema', (source) => {
      const text = `create table sovrabase.fresh (id int);
do $$ begin if to_regclass('public.marked') is not null then raise exception 'a mistake of the new version'; end if; end $$;`
      writeFileSync(join(source, `runtime/engines/postgres/system/${number}_broken.sql`), text)
    })
    const server = await startServer({ dataDir, env: ENV, program: newer })
    t.after(() => server.kill())
    const cli = makeCli(() => dataDir)
    t.after(() => cli.remove())
    const ran = await cli.run(['upgrade', '--all', '--parallel', '4', '--continue-on-error', '--json'])
    assert.equal(ran.code, 1, ran.err)
    const outcomes = JSON.parse(ran.out) as {
      name: string
      result: { was: number; system_version: number } | null
      error: { code: string; details: { system_version: number } } | null
    }[]
    assert.deepEqual(
      outcomes.map(({ name, result, error }) => [name, result?.system_version, error?.code, error?.details.system_version]),
      [
        ['diary', VERSION + 1, undefined, undefined],
        ['shop', undefined, 'system_schema_failed', VERSION],
      ],
    )
    for (const { ref, service } of [shop, diary]) {
      const project = await openProject(server, ref)
      assert.equal(((await rest(project, service, 'GET', '/notes')).body as unknown[]).length, ROWS)
      assert.equal((await rest(project, service, 'POST', '/notes', { body: { id: 100 } })).status, 201)
    }
    assert.equal((await dbOf(server, shop))?.status, 'degraded')
    const fresh = await (await openProject(server, shop.ref)).sql(`select to_regclass('sovrabase.fresh') as there`)
    assert.deepEqual(fresh, [{ there: null }])
    const mended = join(parent, 'schema/packages/server/src/runtime/engines/postgres/system', `${number}_broken.sql`)
    assert.equal(await server.kill(), 0)
    writeFileSync(mended, 'create table sovrabase.fresh (id int);')
    // It was never applied to shop; diary has the text that the mended release must keep.
    const again = await startServer({ dataDir, env: ENV, program: newer })
    t.after(() => again.kill())
    const one = await cli.answer<{ result: unknown }[]>(['upgrade', 'shop'])
    assert.deepEqual(one[0]?.result, { system_version: VERSION + 1, was: VERSION })
  })

  test('upgrade --all killed in the middle with its server, then again: it goes on where it stopped', async (t) => {
    const dataDir = join(parent, 'killed')
    const [shop, diary] = await unpackFixture(fixture, dataDir)
    assert.ok(shop && diary)
    const before = await startServer({ dataDir: newDataDir(dataDir), env: ENV })
    for (const { ref } of [shop, diary]) await openProject(before, ref).then((project) => project.sql('select 1'))
    await (await openProject(before, shop.ref)).sql('create table public.slow (id int)')
    assert.equal(await before.kill(), 0)
    const program = nextVersion('slow', (source) => {
      const text = `create table sovrabase.fresh (id int);
do $$ begin if to_regclass('public.slow') is not null then perform pg_sleep(3); end if; end $$;`
      writeFileSync(join(source, `runtime/engines/postgres/system/${String(VERSION + 1).padStart(4, '0')}_slow.sql`), text)
    })
    const server = await startServer({ dataDir, env: ENV, program })
    t.after(() => server.kill('SIGKILL'))
    const cli = makeCli(() => dataDir)
    t.after(() => cli.remove())
    const command = cli.start(['upgrade', '--all', '--parallel', '1'])
    // By name: diary is done, shop is under way.
    await until(async () => (await dbOf(server, diary))?.system_version === VERSION + 1 && (await dbOf(server, shop))?.status === 'waking')
    command.child.kill('SIGKILL')
    await Promise.all([command.ended, server.kill('SIGKILL')])
    const again = await startServer({ dataDir, env: ENV, program })
    t.after(() => again.kill())
    assert.equal((await dbOf(again, shop))?.system_version, VERSION)
    const answer = await cli.answer<{ name: string; result: object }[]>(['upgrade', '--all', '--parallel', '1'])
    assert.deepEqual(
      answer.map(({ name, result }) => [name, result]),
      [
        ['diary', { system_version: VERSION + 1, was: VERSION + 1 }],
        ['shop', { system_version: VERSION + 1, was: VERSION }],
      ],
    )
    // What was done is not woken for nothing, and what slept sleeps again.
    for (const project of [shop, diary]) assert.equal((await dbOf(again, project))?.status, 'asleep')
    for (const { ref, service } of [shop, diary])
      assert.equal(((await rest(await openProject(again, ref), service, 'GET', '/notes')).body as unknown[]).length, ROWS)
  })
})
