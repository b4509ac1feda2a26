/** Crashes, signals, second starts, moved and damaged data: on real processes. */
import assert from 'node:assert/strict'
import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, type TestContext, test } from 'node:test'
import { runServer, startServer, type TestServer } from '../node.ts'
import { alive, clusterProcesses, family, postmasters } from '../processes.ts'
import { createProject, openProject, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const TABLE = 'create table public.rows (id int primary key); grant all on public.rows to service_role'
const PLAIN = { SOVRABASE_DEMO: 'off' }

/** Writes row after row until told to end, or the test is over; answers which were acknowledged. */
function stream(t: TestContext, project: TestProject, first: number) {
  const acknowledged: number[] = []
  let going = true
  let next = first
  const writer = async () => {
    while (going) {
      const id = next++
      try {
        if ((await rest(project, project.service, 'POST', '/rows', { body: { id } })).status === 201) acknowledged.push(id)
      } catch {
        // No server: nothing was acknowledged.
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }
  const writers = Array.from({ length: 8 }, writer)
  t.after(() => {
    going = false
  })
  return {
    acknowledged,
    async end() {
      going = false
      await Promise.all(writers)
    },
  }
}

async function rowsOf(project: TestProject): Promise<Set<number>> {
  const [row] = await project.sql('select coalesce(json_agg(id), $$[]$$) as ids from public.rows')
  return new Set(row?.ids as number[])
}

describe('one data directory', () => {
  const parent = mkdtempSync(join(tmpdir(), 'sovra-test-'))
  chmodSync(parent, 0o755)
  let dataDir = join(parent, 'data')
  let server: TestServer
  let a: TestProject
  let b: TestProject

  const begin = async (env: Record<string, string> = {}) => {
    server = await startServer({ dataDir, env: { ...PLAIN, ...env } })
  }
  const reopen = async () => {
    a = await openProject(server, a.ref)
    b = await openProject(server, b.ref)
  }

  before(async () => {
    // A host of another zone and without a locale, from the first start on: templates are made by it.
    await begin({ LANG: '', LC_ALL: '', TZ: 'America/Lima' })
    a = await createProject(server, 'a')
    b = await createProject(server, 'b')
    for (const project of [a, b]) await project.sql(TABLE)
  })
  after(async () => {
    await server?.stop()
    rmSync(parent, { recursive: true, force: true })
  })

  test('clusters are UTC and UTF8 whatever the host says', async () => {
    const [row] =
      await a.sql(`select current_setting('timezone') as zone, current_setting('log_timezone') as log, current_setting('server_encoding') as encoding,
      (select datcollate || '/' || datlocale from pg_database where datname = current_database()) as locale`)
    assert.deepEqual(row, { zone: 'UTC', log: 'UTC', encoding: 'UTF8', locale: 'C/C.UTF-8' })
  })

  test('a second start says who runs and ends with 3; the first is unharmed', async () => {
    const { code, output } = await runServer(dataDir)
    assert.equal(code, 3, output)
    const told = /already running: pid (\d+), (\S+?)\.?$/im.exec(output)
    assert.deepEqual([Number(told?.[1]), told?.[2]], [server.child.pid, server.url], output)
    assert.equal((await rest(a, a.service, 'GET', '/rows')).status, 200)
  })

  test('kill -9 of one cluster: neighbours keep serving, it comes back at the next request', async (t) => {
    assert.equal((await server.api('POST', `/projects/${b.ref}/sleep`)).status, 200)
    await rest(a, a.service, 'GET', '/rows')
    const [target, ...others] = postmasters(dataDir)
    assert.ok(target)
    assert.deepEqual(others, [])
    const writing = stream(t, b, 1_000_000)
    await until(() => writing.acknowledged.length > 5)
    await rest(a, a.service, 'POST', '/rows', { body: { id: 1 } })
    process.kill(target.pid, 'SIGKILL')
    const count = writing.acknowledged.length
    const back = await until(async () => {
      const answer = await rest(a, a.service, 'GET', '/rows?id=eq.1')
      return answer.status === 200 ? answer : null
    }, 30_000)
    assert.deepEqual(back.body, [{ id: 1 }])
    await until(() => writing.acknowledged.length > count)
    await writing.end()
    const kept = await rowsOf(b)
    assert.deepEqual(
      writing.acknowledged.filter((id) => !kept.has(id)),
      [],
    )
  })

  test('kill -9 of the server under writes: no process is left, every acknowledged row is there', async (t) => {
    const writing = [stream(t, a, 2_000_000), stream(t, b, 2_000_000)]
    await until(() => writing.every(({ acknowledged }) => acknowledged.length > 100), 60_000)
    const all = [...family(server.child.pid ?? 0), ...clusterProcesses(dataDir)]
    assert.ok(all.length > 8)
    await server.kill('SIGKILL')
    await until(() => alive(all).length === 0 && clusterProcesses(dataDir).length === 0, 30_000)
    for (const one of writing) await one.end()
    await begin()
    await reopen()
    for (const [i, project] of [a, b].entries()) {
      const kept = await rowsOf(project)
      assert.deepEqual(
        writing[i]?.acknowledged.filter((id) => !kept.has(id)),
        [],
      )
    }
  })

  test('kill -9 between what a request did and its answer: its Idempotency-Key does not do it twice', async () => {
    const create = () =>
      server.api<{ code: string; message: string; items: { name: string }[] }>(
        'POST',
        '/organisations/acme/projects',
        { name: 'once' },
        {
          headers: { 'idempotency-key': 'kept', prefer: 'wait=60' },
        },
      )
    const first = create().catch(() => null)
    const named = async () => (await server.api<{ items: { ref: string }[] }>('GET', '/projects?name=once')).body.items
    const [made] = await until(async () => ((await named()).length > 0 ? named() : null))
    await server.kill('SIGKILL')
    // An answer that came all the same is none that was lost.
    assert.equal(await first, null)
    const metadata = new DatabaseSync(join(dataDir, 'metadata.sqlite'))
    const aged = metadata.prepare(`update idempotent_answers set created_at = created_at - 200000 where key in ('kept', 'begun')`)
    assert.equal(aged.run().changes, 1)
    // Begun, and nothing was committed: that one is done again.
    metadata.exec(`insert into idempotent_answers select 'begun', actor, fingerprint, status, '{"x-request-id":"of-nothing"}', body, created_at, expires_at
      from idempotent_answers where key = 'kept'`)
    metadata.close()
    await begin()
    const again = await create()
    assert.deepEqual([again.status, again.body.code], [409, 'idempotency_lost'])
    assert.match(again.body.message, new RegExp(`project.created ${made?.ref}`))
    assert.equal((await named()).length, 1)
    const redone = await server.api<{ code: string }>(
      'POST',
      '/organisations/acme/projects',
      { name: 'once' },
      {
        headers: { 'idempotency-key': 'begun' },
      },
    )
    assert.equal(redone.body.code, 'name_taken')
    await server.api('DELETE', `/projects/${made?.ref}`)
    await reopen()
  })

  test('SIGTERM lets running requests end, then nothing is left', async () => {
    await a.sql('create or replace function public.slow() returns int language sql as $$ select 7 from pg_sleep(1) $$')
    await a.sql('grant execute on function public.slow to service_role')
    const all = () => [...family(server.child.pid ?? 0), ...clusterProcesses(dataDir)]
    const slow = rest(a, a.service, 'POST', '/rpc/slow', { body: {} })
    await until(async () => (await a.sql("select from pg_stat_activity where wait_event = 'PgSleep'")).length > 0)
    const those = all()
    const ended = server.kill('SIGTERM')
    const answer = await slow
    assert.deepEqual([answer.status, answer.body], [200, 7])
    assert.equal(await ended, 0)
    assert.deepEqual([alive(those).length, clusterProcesses(dataDir).length], [0, 0])
  })

  test('a stopped data directory can be moved', async () => {
    const moved = join(parent, 'elsewhere')
    renameSync(dataDir, moved)
    dataDir = moved
    await begin()
    await reopen()
    assert.ok((await rowsOf(a)).has(1))
    assert.equal((await rest(a, a.service, 'POST', '/rows', { body: { id: 2 } })).status, 201)
    await server.kill()
  })

  test('a lost root key stops the start and names file and key id; nothing is made anew', async () => {
    const file = join(dataDir, 'keys', 'root.key')
    const copy = join(parent, 'root.key')
    cpSync(file, copy)
    rmSync(file)
    const lost = await runServer(dataDir)
    assert.equal(lost.code, 2, lost.output)
    assert.match(lost.output, /root\.key/)
    const id = /root key (\S+) is missing/i.exec(lost.output)?.[1]
    assert.ok(id)
    assert.equal(existsSync(file), false)

    writeFileSync(file, `${'ab'.repeat(32)}\n`, { mode: 0o600 })
    const wrong = await runServer(dataDir)
    assert.equal(wrong.code, 2, wrong.output)
    assert.ok(wrong.output.includes(id), wrong.output)
    assert.match(wrong.output, /root\.key/)
    assert.equal(readFileSync(file, 'utf8').trim(), 'ab'.repeat(32))

    cpSync(copy, file)
    await begin()
    await reopen()
    assert.ok((await rowsOf(a)).has(2))
    await server.kill()
  })

  for (const [listener, variable] of [
    ['API', 'SOVRABASE_API_PORT'],
    ['admin', 'SOVRABASE_ADMIN_PORT'],
    ['wire', 'SOVRABASE_WIRE_PORT'],
  ] as const) {
    test(`a busy port of the ${listener} listener names its variable and ends with 2`, async (t) => {
      const other = createServer()
      await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
      t.after(() => other.close())
      const { port } = other.address() as { port: number }
      const { code, output } = await runServer(dataDir, { env: { [variable]: String(port) } })
      assert.equal(code, 2, output)
      assert.ok(output.includes(String(port)) && output.includes(variable), output)
      assert.deepEqual(clusterProcesses(dataDir), [])
    })
  }
})
