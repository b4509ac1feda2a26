/** A clock that is a day off, and put right again: no session is lost, nothing is done twice, no duration is negative. */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createClient, type Session, type SupabaseClient } from '@supabase/supabase-js'
import { DAY, makeClock } from '../clock.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'

const folder = mkdtempSync(join(tmpdir(), 'sovra-clock-'))
const clock = makeClock(join(folder, 'offset'))
let server: TestServer
let shop: TestProject
let client: SupabaseClient

before(async () => {
  chmodSync(folder, 0o755)
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', ...clock.env } })
  shop = await createProject(server, 'shop')
  await shop.sql('create table public.notes (id int primary key); grant all on public.notes to authenticated, service_role')
  client = createClient(shop.url, shop.anon, { auth: { autoRefreshToken: false, persistSession: false } })
})
after(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** What a client does whose token is refused. */
async function refreshed({ refresh_token }: Session): Promise<Session> {
  const { data, error } = await client.auth.refreshSession({ refresh_token })
  assert.equal(error, null)
  assert.ok(data.session)
  return data.session
}
const reads = async ({ access_token }: Session) => (await rest(shop, shop.anon, 'GET', '/notes', { token: access_token })).status

for (const [name, offset] of [
  ['ahead', DAY],
  ['behind', -DAY],
] as const)
  test(`a day ${name}, and back`, async () => {
    const account = { email: `${name}@example.org`, password: 'a long password 1' }
    const admin = createClient(shop.url, shop.service, { auth: { autoRefreshToken: false, persistSession: false } })
    assert.equal((await admin.auth.admin.createUser({ ...account, email_confirm: true })).error, null)
    const { data, error } = await client.auth.signInWithPassword(account)
    assert.equal(error, null)
    let session = data.session as Session
    assert.equal(await reads(session), 200)
    for (const at of [offset, 0]) {
      clock.set(at)
      session = await refreshed(session)
      assert.equal(await reads(session), 200, `offset ${at}`)
      // Keys have no hour.
      assert.equal((await rest(shop, shop.service, 'GET', '/notes')).status, 200)
      const made = await createProject(server, `${name}-${at === 0 ? 'back' : 'off'}`)
      assert.equal((await server.api('POST', `/projects/${made.ref}/sleep?force=true`)).status, 200)
      assert.deepEqual(await made.sql('select 1 as one'), [{ one: 1 }])
    }
  })

test('each thing was done once, and nothing took a negative time', async () => {
  const { body } = await server.api<{ items: { name: string; project: string | null }[] }>('GET', '/organisations/acme/events?limit=200')
  const created = body.items.filter(({ name }) => name === 'project.created').map(({ project }) => project)
  assert.equal(created.length, 5)
  assert.equal(new Set(created).size, created.length)
  assert.doesNotMatch(server.output(), /"(ms|seconds|wait)":-/)
  assert.doesNotMatch(server.output(), /"level":"(error|fatal)"/)
  const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text()
  assert.doesNotMatch(metrics, /_(seconds|seconds_sum|bytes|total)(\{[^}]*\})? -/)
})
