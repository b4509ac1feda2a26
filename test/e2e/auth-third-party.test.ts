/** Tokens of issuers that a project trusts: their keys are read from a server on loopback, which rotates them. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { auth, client, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

interface Key {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly jwk: object
}

let server: TestServer
let project: TestProject
let issuing: Server
let issuer = ''
let published: object[] = []
let asked = 0

async function makeKey(alg = 'RS256'): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const kid = randomUUID()
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

const token = ({ kid, alg, privateKey }: Key, claims: Record<string, unknown> = {}) => {
  const now = Math.floor(Date.now() / 1000)
  const all = { iss: issuer, sub: 'auth0|ada', aud: 'app', iat: now, exp: now + 600, ...claims }
  return new SignJWT(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
    .setProtectedHeader({ alg, kid })
    .sign(privateKey)
}

before(async () => {
  issuing = createServer((request, response) => {
    asked++
    const body = request.url === '/keys' ? { keys: published } : { issuer, jwks_uri: `${issuer}keys` }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>((done) => issuing.listen(0, '127.0.0.1', done))
  issuer = `http://127.0.0.1:${(issuing.address() as AddressInfo).port}/`
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32' } })
  project = await createProject(server, 'third-party')
  await project.sql(`create table notes (owner text default auth.jwt() ->> 'sub', body text);
    alter table notes enable row level security;
    grant all on notes to anon, authenticated, service_role;
    create policy own on notes to authenticated using (owner = (select auth.jwt() ->> 'sub')) with check (owner = (select auth.jwt() ->> 'sub'))`)
})
after(async () => {
  await server?.stop()
  issuing?.closeAllConnections()
  await new Promise((done) => (issuing ? issuing.close(done) : done(null)))
})

const trust = (more: Record<string, unknown> = {}) =>
  settings(server, project, { third_party: [{ issuer, audiences: ['app', 'other'], ...more }] })
const read = async (jwt: string) => {
  const { status, body } = await rest(project, project.anon, 'GET', '/notes?select=owner', { token: jwt })
  return { status, body: body as { code?: string; message?: string; owner?: string }[] & { message?: string } }
}

let key: Key

test('nobody is trusted before the project says so; then the unmodified client reads and writes by such tokens', async () => {
  key = await makeKey()
  published = [key.jwk]
  const jwt = await token(key)
  assert.equal((await read(jwt)).status, 401)
  assert.equal(asked, 0)
  await trust()
  const own = createClient(project.url, project.anon, { accessToken: async () => jwt })
  assert.equal((await own.from('notes').insert({ body: 'mine' })).error, null)
  assert.deepEqual((await own.from('notes').select('owner, body')).data, [{ owner: 'auth0|ada', body: 'mine' }])
  assert.deepEqual((await read(await token(key, { sub: 'auth0|bob' }))).body, [])
  assert.equal(asked, 2, 'metadata and keys, once')
})

test('attacks: issuer, audience, time, algorithm, key, a role that it may not give', async () => {
  const foreign = { ...(await makeKey()), kid: key.kid }
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const none = `${encode({ alg: 'none', kid: key.kid })}.${encode({ iss: issuer, aud: 'app', sub: 'x', exp: now + 60 })}.AA`
  const shared = await new SignJWT({ iss: issuer, aud: 'app', sub: 'x', exp: now + 60 })
    .setProtectedHeader({ alg: 'HS256', kid: key.kid })
    .sign(Buffer.from(JSON.stringify(key.jwk)))
  const bad: [string, string][] = [
    ['issuer', await token(key, { iss: `${issuer}other` })],
    ['the issuer of the project itself', await token(key, { iss: `${project.url}/auth/v1` })],
    ['no issuer', await token(key, { iss: undefined })],
    ['audience', await token(key, { aud: 'somebody-else' })],
    ['expired', await token(key, { iat: now - 7200, exp: now - 3600 })],
    ['no end', await token(key, { exp: undefined })],
    ['another key', await token(foreign)],
    ['none', none],
    ['HS256', shared],
    ['service_role', await token(key, { role: 'service_role' })],
    ['postgres', await token(key, { role: 'postgres' })],
  ]
  for (const [what, jwt] of bad) assert.deepEqual([what, (await read(jwt)).status], [what, 401])
  assert.equal((await read(await token(key, { role: 'anon' }))).status, 200)
})

test('its users have no account here, whatever their id looks like, and administer nobody', async () => {
  const admin = client(project, project.service).auth.admin
  const { data } = await admin.createUser({ email: 'victim@example.org', password: 'correct horse', email_confirm: true })
  const jwt = await token(key, { sub: data.user!.id, email: 'victim@example.org' })
  for (const [method, path, body] of [
    ['GET', '/user', undefined],
    ['PUT', '/user', { password: 'stolen by them' }],
    ['POST', '/logout', {}],
    ['POST', '/factors', { factor_type: 'totp' }],
  ] as const) {
    const answer = await auth(project, method, path, { token: jwt, body })
    assert.deepEqual([path, answer.status, answer.body.error_code], [path, 403, 'bad_jwt'])
  }
  await trust({ roles: ['authenticated', 'service_role'] })
  const strong = await token(key, { role: 'service_role' })
  assert.equal((await read(strong)).body.length, 1, 'its owner has said so')
  assert.equal((await auth(project, 'GET', '/admin/users', { token: strong, key: project.anon })).status, 403)
})

test('the claim of the role may be elsewhere', async () => {
  await trust({ role_claim: 'https://app.example.org/role', role: 'anon' })
  const status = async (claims: Record<string, unknown>) => (await read(await token(key, claims))).body
  assert.equal((await status({ 'https://app.example.org/role': 'authenticated' })).length, 1)
  assert.deepEqual(await status({}), [])
  await trust({ role_claim: 'app.roles.main' })
  assert.equal((await status({ app: { roles: { main: 'authenticated' } } })).length, 1)
})

test('a new key is found when a token names it; a sleeping project is not woken by what is refused', async () => {
  // Another address of the keys: nothing is known of it yet.
  await trust({ jwks_url: `${issuer}keys` })
  assert.equal((await read(await token(key))).status, 200)
  // What was just answered may be on its way out still.
  const asleep = () => server.api('POST', `/projects/${project.ref}/sleep`, undefined, { headers: { prefer: 'wait=60' } })
  await until(async () => (await asleep()).status === 200)
  const next = await makeKey('ES256')
  assert.equal((await read(await token(next))).status, 401)
  const shown = await server.api<{ services: { status: string }[] }>('GET', `/projects/${project.ref}`)
  assert.equal(shown.body.services[0]!.status, 'asleep')
  published = [key.jwk, next.jwk]
  // Keys of an address that was just read are not read again at once: strangers choose what tokens name.
  const before = asked
  await read(await token(next))
  assert.equal(asked, before)
  await trust({ jwks_url: `${issuer}keys?next` })
  assert.equal((await read(await token(next))).status, 401, 'that address has no keys')
})
