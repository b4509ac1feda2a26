/** What takes the disk; and a disk that is nearly full. */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { after, test } from 'node:test'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, metric, organisation, rest, type TestProject } from '../project.ts'
import { newDataDir } from '../seed.ts'

const dataDir = newDataDir()
const cli = makeCli(() => dataDir)
let server: TestServer
let project: TestProject
after(async () => {
  await server.stop()
  cli.remove()
  rmSync(dataDir, { recursive: true, force: true })
})

interface Disk {
  readonly low: boolean
  readonly kinds: { readonly projects: number; readonly trash: number; readonly metadata: number; readonly logs: number }
  readonly freeable: { readonly kind: string; readonly bytes: number; readonly count: number }[]
  readonly orphans: unknown[]
  readonly projects: { readonly ref: string; readonly bytes: { readonly total: number; readonly wal: number; readonly log: number } }[]
}

test('each project and kind is measured; what is deleted counts as trash until it is purged', async () => {
  server = await startServer({ dataDir, env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'kept')
  const gone = await createProject(server, 'gone')
  await project.sql(`create table big (id int primary key, text text); grant all on big to service_role;
    insert into big select n, repeat(md5(n::text), 100) from generate_series(1, 3000) n`)
  await server.api('DELETE', `/projects/${gone.ref}`)
  const disk = await cli.answer<Disk>(['disk'])
  const own = disk.projects.find(({ ref }) => ref === project.ref)!
  assert.ok(own.bytes.total > 8 * 1024 ** 2 && own.bytes.wal > 512 * 1024 && own.bytes.log > 0, JSON.stringify(own))
  assert.ok(disk.kinds.metadata > 0 && disk.kinds.logs > 0 && disk.kinds.trash > 1024 ** 2)
  assert.equal(disk.low, false)
  assert.deepEqual(disk.orphans, [])
  assert.equal(disk.freeable[0]?.count, 1)
  assert.match((await cli.run(['disk'])).out, /Could be freed:\n.*1 deleted project/)
  assert.equal((await cli.run(['projects', 'purge', gone.ref])).code, 2, 'it asks to be sure')
  assert.equal((await cli.run(['projects', 'purge', gone.ref, '--yes'])).code, 0)
  const { freeable } = await cli.answer<Disk>(['disk'])
  assert.deepEqual(freeable, [])
})

test('below the reserve nothing new and nothing large is taken, all else goes on, and everything says so', async () => {
  await server.kill()
  server = await startServer({ dataDir, env: { SOVRABASE_DEMO: 'off', SOVRABASE_DISK_RESERVE: '4096TiB', SOVRABASE_DISK_SHARE: '100' } })
  await organisation(server)
  const refused = await server.api<{ code: string; hint: string }>('POST', '/organisations/acme/projects', { name: 'more' })
  assert.equal(refused.status, 507)
  assert.equal(refused.body.code, 'disk_low')
  assert.match(refused.body.hint, /sovra disk/)

  const at = { url: project.url.replace(/^http:\/\/[^/]+/, server.url) }
  const write = (id: number, length: number) => rest(at, project.service, 'POST', '/big', { body: { id, text: 'x'.repeat(length) } })
  assert.equal((await write(10_001, 100)).status, 201)
  const large = await write(10_002, 100_000)
  assert.equal(large.status, 507)
  assert.equal((large.body as { code: string }).code, 'disk_low')
  assert.equal((await rest(at, project.service, 'GET', '/big?id=eq.10001')).status, 200)
  assert.equal((await rest(at, project.service, 'DELETE', '/big?id=eq.10001')).status, 204)

  const ready = await fetch(`${server.adminUrl}/health/ready`)
  assert.equal(ready.status, 200)
  assert.deepEqual(((await ready.json()) as { warnings: string[] }).warnings, ['disk_low'])
  assert.equal(await metric(server, 'sovrabase_disk_low'), 1)
  assert.ok((await metric(server, 'sovrabase_disk_free_bytes')) > 0)
  assert.match((await cli.run(['status'])).out, /Disk\s+LOW/)
})

test('with room again it takes everything', async () => {
  await server.kill()
  server = await startServer({ dataDir, env: { SOVRABASE_DEMO: 'off' } })
  assert.equal((await server.api('POST', '/organisations/acme/projects', { name: 'more' }, { headers: { prefer: 'wait=60' } })).status, 201)
  assert.equal(await metric(server, 'sovrabase_disk_low'), 0)
})
