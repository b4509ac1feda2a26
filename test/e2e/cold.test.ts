import assert from 'node:assert/strict'
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startServer, type TestServer } from '../node.ts'
import { createProject, openProject, type TestProject } from '../project.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

const dataDir = newDataDir()
const cold = join(dataDir, 'cold')
const projects = join(dataDir, 'projects')
const env = { SOVRABASE_DEMO: 'off', SOVRABASE_DISK_COLD_AFTER: '1s', SOVRABASE_SLEEP_AFTER: 'off' }
let server: TestServer = await startServer({ dataDir, env })
after(async () => {
  await server.stop()
  rmSync(dataDir, { recursive: true, force: true })
})
const PATIENCE = 150_000

interface DiskAnswer {
  readonly kinds: { readonly packed: number }
  readonly orphans: readonly unknown[]
  readonly projects: readonly { readonly ref: string; readonly packed: boolean; readonly bytes: { readonly total: number } }[]
}

const volumeOf = ({ services }: TestProject): string => (services[0]?.id ?? '').replaceAll('-', '')
const packOf = (project: TestProject): string => join(cold, `${volumeOf(project)}.tar.zst`)
const isPacked = (project: TestProject): boolean => existsSync(packOf(project)) && !existsSync(join(projects, volumeOf(project)))
async function pack(project: TestProject): Promise<void> {
  await server.api('POST', `/projects/${project.ref}/sleep?force=true`)
  await until(() => isPacked(project), PATIENCE)
}
async function restart(before: () => void = () => {}): Promise<void> {
  await server.kill('SIGKILL')
  before()
  server = await startServer({ dataDir, env })
}
const rows = async (project: TestProject) => (await project.sql('select n from kept order by n')).map(({ n }) => n)

const one = await createProject(server, 'one')
await one.sql('create table kept as select generate_series(1, 3) as n')

test('a project that slept for long is a pack of some MiB, and wakes with its rows', async () => {
  await pack(one)
  assert.ok(statSync(packOf(one)).size < 4 << 20, `${statSync(packOf(one)).size} bytes`)
  await until(async () => (await server.api<DiskAnswer>('GET', '/disk')).body.kinds.packed > 0, PATIENCE)
  const { body: disk } = await server.api<DiskAnswer>('GET', '/disk')
  assert.deepEqual(disk.orphans, [])
  const found = disk.projects.find(({ ref }) => ref === one.ref)
  assert.ok(found?.packed && found.bytes.total < 4 << 20)
  assert.deepEqual(await rows(one), [1, 2, 3])
  assert.ok(!existsSync(packOf(one)))
})

test('a copy, a backup and a purge reach a project that is packed', async () => {
  await pack(one)
  const backup = await fetch(`${server.url}/v1/backups`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ projects: [one.ref], passphrase: 'correct horse battery staple' }),
  })
  const bytes = (await backup.arrayBuffer()).byteLength
  assert.ok(backup.status === 200 && bytes > 1 << 20, `${backup.status}, ${bytes} bytes`)
  assert.ok(isPacked(one), 'a backup wakes nothing')
  const two = await createProject(server, 'two', { from: { project: one.ref, data: true } })
  assert.deepEqual(await rows(two), [1, 2, 3])
  await pack(two)
  await server.api('DELETE', `/projects/${two.ref}`)
  await server.api('POST', `/projects/${two.ref}/purge`)
  await until(() => !existsSync(packOf(two)) && !existsSync(join(projects, volumeOf(two))), PATIENCE)
})

test('killed at any step: there is always one whole copy, and it is the right one', async () => {
  // Between pack and removal: both. What the project wrote since counts, not the pack.
  await pack(one)
  const kept = join(dataDir, 'kept.tar.zst')
  copyFileSync(packOf(one), kept)
  await one.sql('insert into kept values (4)')
  await restart(() => {
    copyFileSync(kept, packOf(one))
    // While a pack is written: a part, which is none.
    writeFileSync(join(cold, '.0123456789ab.part'), 'half')
  })
  const again = await openProject(server, one.ref)
  assert.deepEqual(await rows(again), [1, 2, 3, 4])
  assert.deepEqual(readdirSync(cold), [])
  // In the middle of it.
  await server.api('POST', `/projects/${one.ref}/sleep?force=true`)
  await until(() => readdirSync(cold).length > 0, PATIENCE)
  await restart()
  assert.deepEqual(await rows(await openProject(server, one.ref)), [1, 2, 3, 4])
})

test('a damaged pack, and data that is nowhere, are errors and never an empty project', async () => {
  await pack(one)
  const away = join(dataDir, 'away')
  renameSync(packOf(one), away)
  writeFileSync(packOf(one), 'no pack at all')
  const wake = () => server.api<{ code: string }>('POST', `/projects/${one.ref}/wake`)
  assert.notEqual((await wake()).status, 200)
  rmSync(packOf(one))
  await restart()
  assert.notEqual((await wake()).status, 200)
  assert.ok(!existsSync(join(projects, volumeOf(one))))
  renameSync(away, packOf(one))
  await until(async () => (await wake()).status === 200, PATIENCE)
  assert.deepEqual(await rows(await openProject(server, one.ref)), [1, 2, 3, 4])
})
