import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { startServer, type TestServer } from '../../../../test/node.ts'
import { openProject } from '../../../../test/project.ts'

let server: TestServer
before(async () => {
  server = await startServer()
})
after(() => server?.stop())

/** Of an answer, what these tests look at. */
interface Json {
  readonly [name: string]: unknown
  readonly id: string
  readonly ref: string
  readonly name: string
  readonly code: string
  readonly url: string
  readonly email: string
  readonly token: string
  readonly key: string
  readonly role: string
  readonly access_token: string
  readonly organisation: { readonly id: string }
  readonly items: readonly Json[]
  readonly memberships: readonly Json[]
}

const PASSWORD = 'a long enough password'
const api = (method: string, path: string, body?: unknown, token?: string | null, headers?: Record<string, string>) =>
  server.api<Json>(method, path, body, { ...(token === undefined ? {} : { token }), ...(headers ? { headers } : {}) })

const post = (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) =>
  fetch(server.url + path, { method: 'POST', body: new URLSearchParams(fields), headers, redirect: 'manual' })

async function organisation(name: string): Promise<string> {
  const made = await api('POST', '/organisations', { name })
  assert.equal(made.status, 201, JSON.stringify(made.body))
  return made.body.id
}

async function invite(org: string, body: object, token?: string): Promise<string> {
  const made = await api('POST', `/organisations/${org}/invitations`, body, token)
  assert.equal(made.status, 201, JSON.stringify(made.body))
  assert.equal(made.headers.get('cache-control'), 'no-store')
  return new URL(made.body.url).searchParams.get('token') ?? ''
}

async function signIn(email: string): Promise<string> {
  const session = await api('POST', '/session', { email, password: PASSWORD }, null)
  assert.equal(session.status, 200, JSON.stringify(session.body))
  return session.body.access_token
}

async function projectNamed(name: string): Promise<Json> {
  const [found] = (await api('GET', `/projects?name=${name}`)).body.items
  assert.ok(found)
  return found
}

/** A member made as people are: by an invitation. Answers a session's token. */
async function member(org: string, email: string, role: string, project?: string): Promise<string> {
  const token = await invite(org, { role, ...(project ? { project } : {}) })
  assert.equal((await post('/invitation', { token, email, password: PASSWORD })).status, 200)
  return signIn(email)
}

describe('set-up', () => {
  test('of two at once one is done; a form of another site is refused', async () => {
    const token = /setup\?token=([\w-]+)/.exec(server.output())?.[1] ?? ''
    const fields = (email: string) => ({ token, email, password: PASSWORD, organisation: 'First' })
    const foreign = await post('/setup', fields('x@example.org'), { origin: 'https://evil.example' })
    assert.equal(foreign.status, 403)
    assert.equal(foreign.headers.get('set-cookie'), null)
    assert.equal((await post('/setup', fields('x@example.org'), { origin: 'null' })).status, 403)
    const answers = await Promise.all([
      post('/setup', fields('a@example.org')),
      post('/setup', fields('b@example.org'), { origin: server.url }),
    ])
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 403])
    const done = answers.find(({ status }) => status === 200)
    assert.match(done?.headers.get('set-cookie') ?? '', /Path=\/v1; HttpOnly; SameSite=Strict/)
    assert.equal(done?.headers.get('x-frame-options'), 'DENY')
    assert.equal((await post('/setup', fields('c@example.org'))).status, 403)
  })

  test('what a form was given comes back escaped, whatever it was', async () => {
    const page = await fetch(`${server.url}/admin-link?token=${encodeURIComponent('"><script>alert(1)</script>')}`)
    const html = await page.text()
    assert.ok(!html.includes('<script>'))
    assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'.*frame-ancestors 'none'/)
  })
})

describe('members', () => {
  test('an invitation for an address is for nobody else, and works once', async () => {
    const org = await organisation('invited')
    const token = await invite(org, { role: 'viewer', email: 'Anna@example.org' })
    const other = await member(org, 'other@example.org', 'billing')
    assert.equal((await api('POST', '/invitations/accept', { token }, other)).body.code, 'invitation_of_another')
    assert.equal((await post('/invitation', { token, email: 'bob@example.org', password: PASSWORD })).status, 403)
    assert.equal((await api('POST', '/session', { email: 'bob@example.org', password: PASSWORD }, null)).status, 400)
    assert.equal((await post('/invitation', { token, email: 'anna@example.org', password: PASSWORD })).status, 200)
    assert.equal((await post('/invitation', { token, email: 'anna@example.org', password: PASSWORD })).status, 403)
  })

  test('an invitation never lowers a role, and ends with the right of who made it', async () => {
    const org = await organisation('rights')
    const owner = await member(org, 'owner@rights.example', 'owner')
    const admin = await member(org, 'admin@rights.example', 'admin')
    const lower = await invite(org, { role: 'viewer' }, admin)
    assert.equal((await api('POST', '/invitations/accept', { token: lower }, owner)).status, 204)
    const me = await api('GET', '/session', undefined, owner)
    assert.deepEqual(
      me.body.memberships.map(({ role }: Json) => role),
      ['owner'],
    )
    const back = await invite(org, { role: 'admin' }, admin)
    assert.equal((await api('POST', `/organisations/${org}/invitations`, { role: 'owner' }, admin)).body.code, 'role_too_high')
    assert.equal((await api('POST', `/organisations/${org}/leave`, undefined, admin)).status, 204)
    assert.equal((await api('POST', '/invitations/accept', { token: back }, admin)).body.code, 'link_not_valid')
    assert.equal((await api('POST', `/organisations/${org}/leave`, undefined, owner)).body.code, 'last_owner')
  })

  test('the invitations of an organisation end with it', async () => {
    const org = await organisation('passing')
    const token = await invite(org, { role: 'owner' })
    assert.equal((await api('DELETE', `/organisations/${org}`)).status, 204)
    assert.equal((await post('/invitation', { token, email: 'late@example.org', password: PASSWORD })).status, 403)
  })

  test("no organisation takes another's id for a name", async () => {
    const victim = await organisation('victim')
    assert.equal((await api('POST', '/organisations', { name: victim })).status, 400)
    const owner = await member(await organisation('attacker'), 'owner@attacker.example', 'owner')
    assert.equal((await api('PATCH', '/organisations/attacker', { name: victim }, owner)).status, 400)
    assert.equal((await api('GET', `/organisations/${victim}`)).body.name, 'victim')
  })
})

describe('tokens and links', () => {
  test('a personal access token makes no other; no life is beyond the calendar', async () => {
    const session = await member(await organisation('tokens'), 'pat@example.org', 'viewer')
    assert.equal((await api('POST', '/tokens', { name: 'long', for: '99999999999d' }, session)).status, 400)
    const made = await api('POST', '/tokens', { name: 'short', for: '1d' }, session)
    assert.equal(made.status, 201)
    assert.equal((await api('POST', '/tokens', { name: 'longer' }, made.body.token)).status, 403)
    assert.equal((await api('GET', '/tokens', undefined, made.body.token)).body.items.length, 1)
    assert.equal((await api('DELETE', `/tokens/${made.body.id}`, undefined, made.body.token)).status, 204)
    assert.equal((await api('GET', '/tokens', undefined, made.body.token)).status, 401)
  })

  test('a link signs an administrator in, once; only the owner of the machine makes one', async () => {
    const administrator = (await api('POST', '/admin-links', {})).body
    assert.match(administrator.email, /^[ab]@example\.org$/)
    const again = await api('POST', '/admin-links', { email: administrator.email })
    assert.equal(again.status, 201, JSON.stringify(again.body))
    const token = (url: string) => ({ token: new URL(url).searchParams.get('token') ?? '' })
    assert.equal((await post('/admin-link', token(administrator.url))).status, 403)
    assert.equal((await post('/admin-link', token(again.body.url), { origin: 'https://evil.example' })).status, 403)
    assert.equal((await post('/admin-link', token(again.body.url))).status, 200)
    assert.equal((await post('/admin-link', token(again.body.url))).status, 403)
    const forgotten = (await api('POST', '/admin-links', { email: administrator.email })).body
    assert.equal((await post('/admin-link', { ...token(forgotten.url), password: 'short' })).status, 422)
    assert.equal((await post('/admin-link', { ...token(forgotten.url), password: 'a new one, longer' })).status, 200)
    const renewed = await api('POST', '/session', { email: administrator.email, password: 'a new one, longer' }, null)
    assert.equal(renewed.status, 200, 'the link lets a forgotten password be replaced')
    const audit = await api('GET', '/organisations/demo/events?limit=200')
    assert.ok(audit.body.items.some((event: Json) => event.name === 'project.created'))
    assert.equal((await api('POST', '/admin-links', { email: administrator.email }, renewed.body.access_token)).status, 403)
    await member(await organisation('plain'), 'plain@example.org', 'owner')
    assert.equal((await api('POST', '/admin-links', { email: 'plain@example.org' })).body.code, 'user_unknown')
  })
})

describe('projects', () => {
  let demo: Json
  before(async () => {
    demo = await projectNamed('demo')
  })

  test('whoever is bound to one project sees that one alone, and cannot take it away', async () => {
    const org = demo.organisation.id
    assert.equal((await api('POST', `/organisations/${org}/projects`, { name: 'neighbour' }, undefined, { prefer: 'wait=30' })).status, 201)
    const guest = await member(org, 'guest@example.org', 'owner', demo.ref)
    for (const path of ['/projects', `/organisations/${org}/projects`, '/projects?limit=1']) {
      const { body } = await api('GET', path, undefined, guest)
      assert.deepEqual(
        body.items.map(({ ref }: Json) => ref),
        [demo.ref],
        path,
      )
      assert.equal(body.next_cursor, null)
    }
    for (const path of ['members', 'events', 'invitations', 'quotas'])
      assert.equal((await api('GET', `/organisations/${org}/${path}`, undefined, guest)).status, 403, path)
    const own = await organisation('own')
    const token = await invite(own, { role: 'owner' })
    assert.equal((await api('POST', '/invitations/accept', { token }, guest)).status, 204)
    assert.equal((await api('POST', `/projects/${demo.ref}/move`, { organisation: own }, guest)).status, 403)
    assert.equal((await api('POST', `/projects/${demo.ref}/purge`, undefined, guest)).status, 403)
  })

  test('a full organisation takes no project by a move either', async () => {
    const full = await organisation('full')
    assert.equal((await api('PATCH', `/organisations/${full}/quotas`, { projects: 1 })).status, 204)
    const { ref } = await projectNamed('neighbour')
    assert.equal((await api('POST', `/projects/${ref}/move`, { organisation: full })).status, 200)
    assert.equal((await api('POST', `/projects/${demo.ref}/move`, { organisation: full })).body.code, 'quota_exceeded')
  })

  test('labels stay bounded however often they are patched', async () => {
    const labels = (from: number) => Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`l${from + i}`, 'x']))
    assert.equal((await api('PATCH', `/projects/${demo.ref}`, { labels: labels(0) })).status, 200)
    assert.equal((await api('PATCH', `/projects/${demo.ref}`, { labels: labels(20) })).status, 400)
    assert.equal((await api('PATCH', `/projects/${demo.ref}`, { labels: { 'a b': 'x' } })).status, 400)
  })

  test('input that no database takes is a 400', async () => {
    const cursor = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    for (const path of [
      '/projects?name=%00',
      '/organisations/%00',
      `/projects?sort=created_at&cursor=${cursor(['x', 'y'])}`,
      `/projects?cursor=${cursor([1, 'y'])}`,
      `/projects?cursor=${cursor(['\0', 'y'])}`,
      `/projects/${demo.ref}/events?cursor=${cursor(['x'])}`,
      `/projects/${demo.ref}/events?cursor=${cursor([1.5])}`,
      '/projects?cursor=%ff',
    ])
      assert.equal((await api('GET', path)).status, 400, path)
    assert.equal((await api('POST', '/session', { email: 'a\0@b.c', password: 'x' }, null)).status, 400)
    assert.equal((await api('POST', `/projects/${demo.ref}/keys/rotate`, { overlap: '99999999999d' })).status, 400)
    assert.equal((await api('PATCH', `/projects/${demo.ref}/settings/rest`, { max_rows: 5 }, undefined, { 'if-match': 'x' })).status, 400)
  })
})

describe('Idempotency-Key', () => {
  const header = (key: string) => ({ 'idempotency-key': key })
  let ref = ''
  before(async () => {
    ref = (await projectNamed('demo')).ref
  })

  test('secrets are answered again, and stored nowhere in clear', async () => {
    const ask = () => api('POST', `/projects/${ref}/keys`, { name: 'once', kind: 'secret' }, undefined, header('secret-1'))
    const [first, second] = [await ask(), await ask()]
    assert.equal(first.status, 201)
    assert.deepEqual(second.body, first.body)
    assert.equal(second.headers.get('idempotency-replayed'), 'true')
    assert.equal(second.headers.get('cache-control'), 'no-store')
    const files = readdirSync(server.dataDir).filter((name) => name.includes('sqlite') || name.includes('.db'))
    assert.ok(files.length > 0)
    for (const file of files) assert.ok(!readFileSync(join(server.dataDir, file)).includes(first.body.key), file)
  })

  test('many at once do the work once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => api('POST', '/organisations', { name: 'at-once' }, undefined, header('at-once'))),
    )
    assert.ok(answers.every(({ status }) => status === 201 || status === 409))
    assert.equal(new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.id)).size, 1)
    assert.ok(answers.every(({ status, body }) => status === 201 || body.code === 'idempotency_running'))
  })

  test('another body is refused; what failed may be tried again', async () => {
    assert.equal((await api('POST', '/organisations', { name: 'other' }, undefined, header('at-once'))).body.code, 'idempotency_mismatch')
    assert.equal((await api('POST', '/organisations', { name: 'at-once' }, undefined, header('again'))).status, 409)
    assert.equal((await api('POST', '/organisations', { name: 'again' }, undefined, header('again'))).status, 201)
  })
})

test('what a project answers reaches neither its neighbours nor the platform', async () => {
  const { ref, url } = await projectNamed('demo')
  const project = await openProject(server, ref)
  await project.sql(`create or replace function public.page() returns text language plpgsql as $$ begin
    perform set_config('response.headers', json_build_array(
      json_build_object('Content-Type', 'text/html'),
      json_build_object('Content-Length', '1'),
      json_build_object('Set-Cookie', 'sovra_session=x; Path=/v1'),
      json_build_object('Content-Security-Policy', 'default-src *'),
      json_build_object('Service-Worker-Allowed', '/'),
      json_build_object('X-Own', '1'))::text, true);
    return '<script>fetch("/v1/projects")</script>';
  end $$; grant execute on function public.page() to anon; notify pgrst`)
  const answer = await fetch(`${url}/rest/v1/rpc/page`, { method: 'POST', headers: { apikey: project.anon } })
  assert.equal(answer.status, 200, await answer.clone().text())
  assert.match(await answer.text(), /script/)
  assert.equal(answer.headers.get('content-type'), 'text/html')
  assert.match(answer.headers.get('content-security-policy') ?? '', /^sandbox;/)
  assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
  assert.equal(answer.headers.get('set-cookie'), null)
  assert.equal(answer.headers.get('service-worker-allowed'), null)
  assert.equal(answer.headers.get('x-own'), '1')
})

test('every refusal is the envelope, and no answer is kept by a cache', async () => {
  const json = { 'content-type': 'application/json' }
  const rows: [string, RequestInit, number][] = [
    ['/v1/nothing', {}, 404],
    ['/v1/projects', { method: 'PUT' }, 405],
    ['/v1/session', { method: 'POST', headers: json, body: '{' }, 400],
    ['/v1/session', { method: 'POST', headers: json, body: '{"__proto__":{"a":1}}' }, 400],
    ['/v1/session', { method: 'POST', headers: { 'content-type': 'application/xml' }, body: '<a/>' }, 415],
    ['/v1/session', { method: 'POST', headers: json, body: `"${'x'.repeat(1_100_000)}"` }, 413],
    ['/v1/projects', {}, 401],
    ['/v1/%ff', {}, 400],
    ['/p/xxxxxxxxxxxxxxxxxxxx/v1/session', {}, 404],
    ['/p/xxxxxxxxxxxxxxxxxxxx/setup', {}, 404],
    ['/p/XXXXXXXXXXXXXXXXXXXX/rest/v1/', {}, 404],
  ]
  for (const [path, init, status] of rows) {
    const answer = await fetch(server.url + path, init)
    const body = (await answer.json()) as Json
    assert.equal(answer.status, status, `${path} ${JSON.stringify(body)}`)
    assert.ok(typeof body.code === 'string' && typeof body.message === 'string', `${path} ${JSON.stringify(body)}`)
  }
  assert.equal((await api('GET', '/session')).headers.get('cache-control'), 'no-store')
})
