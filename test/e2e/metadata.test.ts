/** A restart on each of the three metadata databases. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { mariadbMissing } from '../engines.ts'
import { databaseFor } from '../metadata-database.ts'
import { startServer } from '../node.ts'
import { createProject, openProject, rest } from '../project.ts'
import { newDataDir } from '../seed.ts'

for (const name of ['sqlite', 'postgresql', 'mariadb'] as const) {
  const skip = name === 'mariadb' && process.env.CI !== 'true' ? (mariadbMissing() ?? false) : false
  test(`metadata on ${name}: after a restart the project made before serves its rows`, { skip }, async (t) => {
    const parent = mkdtempSync(join(tmpdir(), 'sovra-test-'))
    t.after(() => rmSync(parent, { recursive: true, force: true }))
    const { env, remove } = await databaseFor(name)
    t.after(remove)
    const options = { dataDir: newDataDir(join(parent, 'data')), env: { SOVRABASE_DEMO: 'off', ...env } }

    const first = await startServer(options)
    t.after(() => first.kill())
    const project = await createProject(first, 'lasting', { labels: { tier: 'test' } })
    await project.sql('create table public.rows (id int primary key); grant all on public.rows to service_role')
    assert.equal((await rest(project, project.service, 'POST', '/rows', { body: [{ id: 1 }, { id: 2 }] })).status, 201)
    assert.equal(await first.kill(), 0)

    const second = await startServer(options)
    t.after(() => second.kill())
    const { body: status } = await second.api<{ metadata: string }>('GET', '/status')
    assert.equal(status.metadata, name === 'mariadb' ? 'mysql' : name)
    const again = await openProject(second, project.ref)
    assert.equal(again.service, project.service)
    assert.deepEqual(again.labels, { tier: 'test' })
    assert.deepEqual((await rest(again, again.service, 'GET', '/rows?order=id')).body, [{ id: 1 }, { id: 2 }])
    assert.equal((await rest(again, again.service, 'POST', '/rows', { body: { id: 3 } })).status, 201)
    const made = await createProject(second, 'later')
    await made.sql('select 1')
    assert.equal(await second.kill(), 0)
  })
}
