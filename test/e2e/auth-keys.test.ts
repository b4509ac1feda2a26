/** Signing keys of a project: rotated without a failed request, in each algorithm, revoked at once, never good in another project. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { auth, client, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'

let server: TestServer
let project: TestProject
before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'signing')
  await settings(server, project, { email_autoconfirm: true })
  await project.sql('create table public.notes (id int); grant select on public.notes to authenticated')
})
after(() => server?.stop())

interface Key {
  readonly kid: string
  readonly alg: string
  readonly state: string
}
const path = () => `/projects/${project.ref}/signing-keys`
const kidOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as { kid: string; alg: string }

test('each algorithm signs, all former tokens stay good, a revoked key ends at once', async () => {
  const own = client(project)
  const { data } = await own.auth.signUp({ email: 'ada@example.org', password: 'correct horse battery' })
  const tokens = [data.session!.access_token]
  let failures = 0
  let asking = true
  const asker = (async () => {
    while (asking)
      for (const token of tokens) if ((await rest(project, project.anon, 'GET', '/notes', { token })).status !== 200) failures++
  })().catch(() => failures++)
  for (const alg of ['EdDSA', 'RS256', 'HS256', 'ES256']) {
    const next = (await server.api<Key>('POST', path(), { alg })).body
    assert.deepEqual([next.alg, next.state], [alg, 'next'])
    const published = (await auth(project, 'GET', '/.well-known/jwks.json', { key: null })).body.keys as { kid: string }[]
    assert.equal(
      published.some(({ kid }) => kid === next.kid),
      alg !== 'HS256',
    )
    const turned = await server.api<Key>('POST', `${path()}/rotate`, { alg })
    assert.deepEqual([turned.status, turned.body.kid, turned.body.state], [200, next.kid, 'current'])
    const { data: fresh, error } = await own.auth.refreshSession()
    assert.equal(error, null)
    const token = fresh.session!.access_token
    assert.deepEqual([kidOf(token).kid, kidOf(token).alg], [next.kid, alg])
    // The client itself verifies no EdDSA; it reads the others by JWKS, HS256 by asking.
    if (alg !== 'EdDSA') assert.equal((await own.auth.getClaims(token)).error, null)
    tokens.push(token)
  }
  asking = false
  await asker
  assert.equal(failures, 0)
  const eddsa = kidOf(tokens[1]!).kid
  assert.equal((await server.api('DELETE', `${path()}/${eddsa}`)).status, 204)
  assert.equal((await rest(project, project.anon, 'GET', '/notes', { token: tokens[1]! })).status, 401)
  assert.equal((await rest(project, project.anon, 'GET', '/notes', { token: tokens[2]! })).status, 200)
  const current = kidOf(tokens.at(-1)!).kid
  assert.equal((await server.api('DELETE', `${path()}/${current}`)).status, 409)

  const other = await createProject(server, 'another')
  for (const token of tokens.slice(2))
    assert.equal((await auth(other, 'GET', '/user', { token })).status, 403, 'a token of another project')
})
