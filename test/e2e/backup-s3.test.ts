/** Backups and archives in a real S3 server: written by the server, read by the command, an outage between. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { type Cli, makeCli } from '../../packages/cli/src/cli.testing.ts'
import type { ProjectArchive } from '../../packages/contract/src/backup.ts'
import { newIdentity } from '../../packages/server/src/base/archive/seal.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, metric, ORGANISATION, openProject, type ProjectBody, type TestProject } from '../project.ts'
import { ACCESS, type S3Server, startS3 } from '../s3.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

const PATIENCE = 120_000
/** Bytes at the end of each small object. */
const SIGNATURE = 40

describe('backups and archives in S3', () => {
  let s3: S3Server
  let server: TestServer
  let cli: Cli
  let shop: TestProject
  let recipient = ''
  const identityFile = () => join(home, 'identity.txt')
  let dataDir = ''
  const home = mkdtempSync(join(tmpdir(), 'sovra-s3-backup-'))
  chmodSync(home, 0o755)

  const common = { SOVRABASE_DEMO: 'off', SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32' }
  const archive = async () => (await server.api<ProjectArchive>('GET', `/projects/${shop.ref}/archive`)).body
  const files = (folder: string) => {
    const dir = join(s3.root, s3.bucket, folder)
    return existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith('.tar')) : []
  }
  const env = () => ({
    AWS_ACCESS_KEY_ID: ACCESS.access_key_id,
    AWS_SECRET_ACCESS_KEY: ACCESS.secret_access_key,
    AWS_ENDPOINT_URL_S3: s3.endpoint,
  })

  before(async () => {
    s3 = await startS3()
    const pair = await newIdentity()
    recipient = pair.recipient
    writeFileSync(identityFile(), pair.identity)
    server = await startServer({ env: common })
    dataDir = server.dataDir
    cli = makeCli(() => dataDir)
    shop = await createProject(server, 'shop')
    await shop.sql(
      'create table public.notes (id bigint primary key); grant select on public.notes to anon; insert into public.notes values (1)',
    )
  })

  after(async () => {
    await server?.stop()
    await s3?.stop()
    cli?.remove()
    for (const dir of [home, dataDir]) rmSync(dir, { recursive: true, force: true })
  })

  test('credentials are set once, sealed and never shown', async () => {
    const without = await cli.run(['backup', 'create', '--all', '--to', 's3://backups/by-hand', '--recipient', recipient, '--json'], {
      env: env(),
    })
    assert.equal((JSON.parse(without.err) as { code: string }).code, 'store_keys_missing')
    const args = ['backup', 'store', '--endpoint', s3.endpoint, '--access-key-id', ACCESS.access_key_id]
    const set = await cli.run(args, { env: { AWS_SECRET_ACCESS_KEY: ACCESS.secret_access_key } })
    assert.equal(set.code, 0, set.err)
    assert.match(set.out, new RegExp(ACCESS.access_key_id))
    assert.ok(!set.out.includes(ACCESS.secret_access_key))
    assert.ok(!readFileSync(join(dataDir, 'metadata.sqlite')).includes(ACCESS.secret_access_key))
    assert.ok(!server.output().includes(ACCESS.secret_access_key))
  })

  test('a backup by hand: written by the server, verified, restored elsewhere; the old keys read the rows', async () => {
    const made = await cli.answer<{ place: string; projects: number }>(
      ['backup', 'create', '--all', '--to', 's3://backups/by-hand', '--recipient', recipient],
      {
        env: env(),
      },
    )
    assert.match(made.place, /^s3:\/\/backups\/by-hand\/sovrabase-all-\d{8}T\d{6}Z\.tar$/)
    const checked = await cli.run(['backup', 'verify', made.place, '--identity-file', identityFile()], { env: env() })
    assert.equal(checked.code, 0, checked.err)
    const elsewhere = join(home, 'elsewhere')
    const done = await cli.run(['restore', made.place, '--data-dir', elsewhere, '--identity-file', identityFile()], { env: env() })
    assert.equal(done.code, 0, done.err)
    const second = await startServer({ dataDir: newDataDir(elsewhere), env: common })
    try {
      const url = shop.url.replace(/^http:\/\/[^/]+/, second.url)
      const client = createClient(url, shop.anon, { auth: { persistSession: false } })
      const { data, error } = await client.from('notes').select('id')
      assert.equal(error, null)
      assert.deepEqual(data, [{ id: 1 }])
    } finally {
      await second.stop()
    }
    const [name = ''] = files('by-hand')
    truncateSync(join(s3.root, s3.bucket, 'by-hand', name), 5000)
    const cut = await cli.run(['restore', made.place, '--data-dir', join(home, 'never'), '--identity-file', identityFile(), '--json'], {
      env: env(),
    })
    assert.equal((JSON.parse(cut.err) as { code: string }).code, 'backup_truncated')
    assert.ok(!existsSync(join(home, 'never')))
    const wrong = await cli.run(['backup', 'verify', made.place, '--identity-file', identityFile(), '--json'], {
      env: { ...env(), AWS_SECRET_ACCESS_KEY: 'another' },
    })
    assert.equal((JSON.parse(wrong.err) as { code: string }).code, 'store_denied')
  })

  test('by the clock: made, checked, thinned out; files of others stay', async () => {
    await server.kill('SIGTERM')
    const plan = {
      SOVRABASE_BACKUP_DIR: 's3://backups/nightly',
      SOVRABASE_BACKUP_RECIPIENTS: recipient,
      SOVRABASE_BACKUP_EVERY: '1s',
      SOVRABASE_BACKUP_KEEP: '1',
      SOVRABASE_BACKUP_KEEP_FOR: '1s',
      SOVRABASE_BACKUP_ARCHIVE: 's3://backups/archive',
    }
    server = await startServer({ dataDir, env: { ...common, ...plan } })
    const seen = new Set<string>()
    await until(() => {
      for (const name of files('nightly')) seen.add(name)
      return seen.size >= 4
    }, PATIENCE)
    writeFileSync(join(s3.root, s3.bucket, 'nightly', 'of somebody else.tar'), 'x')
    await until(() => files('nightly').length <= 4, PATIENCE)
    assert.ok(files('nightly').includes('of somebody else.tar'))
    assert.ok((await metric(server, 'sovrabase_backup_last_seconds')) > 1_700_000_000)
    await server.kill('SIGTERM')
    const { SOVRABASE_BACKUP_ARCHIVE } = plan
    server = await startServer({ dataDir, env: { ...common, SOVRABASE_BACKUP_ARCHIVE } })
    shop = await openProject(server, shop.ref)
  })

  test('an archive in a bucket: an outage is said loudly, and nothing of its time is lost', async () => {
    await server.api('PATCH', `/projects/${shop.ref}/settings/backup`, { point_in_time: true, within: 1 })
    await until(async () => (await archive()).ranges.length === 1, PATIENCE)
    await shop.sql('insert into public.notes values (2)')
    await until(async () => (await archive()).unstored_since === null, PATIENCE)
    await s3.kill()
    await shop.sql('insert into public.notes values (3)')
    const late = await until(async () => {
      const { body } = await server.api<{ archives: { late: { ref: string; reason: string }[] } }>('GET', '/status')
      return body.archives.late[0]
    }, PATIENCE)
    assert.equal(late.ref, shop.ref)
    assert.match(late.reason, /s3:\/\/backups\/archive/)
    assert.match((await cli.run(['status'])).out, /Points in time\s+NOT ARCHIVED/)
    assert.equal(await metric(server, 'sovrabase_archive_failing'), 1)
    // It may sleep meanwhile: nobody waits for the store.
    await server.api('POST', `/projects/${shop.ref}/sleep?force=true`)
    await s3.start()
    await until(async () => {
      const { failed_at, unstored_since, following } = await archive()
      return following && failed_at === null && unstored_since === null
    }, PATIENCE)
    const at = new Date().toISOString()
    await shop.sql('insert into public.notes values (4)')
    const made = await cli.answer<ProjectBody>(['projects', 'branch', 'shop', 'then', '--at', at])
    const then = await openProject(server, made.ref)
    assert.deepEqual(
      (await then.sql('select id from public.notes order by id')).map(({ id }) => Number(id)),
      [1, 2, 3],
    )
    assert.match((await cli.run(['status'])).out, /Points in time\s+1 archived/)
  })

  test("a project's own store goes through the outbound rule, and is no directory", async () => {
    const own = await createProject(server, 'own')
    const store = { url: 's3://backups/own', endpoint: s3.endpoint, ...ACCESS }
    const wrong = await server.api('PATCH', `/projects/${own.ref}/settings/backup`, { store: { ...store, url: '/etc' } })
    assert.equal(wrong.status, 400)
    const set = await server.api<{ own: { store: { secret_access_key: string } } }>('PATCH', `/projects/${own.ref}/settings/backup`, {
      point_in_time: true,
      store: { ...store, endpoint: 'http://10.255.255.1' },
    })
    assert.equal(set.status, 200)
    assert.equal(set.body.own.store.secret_access_key, '[set]')
    const state = async () => (await server.api<ProjectArchive>('GET', `/projects/${own.ref}/archive`)).body
    const refused = await until(async () => {
      const { body } = await server.api<{ archives: { late: { ref: string; reason: string | null }[] } }>('GET', '/status')
      return body.archives.late.find(({ ref }) => ref === own.ref)?.reason
    }, PATIENCE)
    assert.match(refused, /10\.255\.255\.1/)
    await server.api('PATCH', `/projects/${own.ref}/settings/backup`, { store })
    await until(async () => (await state()).ranges.length === 1, PATIENCE)
    const folder = join(s3.root, s3.bucket, 'own', own.ref)
    const base = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith('.json')) ?? ''
    // Whoever owns the bucket can write there, but not what this server would start a cluster from.
    writeFileSync(join(folder, base), readFileSync(join(folder, base)).subarray(0, -SIGNATURE))
    const made = await server.api<{ code: string }>('POST', `/organisations/${ORGANISATION}/projects`, {
      name: 'forged',
      from: { project: own.ref, at: new Date().toISOString() },
    })
    assert.deepEqual([made.status, made.body.code], [409, 'archive_foreign'])
  })
})
