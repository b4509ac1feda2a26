/** Metadata on a PostgreSQL of its own: backed up with all else, restored elsewhere, moved from SQLite, and missed when it is gone. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { sql } from 'kysely'
import { type Cli, makeCli } from '../../packages/cli/src/cli.testing.ts'
import { openDatabase } from '../../packages/server/src/base/db/database.ts'
import { type Engine, startPostgres } from '../engines.ts'
import { runServer, startServer, type TestServer } from '../node.ts'
import { createProject, type TestProject } from '../project.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

const PASSPHRASE = { SOVRABASE_BACKUP_PASSPHRASE: 'correct horse battery staple' }

describe('metadata on a PostgreSQL', () => {
  const home = mkdtempSync(join(tmpdir(), 'sovra-metadata-'))
  let engine: Engine
  let server: TestServer
  let cli: Cli
  let dataDir = ''
  let shop: TestProject
  let backup = ''

  const on = (database: string) => ({
    SOVRABASE_DEMO: 'off',
    SOVRABASE_DATABASE_TYPE: 'postgresql',
    SOVRABASE_DATABASE_CONNECTION_STRING: engine.url(database),
  })
  async function make(name: string): Promise<void> {
    const admin = openDatabase<unknown>({ type: 'postgresql', connection_string: engine.url('postgres'), max_connections: 1 })
    await sql.raw(`create database ${name}`).execute(admin.kysely)
    await admin.close()
  }
  /** As an application that knows its keys from before. */
  const titles = async ({ url }: TestServer) => {
    const { data, error } = await createClient(`${url}/p/${shop.ref}`, shop.anon).from('notes').select('title')
    assert.equal(error, null)
    return data
  }

  before(async () => {
    engine = await startPostgres()
    await make('one')
    await make('two')
    server = await startServer({ env: on('one') })
    dataDir = server.dataDir
    cli = makeCli(() => dataDir)
    shop = await createProject(server, 'shop')
    await shop.sql("create table public.notes (title text); insert into public.notes values ('mine'); grant select on public.notes to anon")
  })
  after(async () => {
    await server?.stop()
    cli?.remove()
    await engine?.kill()
    for (const dir of [home, dataDir]) rmSync(dir, { recursive: true, force: true })
  })

  test('it is copied daily, and is in a backup of all', async () => {
    await until(() => readdirSync(join(dataDir, 'snapshots')).some((name) => name.endsWith('-daily.sqlite')))
    backup = join(home, 'all.tar')
    const made = await cli.run(['backup', 'create', '--all', '--to', backup], { env: PASSPHRASE })
    assert.equal(made.code, 0, made.err)
    assert.equal(await server.kill(), 0)
  })

  test('a database that knows nothing of the projects in the data directory stops the start', async () => {
    const failed = await runServer(dataDir, { env: on('two') })
    assert.equal(failed.code, 2, failed.output)
    assert.match(failed.output, /metadata_lost/)
    assert.match(failed.output, /sovra metadata import/)
  })

  test('restored elsewhere, onto another database: the old keys read the rows', async () => {
    const restored = join(home, 'restored')
    const ran = await cli.run(['restore', backup, '--data-dir', restored], { env: PASSPHRASE })
    assert.equal(ran.code, 0, ran.err)
    const env = { ...on('two'), SOVRABASE_DATA_DIR: restored }
    const imported = await cli.run(['metadata', 'import'], { env })
    assert.equal(imported.code, 0, imported.err)
    assert.match(imported.out, /rows of .*metadata\.sqlite are in the postgresql database/)
    const again = await cli.run(['metadata', 'import'], { env })
    assert.notEqual(again.code, 0)
    assert.match(again.err, /metadata_used/)
    const absent = await cli.run(['metadata', 'import', join(home, 'nowhere')], { env })
    assert.deepEqual([absent.code, /copy_unreadable|nowhere/.test(absent.err)], [1, true], absent.err)
    server = await startServer({ dataDir: newDataDir(restored), env: on('two') })
    assert.deepEqual(await titles(server), [{ title: 'mine' }])
    assert.equal((await createProject(server, 'more')).ref.length, 20)
    const busy = await cli.run(['metadata', 'import'], { env })
    assert.equal(busy.code, 3, busy.err)
    assert.equal(await server.kill(), 0)
  })

  test('or from the file, without a database server', async () => {
    const restored = join(home, 'plain')
    assert.equal((await cli.run(['restore', backup, '--data-dir', restored], { env: PASSPHRASE })).code, 0)
    server = await startServer({ dataDir: newDataDir(restored), env: { SOVRABASE_DEMO: 'off' } })
    assert.deepEqual(await titles(server), [{ title: 'mine' }])
  })
})
