/** A restart on each of the three metadata databases. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sql } from 'kysely'
import { openDatabase } from '../../packages/server/src/base/db/database.ts'
import { server as engine, mariadbMissing } from '../engines.ts'
import { startServer } from '../node.ts'
import { createProject, openProject, rest } from '../project.ts'

/** Variables that point a server to an empty database, and how to remove that. */
async function databaseFor(name: 'sqlite' | 'postgresql' | 'mariadb'): Promise<{ env: Record<string, string>; remove(): Promise<void> }> {
  if (name === 'sqlite') return { env: {}, remove: async () => {} }
  const url = await engine(name)
  const type = name === 'mariadb' ? 'mysql' : 'postgresql'
  const database = `e2e${randomBytes(6).toString('hex')}`
  const admin = openDatabase<unknown>({ type, connection_string: url(name === 'mariadb' ? 'mysql' : 'postgres'), max_connections: 1 })
  await sql.raw(`create database ${database}`).execute(admin.kysely)
  return {
    env: { SOVRABASE_DATABASE_TYPE: type, SOVRABASE_DATABASE_CONNECTION_STRING: url(database) },
    async remove() {
      await sql.raw(`drop database ${database}${name === 'postgresql' ? ' with (force)' : ''}`).execute(admin.kysely)
      await admin.close()
    },
  }
}

for (const name of ['sqlite', 'postgresql', 'mariadb'] as const) {
  const skip = name === 'mariadb' && process.env.CI !== 'true' ? (mariadbMissing() ?? false) : false
  test(`metadata on ${name}: after a restart the project made before serves its rows`, { skip }, async (t) => {
    const parent = mkdtempSync(join(tmpdir(), 'sovra-test-'))
    t.after(() => rmSync(parent, { recursive: true, force: true }))
    const { env, remove } = await databaseFor(name)
    t.after(remove)
    const options = { dataDir: join(parent, 'data'), env: { SOVRABASE_DEMO: 'off', ...env } }

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
