/** Backups that the server makes by itself, the daily copy of the metadata, and the root key for the safe. */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Cli, makeCli } from '../../packages/cli/src/cli.testing.ts'
import { newIdentity } from '../../packages/server/src/base/archive/seal.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, metric } from '../project.ts'
import { until } from '../until.ts'

interface Status {
  readonly backup: { scheduled: boolean; last_at: string | null; problem: string | null; reason: string | null; root_key_exported: boolean }
}

describe('scheduled backups', () => {
  const home = mkdtempSync(join(tmpdir(), 'sovra-schedule-'))
  const dir = join(home, 'backups')
  let server: TestServer
  let cli: Cli
  let identity = ''

  const made = () => readdirSync(dir).filter((name) => name.endsWith('.tar'))
  const status = async () => (await server.api<Status>('GET', '/status')).body.backup

  before(async () => {
    const keys = await newIdentity()
    identity = keys.identity
    // The server's uid is another one under a keeper.
    chmodSync(home, 0o755)
    rmSync(dir, { recursive: true, force: true })
    mkdtempSync(join(home, 'x'))
    mkdirSync(dir)
    chmodSync(dir, 0o777)
    writeFileSync(join(dir, 'of somebody else.tar'), 'x')
    server = await startServer({
      env: {
        SOVRABASE_DEMO: 'off',
        SOVRABASE_BACKUP_DIR: dir,
        SOVRABASE_BACKUP_RECIPIENTS: keys.recipient,
        SOVRABASE_BACKUP_EVERY: '1s',
        SOVRABASE_BACKUP_KEEP: '2',
        SOVRABASE_BACKUP_KEEP_FOR: '1s',
      },
    })
    cli = makeCli(() => server.dataDir)
    await createProject(server, 'shop')
  })

  after(async () => {
    await server?.stop()
    cli?.remove()
    rmSync(home, { recursive: true, force: true })
  })

  test('are made, checked and thinned out; files of others stay', async () => {
    const seen = new Set<string>()
    await until(() => {
      for (const name of made()) seen.add(name)
      return seen.size >= 6
    }, 60_000)
    await until(() => made().length <= 4)
    assert.ok(made().includes('of somebody else.tar'))
    const { scheduled, last_at, problem } = await status()
    assert.deepEqual([scheduled, problem], [true, null])
    assert.ok(Date.now() - Date.parse(last_at ?? '') < 60_000)
    assert.ok((await metric(server, 'sovrabase_backup_last_seconds')) > 1_700_000_000)
    assert.ok((await metric(server, 'sovrabase_backup_size_bytes')) > 100_000)
  })

  test('one that fails is said loudly', async () => {
    chmodSync(dir, 0o555)
    if (process.geteuid?.() !== 0) return chmodSync(dir, 0o755)
    await until(async () => (await status()).problem === 'failed', 30_000)
    assert.match((await status()).reason ?? '', /EACCES/)
    assert.ok((await metric(server, 'sovrabase_backup_failures_total')) >= 1)
    assert.match((await cli.run(['status'])).out, /Backup\s+FAILED/)
    chmodSync(dir, 0o777)
  })

  test('the private key opens them', async () => {
    const keys = join(home, 'identity.txt')
    writeFileSync(keys, identity)
    const [newest] = made()
      .filter((name) => name.startsWith('sovrabase-'))
      .sort()
      .reverse()
    const ran = await cli.run(['backup', 'verify', join(dir, newest ?? ''), '--identity-file', keys])
    assert.equal(ran.code, 0, ran.err)
    assert.match(ran.out, /acme\/shop/)
  })

  test('the metadata is copied daily', async () => {
    await until(() => readdirSync(join(server.dataDir, 'snapshots')).some((name) => name.endsWith('-daily.sqlite')))
  })

  test('the root key for the safe: asked for until it was exported', async () => {
    assert.equal((await status()).root_key_exported, false)
    assert.match((await cli.run(['status'])).out, /Root key\s+NOT IN THE SAFE/)
    const file = join(home, 'root.key')
    assert.equal((await cli.run(['keys', 'export-root', '--to', file])).code, 0)
    assert.equal(readFileSync(file, 'utf8').trim(), readFileSync(join(server.dataDir, 'keys/root.key'), 'utf8').trim())
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.equal((await status()).root_key_exported, true)
    assert.doesNotMatch((await cli.run(['status'])).out, /Root key/)
    assert.equal((await cli.run(['keys', 'export-root', '--to', file])).code, 1)
  })
})
