/** The root key: a new one while the server runs, and an installation that has lost it. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { type Cli, makeCli } from '../../packages/cli/src/cli.testing.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, openProject, rest, type TestProject } from '../project.ts'
import { newDataDir } from '../seed.ts'

interface RootKey {
  readonly key_id: string
  readonly former: number
  readonly sealed: boolean
}
interface Recovered {
  readonly key_id: string
  readonly projects: readonly { readonly ref: string }[]
  readonly settings: readonly { readonly scope: string; readonly section: string; readonly secrets: readonly string[] }[]
  readonly failed: readonly string[]
}

const ENV = { SOVRABASE_DEMO: 'off' }
const TABLE = 'create table public.rows (id int primary key); grant all on public.rows to service_role, anon'

describe('root key', () => {
  const parent = mkdtempSync(join(tmpdir(), 'sovra-test-'))
  const dataDir = newDataDir(join(parent, 'data'))
  const file = join(dataDir, 'keys', 'root.key')
  const words = () => readFileSync(file, 'utf8').trim().split('\n')
  let server: TestServer
  let cli: Cli
  let shop: TestProject
  let asleep: TestProject

  before(async () => {
    server = await startServer({ dataDir, env: ENV })
    cli = makeCli(() => dataDir)
    shop = await createProject(server, 'shop')
    asleep = await createProject(server, 'asleep')
    for (const project of [shop, asleep]) await project.sql(`${TABLE}; insert into public.rows values (1)`)
    const smtp = { host: '127.0.0.1', port: 25, user: 'u', password: 'a-mail-password', from: 'a@example.org' }
    const set = await server.api('PATCH', `/projects/${shop.ref}/settings/auth`, { smtp })
    assert.equal(set.status, 200, JSON.stringify(set.body))
    assert.equal((await server.api('POST', `/projects/${asleep.ref}/sleep?force=true`)).status, 200)
  })
  after(async () => {
    await server?.stop()
    cli?.remove()
    rmSync(parent, { recursive: true, force: true })
  })

  test('a new one while the server runs: requests go on, keys and rows stay, then the former one may go', async () => {
    const [old] = words()
    const before = await cli.answer<RootKey>(['keys', 'root'])
    assert.deepEqual([before.former, before.sealed], [0, true])
    let running = true
    const statuses = new Set<number>()
    const traffic = (async () => {
      while (running) statuses.add((await rest(shop, shop.service, 'GET', '/rows')).status)
    })()
    const rotated = await cli.answer<RootKey>(['keys', 'rotate-root'])
    running = false
    await traffic
    assert.deepEqual([...statuses], [200])
    assert.deepEqual([rotated.former, rotated.sealed], [1, true])
    assert.notEqual(rotated.key_id, before.key_id)
    assert.deepEqual([words().length, words()[1]], [2, old])
    const status = await server.api<{ backup: { root_key_exported: boolean } }>('GET', '/status')
    assert.equal(status.body.backup.root_key_exported, false)
    assert.equal((await openProject(server, shop.ref)).service, shop.service)

    const forgotten = await cli.answer<RootKey>(['keys', 'rotate-root', '--forget-former'])
    assert.equal(forgotten.former, 0)
    assert.equal(words().length, 1)
    await server.kill()
    server = await startServer({ dataDir, env: ENV })
    for (const project of [shop, asleep]) {
      const again = await openProject(server, project.ref)
      assert.equal(again.service, project.service)
      assert.deepEqual((await rest(again, again.service, 'GET', '/rows')).body, [{ id: 1 }])
    }
    shop = await openProject(server, shop.ref)
  })

  test('nobody but the owner of the machine may do it', async () => {
    assert.equal((await server.api('POST', '/root-key/rotate', undefined, { token: null })).status, 401)
  })

  test('secrets of many projects at once', async () => {
    const made = await cli.answer<{ status: string; name: string; result: { service_role_key: string } }[]>([
      ...['keys', 'rotate', '--all', '--overlap', '0s', '--signing', '--password'],
    ])
    assert.deepEqual(
      made.map(({ status }) => status),
      ['done', 'done'],
    )
    const mine = made.find(({ name }) => name === 'shop')
    assert.equal((await rest(shop, shop.service, 'GET', '/rows')).status, 401)
    assert.equal((await rest(shop, mine?.result.service_role_key ?? '', 'GET', '/rows')).status, 200)
    await assert.rejects(shop.sql('select 1'))
    shop = await openProject(server, shop.ref)
    assert.deepEqual(await shop.sql('select count(*)::int as n from public.rows'), [{ n: 1 }])
  })

  test('recover is refused while the server runs, and while the key is there', async () => {
    assert.equal((await cli.run(['recover'])).code, 2)
    const running = await cli.run(['recover', '--without-root-key', '--yes'])
    assert.equal(running.code, 3, running.err)
    await server.kill()
    const there = await cli.run(['recover', '--without-root-key', '--yes'])
    assert.equal(there.code, 2, there.err)
    assert.match(there.err, /the root key is there/)
  })

  test('without the root key: new keys and passwords, and every row', async () => {
    rmSync(join(dataDir, 'keys'), { recursive: true })
    const done = await cli.answer<Recovered>(['recover', '--without-root-key', '--yes'], {})
    assert.deepEqual(done.failed, [])
    assert.deepEqual(done.projects.map(({ ref }) => ref).sort(), [shop.ref, asleep.ref].sort())
    assert.deepEqual(done.settings, [{ scope: shop.ref, section: 'auth', secrets: ['smtp/password'] }])
    assert.ok(readdirSync(join(dataDir, 'snapshots')).some((name) => name.includes('before-recover')))
    assert.ok(existsSync(file))

    server = await startServer({ dataDir, env: ENV })
    for (const project of [shop, asleep]) {
      const again = await openProject(server, project.ref)
      assert.notEqual(again.service, project.service)
      assert.equal((await rest(again, project.service, 'GET', '/rows')).status, 401)
      const client = createClient(again.url, again.service)
      assert.deepEqual((await client.from('rows').select()).data, [{ id: 1 }])
      assert.deepEqual(await again.sql('select count(*)::int as n from public.rows'), [{ n: 1 }])
    }
    const settings = await server.api<{ own: { smtp: Record<string, unknown> } }>('GET', `/projects/${shop.ref}/settings/auth`)
    assert.equal(settings.status, 200)
    assert.ok(!JSON.stringify(settings.body).includes('"password"'))
    const root = await server.api<RootKey>('GET', '/root-key')
    assert.deepEqual([root.body.key_id, root.body.sealed], [done.key_id, true])
    await server.kill()
  })

  test('a wrong key is set aside, not overwritten', async () => {
    const right = readFileSync(file, 'utf8')
    writeFileSync(file, `${'ab'.repeat(32)}\n`, { mode: 0o600 })
    const done = await cli.run(['recover', '--without-root-key', '--yes'])
    assert.equal(done.code, 0, done.err)
    const aside = readdirSync(join(dataDir, 'keys')).find((name) => name.startsWith('root.key.unusable-'))
    assert.equal(readFileSync(join(dataDir, 'keys', aside ?? ''), 'utf8').trim(), 'ab'.repeat(32))
    assert.notEqual(readFileSync(file, 'utf8'), right)
    server = await startServer({ dataDir, env: ENV })
    const again = await openProject(server, shop.ref)
    assert.deepEqual((await rest(again, again.service, 'GET', '/rows')).body, [{ id: 1 }])
  })
})
