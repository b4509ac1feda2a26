/** What one project, the server and the machine keep from each other, and what is never written down. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { startServer, type TestServer } from '../node.ts'
import { family, postmasters } from '../processes.ts'
import { createProject, openProject, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const root = process.getuid?.() === 0
const skip = root ? false : 'needs root: several uids'

let server: TestServer
let a: TestProject
let b: TestProject

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_LOG_LEVEL: 'debug' } })
  a = await createProject(server, 'a')
  b = await createProject(server, 'b')
  for (const project of [a, b]) await project.sql('select 1')
})
after(() => server?.stop())

describe('processes and files', () => {
  test('each cluster has a uid of its own, the server another, and neither is root', { skip }, () => {
    const clusters = postmasters(server.dataDir)
    assert.equal(clusters.length, 2)
    assert.equal(a.isolation, 'full')
    const servers = family(server.child.pid ?? 0).filter(({ command, uid }) => command.includes('main.ts') && uid !== 0)
    assert.equal(servers.length, 1)
    const uids = [...clusters, ...servers].map(({ uid }) => uid)
    assert.equal(new Set(uids).size, 3)
    assert.ok(!uids.includes(0))
    const listening = readFileSync('/proc/net/tcp', 'utf8')
    const port = Number(new URL(server.url).port).toString(16).toUpperCase().padStart(4, '0')
    const socket = listening.split('\n').find((line) => line.includes(`0100007F:${port} `) && line.includes(' 0A '))
    assert.equal(Number(socket?.trim().split(/\s+/)[7]), servers[0]?.uid, 'who listens to HTTP is no root')
  })

  test('a cluster has no listener but its socket', () => {
    for (const { pid } of postmasters(server.dataDir)) {
      const inodes = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
        try {
          return /socket:\[(\d+)\]/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
        } catch {
          return []
        }
      })
      for (const file of ['tcp', 'tcp6'])
        for (const line of readFileSync(`/proc/net/${file}`, 'utf8').split('\n').slice(1))
          assert.ok(!inodes.includes(line.trim().split(/\s+/)[9] ?? 'none'), line)
    }
  })

  test('data directories are their owners’ alone', () => {
    for (const { directory, uid } of postmasters(server.dataDir)) {
      const { mode, uid: owner } = statSync(directory)
      assert.equal(mode & 0o777, 0o700)
      assert.equal(owner, uid)
    }
    for (const file of ['keys/root.key', 'keys/jwt.secret', 'keys/local.token']) {
      assert.equal(statSync(join(server.dataDir, file)).mode & 0o077, 0, file)
    }
    assert.equal(statSync(join(server.dataDir, 'keys')).mode & 0o077, 0)
  })
})

test('values of requests are in no file but the rows, and in no line of output', async () => {
  const canary = (where: string) => `canary${where}${'q7x'.repeat(4)}`
  await a.sql('create table public.notes (id int primary key, body text); grant all on public.notes to authenticated, service_role')
  const token = await a.token('0192f0c1-2b3c-7d4e-8f5a-000000000001', { claims: { note: canary('claim') } })
  const headers = { 'x-note': canary('header'), cookie: `note=${canary('cookie')}`, 'user-agent': canary('agent') }
  const given = { token, headers }
  assert.equal((await rest(a, a.anon, 'POST', '/notes', { ...given, body: { id: 1, body: canary('row') } })).status, 201)
  assert.equal((await rest(a, a.anon, 'GET', `/notes?body=eq.${canary('filter')}`, given)).status, 200)
  // Errors quote values in PostgreSQL: each of these fails in another place.
  assert.equal((await rest(a, a.anon, 'POST', '/notes', { ...given, body: { id: 1, body: canary('twice') } })).status, 409)
  assert.equal((await rest(a, a.anon, 'POST', '/notes', { ...given, body: { id: canary('number') } })).status, 400)
  assert.equal((await rest(a, a.anon, 'GET', `/notes?id=eq.${canary('cast')}`, given)).status, 400)
  assert.ok((await rest(a, a.anon, 'GET', `/${canary('table')}`, given)).status >= 400)
  assert.equal((await rest(a, a.anon, 'GET', '/notes', { token: `${token}${canary('signature')}` })).status, 401)
  assert.equal((await rest(a, canary('key'), 'GET', '/notes')).status, 401)
  await assert.rejects(a.sql(`select '${canary('wire')}'::int`))
  assert.equal((await server.api('POST', `/projects/${a.ref}/sleep`)).status, 200)
  await until(() => postmasters(server.dataDir).length <= 1)
  await openProject(server, a.ref)

  const found: string[] = []
  const walk = (dir: string) => {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name)
      if (entry.isDirectory()) walk(path)
      else if (entry.isFile()) {
        for (const [, where] of readFileSync(path, 'latin1').matchAll(/canary([a-z]+?)(?:q7x){4}/g)) {
          const isRow = /\/(base|pg_wal)\//.test(path) && (where === 'row' || where === 'twice')
          if (!isRow) found.push(`${where} in ${relative(server.dataDir, path)}`)
        }
      }
    }
  }
  walk(server.dataDir)
  assert.deepEqual([...new Set(found)], [])
  assert.doesNotMatch(server.output(), /canary/)
  assert.ok(!server.output().includes(token) && !server.output().includes(a.anon))
})
