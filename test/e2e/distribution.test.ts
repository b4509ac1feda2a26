/** A PostgreSQL of the distribution in place of the bundled one: here a plain tree of PostgreSQL with everything of contrib. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { testPrograms } from '../../packages/server/src/runtime/drivers/embedded/postgres.testing.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, openProject, type TestProject } from '../project.ts'

const dataDir = mkdtempSync(join(tmpdir(), 'sovra-test-'))
let server: TestServer
let env: Record<string, string>
let project: TestProject

before(async () => {
  const { postgres = '' } = await testPrograms()
  // Else the test would show nothing of the list.
  assert.ok(existsSync(join(dirname(postgres), '../share/postgresql/extension/dblink.control')))
  env = { SOVRABASE_DEMO: 'off', SOVRABASE_ENGINES_POSTGRES_BIN_DIR: dirname(postgres) }
  server = await startServer({ dataDir, env })
  project = await createProject(server, 'distribution')
})
after(async () => {
  await server?.stop()
  rmSync(dataDir, { recursive: true, force: true })
})

test('a project runs on it, with the extensions of the list and no other', async () => {
  const [row] = await project.sql('select array_agg(name::text) as names from pg_available_extensions')
  const names = row?.names as string[]
  assert.ok(names.includes('hstore'))
  assert.ok(!names.some((name) => ['dblink', 'file_fdw', 'postgres_fdw', 'pageinspect'].includes(name)), names.join(' '))
  await project.sql('create extension hstore')
  await assert.rejects(project.sql('create extension dblink'))
})

test('a second start finds what the first one made', async () => {
  await server.kill()
  server = await startServer({ dataDir, env })
  project = await openProject(server, project.ref)
  assert.deepEqual(await project.sql(`select 'a=>1'::hstore -> 'a' as a`), [{ a: '1' }])
})
