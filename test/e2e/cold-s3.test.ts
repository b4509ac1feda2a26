/** Packed projects in a real S3 server: killed in the middle of each way, a store that is away, a pack that is damaged. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, openProject, type TestProject } from '../project.ts'
import { ACCESS, type S3Server, startS3 } from '../s3.ts'
import { newDataDir } from '../seed.ts'
import { type SlowWay, slowWay } from '../slow-way.ts'
import { until } from '../until.ts'

const PATIENCE = 150_000
/** Less than a pack, more than what is said around it. */
const MIDDLE = 300_000
const dataDir = newDataDir()
const cli = makeCli(() => dataDir)
let s3: S3Server
let way: SlowWay
let server: TestServer
let one: TestProject

const start = () =>
  startServer({
    dataDir,
    env: {
      SOVRABASE_DEMO: 'off',
      SOVRABASE_SLEEP_AFTER: 'off',
      SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32',
      SOVRABASE_DISK_COLD_AFTER: '1s',
      SOVRABASE_DISK_COLD_PLACE: `s3://${s3.bucket}/cold`,
    },
  })
const volume = () => join(dataDir, 'projects', (one.services[0]?.id ?? '').replaceAll('-', ''))
/** Packs in the bucket, as files. */
const packs = () => {
  const folder = join(s3.root, s3.bucket, 'cold')
  const names = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : []
  return names.filter((name) => name.endsWith('.tar.zst')).map((name) => join(folder, name))
}
const sleep = () => server.api('POST', `/projects/${one.ref}/sleep?force=true`)
const wake = () => server.api<{ code: string; message: string }>('POST', `/projects/${one.ref}/wake`)
const packed = () => until(() => packs().length === 1 && !existsSync(volume()), PATIENCE)
const rows = async () => (await (await openProject(server, one.ref)).sql('select n from kept order by n')).map(({ n }) => n)
async function restart(between: () => void = () => {}): Promise<void> {
  await server.kill('SIGKILL')
  between()
  server = await start()
}
/** Why it does not wake, for those who operate it. */
async function refusal() {
  assert.notEqual((await wake()).status, 200)
  assert.ok(!existsSync(volume()), 'nothing is laid in its place')
  const { body } = await server.api<{ services: { status: string; detail: { code: string; message: string } }[] }>(
    'GET',
    `/projects/${one.ref}`,
  )
  return body.services[0]?.detail
}

before(async () => {
  s3 = await startS3()
  way = await slowWay(Number(new URL(s3.endpoint).port))
  server = await start()
  const args = ['backup', 'store', '--endpoint', `http://127.0.0.1:${way.port}`, '--access-key-id', ACCESS.access_key_id]
  const set = await cli.run(args, { env: { AWS_SECRET_ACCESS_KEY: ACCESS.secret_access_key } })
  assert.equal(set.code, 0, set.err)
  one = await createProject(server, 'one')
  await one.sql('create table kept as select generate_series(1, 3) as n')
})
after(async () => {
  await server?.stop()
  await way?.end()
  await s3?.stop()
  cli.remove()
  rmSync(dataDir, { recursive: true, force: true })
})

test('a project that slept for long lies in the bucket alone, and wakes with its rows', async () => {
  await sleep()
  await packed()
  assert.deepEqual(readdirSync(join(dataDir, 'cold')), [])
  assert.deepEqual(await rows(), [1, 2, 3])
  await until(() => packs().length === 0)
})

test('killed in the middle of packing: the project is what it was', async () => {
  const stalled = way.stall('there', MIDDLE)
  await sleep()
  await stalled
  assert.ok(existsSync(volume()))
  await restart(() => way.open())
  assert.deepEqual(await rows(), [1, 2, 3])
  await (await openProject(server, one.ref)).sql('insert into kept values (4)')
  await sleep()
  await packed()
})

test('killed in the middle of unpacking: the pack counts until the whole is there', async () => {
  const stalled = way.stall('back', MIDDLE)
  const waking = wake().catch(() => undefined)
  await stalled
  assert.deepEqual([packs().length, existsSync(volume())], [1, false])
  await restart(() => way.open())
  await waking
  assert.deepEqual(await rows(), [1, 2, 3, 4])
  await until(() => packs().length === 0)
})

test('a store that is away: it says so, nothing is lost, and the first wake after it finds all', async () => {
  await sleep()
  await packed()
  way.close()
  const refused = await refusal()
  assert.deepEqual([refused?.code, /s3:\/\/backups\/cold/.test(refused?.message ?? '')], ['store_failed', true], refused?.message)
  // A start does not wait for it, and does not take the project for an empty one.
  await restart()
  assert.equal((await refusal())?.code, 'store_failed')
  way.open()
  await until(async () => (await wake()).status === 200, PATIENCE)
  assert.deepEqual(await rows(), [1, 2, 3, 4])
})

test('a damaged or truncated pack is an error, and the pack stays as evidence', async () => {
  await sleep()
  await packed()
  const [file = ''] = packs()
  const whole = readFileSync(file)
  const damaged = Buffer.from(whole)
  damaged.fill(0, whole.length >> 1, (whole.length >> 1) + 64)
  for (const bad of [damaged, whole.subarray(0, whole.length - 1_000)]) {
    writeFileSync(file, bad)
    await restart()
    const refused = await refusal()
    assert.deepEqual(
      [refused?.code, /of s3:\/\/backups\/cold/.test(refused?.message ?? '')],
      ['pack_damaged', true],
      JSON.stringify(refused),
    )
    assert.deepEqual(readFileSync(file), bad)
  }
  writeFileSync(file, whole)
  await until(async () => (await wake()).status === 200, PATIENCE)
  assert.deepEqual(await rows(), [1, 2, 3, 4])
})

test('the root key is lost: packed projects are reached with the credentials of the environment', async () => {
  await sleep()
  await packed()
  await server.kill('SIGKILL')
  rmSync(join(dataDir, 'keys/root.key'))
  const where = { SOVRABASE_DISK_COLD_PLACE: `s3://${s3.bucket}/cold`, LC_ALL: 'C' }
  const recover = ['recover', '--without-root-key', '--yes', '--json']
  const refused = await cli.run(recover, { env: where })
  assert.notEqual(refused.code, 0)
  assert.match(refused.err, /no credentials for s3:\/\/backups\/cold[\s\S]*AWS_ACCESS_KEY_ID/)
  assert.deepEqual([packs().length, existsSync(join(dataDir, 'keys/root.key'))], [1, false], 'nothing was changed')
  const { access_key_id: AWS_ACCESS_KEY_ID, secret_access_key: AWS_SECRET_ACCESS_KEY } = ACCESS
  const env = { ...where, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3: s3.endpoint }
  const done = await cli.run(recover, { env })
  assert.equal(done.code, 0, done.err)
  server = await start()
  await until(async () => (await wake()).status === 200, PATIENCE)
  assert.deepEqual(await rows(), [1, 2, 3, 4])
})
