/** A new server takes over where the metadata lies in a database server: nothing that was answered is lost, in it or in a project. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../metadata-database.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest } from '../project.ts'
import { until } from '../until.ts'

const isRoot = process.geteuid?.() === 0
const LONG = 60_000
/** Answers that are waited for after the new one has taken over. */
const MORE = 10

async function organisationsOf(server: TestServer): Promise<Set<string>> {
  const names = new Set<string>()
  for (let cursor = ''; ; ) {
    const path = `/organisations?limit=200${cursor}`
    const { body } = await server.api<{ items: { name: string }[]; next_cursor: string | null }>('GET', path)
    for (const { name } of body.items) names.add(name)
    if (body.next_cursor === null) return names
    cursor = `&cursor=${encodeURIComponent(body.next_cursor)}`
  }
}

/** Calls `write` with 1, 2, 3 … until it is told to stop; answers the numbers that were acknowledged. */
function writing(write: (n: number) => Promise<{ status: number }>) {
  const done: number[] = []
  const failures: string[] = []
  let stopped = false
  const ended = (async () => {
    for (let n = 1; !stopped; n++)
      await write(n).then(
        ({ status }) => (status === 201 ? done.push(n) : failures.push(String(status))),
        (error: Error) => failures.push(String(error.cause ?? error)),
      )
  })()
  const stop = async () => {
    stopped = true
    await ended
    assert.deepEqual(failures, [])
    return done
  }
  return { done, stop }
}

for (const kind of ['postgresql', 'mariadb'] as const)
  test(`on ${kind}`, { skip: !isRoot && 'without root there is no keeper' }, async (t) => {
    const database = await databaseFor(kind)
    t.after(() => database.remove())
    const server = await startServer({ env: { SOVRABASE_DEMO: 'off', ...database.env } })
    t.after(() => server.stop())
    const shop = await createProject(server, 'shop')
    await shop.sql('create table public.notes (id int primary key); grant all on public.notes to service_role')
    const startedAt = async () => (await server.api<{ started_at: string }>('GET', '/status')).body.started_at
    const since = await startedAt()
    // A kept connection may end under a request that was just sent: each takes its own here, and none may fail.
    const headers = { connection: 'close' }
    const rows = writing((id) => rest(shop, shop.service, 'POST', '/notes', { body: { id }, headers }))
    const names = writing((n) => server.api('POST', '/organisations', { name: `o${n}`, title: 'One of many' }, { headers }))
    process.kill(server.child.pid ?? 0, 'SIGUSR2')
    await until(async () => (await startedAt().catch(() => since)) !== since, LONG)
    const [then, named] = [rows.done.length, names.done.length]
    await until(() => rows.done.length > then + MORE && names.done.length > named + MORE, LONG)
    const [written, made] = [await rows.stop(), await names.stop()]
    const there = new Set((await shop.sql('select id from public.notes')).map(({ id }) => id))
    assert.deepEqual(
      written.filter((id) => !there.has(id)),
      [],
    )
    const kept = await organisationsOf(server)
    assert.deepEqual(
      made.filter((n) => !kept.has(`o${n}`)),
      [],
    )
  })
