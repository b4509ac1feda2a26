import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { revokeApiKey, rotateSharedSecret } from '../realms/api-keys.ts'
import { denySession } from '../realms/denied.ts'
import { rotateKey } from '../realms/keys.ts'
import { ACTOR, bearer, clock, forge, type Node, startGateway, type TestProject } from './gateway.testing.ts'

const HOUR = 3_600_000

describe('APIs of projects', () => {
  let node: Node
  let a: TestProject
  let b: TestProject
  before(async () => {
    node = await startGateway()
    const organisation = await node.addOrganisation('acme')
    a = await node.addProject(organisation)
    b = await node.addProject(organisation)
  })
  after(() => node.close())

  const who = (project: TestProject, headers: Record<string, string>) => node.ask(`/p/${project.ref}/rest/v1/who`, { headers })
  const seconds = () => Math.floor(clock.at / 1000)

  test('who is who: Bearer, else apikey', async (t) => {
    const { anon, service_role, publishable, secret } = a.keys
    const rows: [string, Record<string, string>, string, string][] = [
      ['anon JWT as apikey', { apikey: anon.text }, 'key', 'anon'],
      ['anon JWT as both, as supabase-js sends it', { apikey: anon.text, ...bearer(anon.text) }, 'key', 'anon'],
      ['service_role', { apikey: service_role.text }, 'key', 'service_role'],
      ['publishable', { apikey: publishable.text }, 'key', 'anon'],
      ['secret as both', { apikey: secret.text, ...bearer(secret.text) }, 'key', 'service_role'],
      ['secret as Bearer only', bearer(secret.text), 'key', 'service_role'],
      ['user with key', { apikey: anon.text, ...bearer(a.user()) }, 'user', 'authenticated'],
      ['user with publishable', { apikey: publishable.text, ...bearer(a.user()) }, 'user', 'authenticated'],
      ['user alone', bearer(a.user()), 'user', 'authenticated'],
      ['bearer in lower case', { authorization: `bearer ${a.user()}` }, 'user', 'authenticated'],
      ['Bearer wins over a stronger apikey', { apikey: service_role.text, ...bearer(anon.text) }, 'key', 'anon'],
      ['shared secret, no iss', bearer(a.shared({ sub: 'x', role: 'authenticated' })), 'user', 'authenticated'],
      ['shared secret, a role of their own', bearer(a.shared({ role: 'reporter' })), 'user', 'reporter'],
      ['shared secret, no role', bearer(a.shared({ sub: 'x' })), 'user', 'anon'],
      ['another scheme is not ours to judge', { authorization: 'Basic eDp5', apikey: anon.text }, 'key', 'anon'],
    ]
    for (const [name, headers, kind, role] of rows) {
      await t.test(name, async () => {
        // Twice: the second time from the cache.
        for (let i = 0; i < 2; i++) {
          const { status, body } = await who(a, headers)
          const principal = body.principal as { kind: string; role: string; claims: { role: string }; claimsJson: string; realm: string }
          assert.deepEqual([status, principal?.kind, principal?.role, principal?.realm], [200, kind, role, a.ref])
          assert.equal(JSON.parse(principal.claimsJson).role, role)
        }
      })
    }
  })

  test('refused, in the dialect, with WWW-Authenticate', async (t) => {
    const good = { aud: 'authenticated', iss: a.issuer, role: 'service_role', exp: seconds() + 60 }
    const rows: [string, Record<string, string>, string][] = [
      ['no key', {}, 'keyless_refused'],
      ['empty', { apikey: '', authorization: '' }, 'keyless_refused'],
      ['junk apikey', { apikey: 'junk' }, 'invalid_api_key'],
      ['junk apikey with a good user', { apikey: 'junk', ...bearer(a.user()) }, 'invalid_api_key'],
      ['good apikey with junk Bearer', { apikey: a.keys.anon.text, ...bearer('junk') }, 'invalid_token'],
      ['"Bearer undefined"', { apikey: a.keys.anon.text, ...bearer('undefined') }, 'invalid_token'],
      ["B's anon key", { apikey: b.keys.anon.text }, 'invalid_api_key'],
      ["B's secret key", { apikey: b.keys.secret.text }, 'invalid_api_key'],
      ["B's secret key as Bearer", bearer(b.keys.secret.text), 'invalid_api_key'],
      ["B's service key as Bearer", bearer(b.keys.service_role.text), 'invalid_token'],
      ["B's user", bearer(b.user()), 'invalid_token'],
      ["B's user naming A as issuer", bearer(b.user({ iss: a.issuer })), 'invalid_token'],
      ["B's shared secret", bearer(b.shared({ role: 'service_role' })), 'invalid_token'],
      ['HS256 by the public key', bearer(forge({ alg: 'HS256', kid: a.userKid }, good, a.publicPem)), 'invalid_token'],
      ['HS256 by the public key, no kid', bearer(forge({ alg: 'HS256' }, good, a.publicPem)), 'invalid_token'],
      ['alg none', bearer(forge({ alg: 'none' }, good, '')), 'invalid_token'],
      ['alg none, no signature', bearer(forge({ alg: 'none' }, good, '').replace(/[^.]*$/, '')), 'invalid_token'],
      ['kid as a path', bearer(forge({ alg: 'HS256', kid: '../../dev/null' }, good, '')), 'invalid_token'],
      ['kid as SQL', bearer(forge({ alg: 'HS256', kid: "' or 1=1 --" }, good, 'x')), 'invalid_token'],
      ['expired user', bearer(a.user({ exp: seconds() - 60 })), 'token_expired'],
      ['wrong issuer', bearer(a.user({ iss: b.issuer })), 'invalid_token'],
      ['wrong audience', bearer(a.user({ aud: 'other' })), 'invalid_token'],
      ['no issuer on our own key', bearer(a.user({ iss: undefined })), 'invalid_token'],
      ['role none', bearer(a.shared({ role: 'none' })), 'invalid_token'],
      ['local token of the machine', bearer(`sovra_local_${'x'.repeat(43)}`), 'invalid_token'],
      ['opaque by shape only', { apikey: 'sb_secret_AAAA' }, 'invalid_api_key'],
    ]
    for (const [name, headers, code] of rows) {
      await t.test(name, async () => {
        const answer = await who(a, headers)
        assert.deepEqual([answer.status, answer.body.code, answer.body.dialect], [401, code, 'rest'])
        assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer/)
      })
    }
  })

  test('a key is refused at once when revoked, the others live', async () => {
    const extra = await node.addProject((await node.gateway.projects.get(a.ref))!.organisation)
    for (const kind of ['anon', 'secret'] as const) {
      const { id, text } = extra.keys[kind]
      assert.equal((await who(extra, { apikey: text, ...bearer(text) })).status, 200)
      await node.on.change(ACTOR, (change) => revokeApiKey(change, extra.ref, id, clock.at))
      assert.equal((await who(extra, { apikey: text, ...bearer(text) })).status, 401)
      assert.equal((await who(extra, bearer(text))).status, 401)
      assert.equal((await who(extra, { apikey: text, ...bearer(extra.user()) })).status, 401)
    }
    assert.equal((await who(extra, { apikey: extra.keys.publishable.text })).status, 200)
  })

  test('rotation of keys: both are good for a while, then one', async () => {
    const extra = await node.addProject((await node.gateway.projects.get(a.ref))!.organisation)
    const mine = [bearer(extra.user({ exp: seconds() + 90_000 })), bearer(extra.shared({ role: 'x' })), { apikey: extra.keys.anon.text }]
    const opaque = { apikey: extra.keys.secret.text }
    const statuses = async () => Promise.all([...mine, opaque].map(async (headers) => (await who(extra, headers)).status))
    assert.deepEqual(await statuses(), [200, 200, 200, 200])
    const rotated = await node.on.change(ACTOR, async (change) => {
      await rotateKey(change, node.vault, { realm: extra.ref, use: 'user', now: clock.at, overlap: HOUR })
      return rotateSharedSecret(change, node.vault, { realm: extra.ref, now: clock.at, createdBy: null, overlap: HOUR })
    })
    assert.deepEqual(await statuses(), [200, 200, 200, 200])
    assert.equal((await who(extra, { apikey: rotated.apiKeys[0]!.text })).status, 200)
    clock.at += HOUR + 1000
    assert.deepEqual(await statuses(), [401, 401, 401, 200])
    assert.equal((await who(extra, { apikey: rotated.apiKeys[0]!.text })).status, 200)
  })

  test('an ended session is refused at once, another session of the same user is not', async () => {
    const [ended, other] = [bearer(a.user({ session_id: 'ended' })), bearer(a.user({ session_id: 'other' }))]
    assert.equal((await who(a, ended)).status, 200)
    await node.on.change(ACTOR, (change) => denySession(change, a.ref, 'ended', clock.at + HOUR))
    const { status, body } = await who(a, ended)
    assert.deepEqual([status, body.code], [401, 'session_ended'])
    assert.equal((await who(a, { apikey: a.user({ session_id: 'ended' }) })).status, 401)
    assert.equal((await who(a, other)).status, 200)
    assert.equal((await who(b, bearer(b.user({ session_id: 'ended' })))).status, 200, 'session ids belong to their realm')
  })

  test('a cached token ends when it expires', async () => {
    const token = bearer(a.user({ exp: seconds() + 10 }))
    assert.equal((await who(a, token)).status, 200)
    clock.at += 41_000
    const { status, body } = await who(a, token)
    assert.deepEqual([status, body.code], [401, 'token_expired'])
  })

  test("the platform's session is nothing here: no cookie, no token", async () => {
    const { token } = await node.addMember('ana@example.org', [])
    assert.equal((await who(a, { cookie: `sovra_session=${token}` })).body.code, 'keyless_refused')
    assert.equal((await who(a, bearer(token))).body.code, 'invalid_token')
    assert.equal((await who(a, { apikey: token })).body.code, 'invalid_api_key')
  })

  test('unknown, deleted and malformed projects are one 404; so is a route without a project', async () => {
    const gone = await node.addProject((await node.gateway.projects.get(a.ref))!.organisation)
    assert.equal((await who(gone, { apikey: gone.keys.anon.text })).status, 200)
    await node.on.change(ACTOR, async (change) => {
      await change.trx.updateTable('projects').set({ state: 'deleted' }).where('ref', '=', gone.ref).execute()
      await change.event({ name: 'project.deleted', project_ref: gone.ref })
    })
    const headers = { apikey: gone.keys.anon.text }
    const texts = new Set<string>()
    for (const path of [`/p/${gone.ref}/rest/v1/who`, `/p/${'z'.repeat(20)}/rest/v1/who`, '/rest/v1/who', `/p/${a.ref}/rest/v1/nothing`]) {
      const { status, text } = await node.ask(path, { headers })
      assert.equal(status, 404, path)
      texts.add(text)
    }
    assert.deepEqual([...texts], ['{"dialect":"rest","code":"not_found","message":"Not found."}'])
    for (const path of [
      `/p/${a.ref}x/rest/v1/who`,
      `/p/${a.ref.toUpperCase()}/rest/v1/who`,
      '/p/',
      `/p/${a.ref}/v1/me`,
      `/p/${a.ref}/health`,
    ]) {
      assert.equal((await node.ask(path, { headers: { ...headers, ...bearer('sovra_local_x') } })).status, 404, path)
    }
  })

  test('a project that was not there is seen once it is made, in spite of the negative cache', async () => {
    const extra = await node.addProject((await node.gateway.projects.get(a.ref))!.organisation)
    await node.db.updateTable('projects').set({ state: 'deleted' }).where('ref', '=', extra.ref).execute()
    node.gateway.projects.drop(extra.ref)
    const headers = { apikey: extra.keys.anon.text }
    assert.equal((await who(extra, headers)).status, 404)
    await node.db.updateTable('projects').set({ state: 'active' }).where('ref', '=', extra.ref).execute()
    assert.equal((await who(extra, headers)).status, 404)
    await node.on.change(ACTOR, (change) => change.event({ name: 'project.restored', project_ref: extra.ref }))
    assert.equal((await who(extra, headers)).status, 200)
  })

  test('known projects are served while metadata is away', async () => {
    const other = await startGateway()
    const project = await other.addProject(await other.addOrganisation('acme'))
    const ask = (headers: Record<string, string>) => other.ask(`/p/${project.ref}/rest/v1/who`, { headers })
    const headers = { apikey: project.keys.anon.text }
    assert.equal((await ask(headers)).status, 200)
    await other.on.metadata.close()
    assert.equal((await ask(headers)).status, 200)
    assert.equal((await ask(bearer(project.user()))).status, 200)
    assert.ok((await other.ask(`/p/${'y'.repeat(20)}/rest/v1/who`, { headers })).status >= 500)
    await other.close()
  })

  test('public routes ask nobody; the rest is by role', async () => {
    const door = await node.ask(`/p/${a.ref}/rest/v1/door`, { headers: bearer('junk') })
    assert.deepEqual([door.status, door.body], [200, { principal: null, ref: a.ref }])
    const users = async (text: string) => (await node.ask(`/p/${a.ref}/rest/v1/users`, { headers: bearer(text) })).status
    assert.deepEqual(
      await Promise.all([a.keys.anon.text, a.user(), a.keys.service_role.text, a.shared({ role: 'supabase_admin' })].map(users)),
      [403, 403, 200, 200],
    )
  })

  test('errors of the server itself speak the dialect too: 413, 400, 404', async () => {
    const post = (body: string, type = 'application/json') =>
      node.ask(`/p/${a.ref}/rest/v1/rows`, { method: 'POST', body, headers: { apikey: a.keys.anon.text, 'content-type': type } })
    const rows: [Promise<{ status: number; body: Record<string, unknown> }>, number, string][] = [
      [post(JSON.stringify({ x: 'x'.repeat(2000) })), 413, 'body_too_large'],
      [post('{'), 400, 'invalid_json'],
      [node.ask(`/p/${a.ref}/rest/v1/none`, { method: 'PATCH' }), 404, 'not_found'],
      [node.ask(`/p/${a.ref}/rest/v1/who`, { method: 'PATCH' }), 405, 'method_not_allowed'],
    ]
    for (const [asked, status, code] of rows) {
      const answer = await asked
      assert.deepEqual([answer.status, answer.body.code, answer.body.dialect], [status, code, 'rest'])
    }
  })

  test('every answer: nosniff and request ids', async () => {
    for (const path of ['/health', `/p/${a.ref}/rest/v1/who`, '/none']) {
      const { headers } = await node.ask(path)
      assert.equal(headers['x-content-type-options'], 'nosniff', path)
      assert.ok(headers['x-request-id'] && headers['sb-request-id'] === headers['x-request-id'], path)
    }
  })

  test('metrics: time by route, requests by project, no project on a histogram', async () => {
    await who(a, { apikey: a.keys.anon.text })
    const { text } = await node.metrics.render()
    assert.match(text, /sovrabase_gateway_request_seconds_count\{method="GET",route="\/rest\/v1\/who",status="2xx"\}/)
    assert.match(text, new RegExp(`sovrabase_gateway_project_requests_total\\{project="${a.ref}"\\} \\d+`))
    assert.doesNotMatch(text, /request_seconds[^\n]*project=/)
    assert.doesNotMatch(text, new RegExp(`/p/${a.ref}`))
    node.gateway.metrics.forget(a.ref)
    assert.doesNotMatch((await node.metrics.render()).text, new RegExp(a.ref))
  })
})

describe('CORS', () => {
  const preflight = {
    origin: 'https://app.example',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'apikey, x-own',
  }

  test('a preflight is answered without metadata, a key or a wake', async () => {
    const node = await startGateway()
    await node.on.metadata.close()
    const { status, headers, text } = await node.ask(`/p/${'x'.repeat(20)}/rest/v1/anything`, { method: 'OPTIONS', headers: preflight })
    assert.deepEqual(
      [status, text, headers['access-control-allow-origin'], headers['access-control-allow-headers']],
      [204, '', '*', 'apikey, x-own'],
    )
    assert.match(headers['access-control-allow-methods'] ?? '', /PATCH/)
    assert.equal(headers['access-control-allow-credentials'], undefined)
    await node.close()
  })

  test('answers and errors name what pages may read; the control API is for its own origin', async () => {
    const node = await startGateway()
    const project = await node.addProject(await node.addOrganisation('acme'))
    const { origin } = preflight
    for (const headers of [
      { origin, apikey: project.keys.anon.text },
      { origin, apikey: 'bad' },
    ] as Record<string, string>[]) {
      const answer = await node.ask(`/p/${project.ref}/rest/v1/who`, { headers })
      assert.equal(answer.headers['access-control-allow-origin'], '*')
      assert.match(answer.headers['access-control-expose-headers'] ?? '', /content-location.*content-range.*sb-request-id/)
    }
    const own = await node.ask('/v1/me', { method: 'OPTIONS', headers: preflight })
    assert.deepEqual([own.status, own.headers['access-control-allow-origin']], [405, undefined])
    await node.close()
  })

  test('only the allowed origins', async () => {
    const node = await startGateway({ allowedOrigins: ['https://app.example'] })
    const path = `/p/${'x'.repeat(20)}/rest/v1/who`
    const good = await node.ask(path, { method: 'OPTIONS', headers: preflight })
    const bad = await node.ask(path, { method: 'OPTIONS', headers: { ...preflight, origin: 'https://evil.example' } })
    assert.deepEqual([good.headers['access-control-allow-origin'], good.headers.vary], ['https://app.example', 'Origin'])
    assert.deepEqual([bad.status, bad.headers['access-control-allow-origin'], bad.headers.vary], [204, undefined, 'Origin'])
    await node.close()
  })
})

describe('by host', () => {
  test('projects on their own host alone, the platform on its own', async () => {
    const node = await startGateway({ baseDomain: 'base.example' })
    const project = await node.addProject(await node.addOrganisation('acme'))
    const apikey = project.keys.anon.text
    const at = async (path: string, host: string, headers: Record<string, string> = {}) =>
      node.ask(path, { headers: { host, apikey, ...headers } })
    const own = `${project.ref}.base.example`
    assert.equal(project.issuer, `http://${own}:${node.port}/auth/v1`)
    const rows: [string, string, number][] = [
      ['/rest/v1/who', own, 200],
      ['/rest/v1/who', `${own.toUpperCase()}:1234`, 200],
      ['/rest/v1/who', `${'x'.repeat(20)}.base.example`, 404],
      ['/rest/v1/who', 'www.base.example', 404],
      ['/rest/v1/who', `a.${own}`, 404],
      ['/rest/v1/who', 'base.example', 404],
      ['/rest/v1/who', `${own}.evil.example`, 404],
      [`/p/${project.ref}/rest/v1/who`, `127.0.0.1:${node.port}`, 404],
      [`/p/${project.ref}/rest/v1/who`, own, 404],
      ['/v1/me', own, 404],
      ['/health', own, 404],
      ['/v1/me', 'other.example', 404],
      ['/v1/me', `127.0.0.1:${node.port}`, 401],
      ['/health', 'other.example', 200],
      ['/page', 'other.example', 404],
      ['/page', `127.0.0.1:${node.port}`, 200],
    ]
    for (const [path, host, status] of rows) assert.equal((await at(path, host)).status, status, `${path} on ${host}`)
    const forged = await at('/rest/v1/who', `127.0.0.1:${node.port}`, { 'x-forwarded-host': own, forwarded: `host=${own}` })
    assert.equal(forged.status, 404)
    await node.close()
  })

  test('the platform on a host below the base domain', async () => {
    const node = await startGateway({ baseDomain: 'base.example', publicUrl: 'https://api.base.example' })
    const project = await node.addProject(await node.addOrganisation('acme'))
    const rows: [string, string, number][] = [
      ['/v1/me', 'api.base.example', 401],
      ['/v1/me', 'API.base.example', 401],
      ['/page', 'api.base.example', 200],
      ['/v1/me', 'www.base.example', 404],
      ['/v1/me', `${project.ref}.base.example`, 404],
      ['/rest/v1/who', `${project.ref}.base.example`, 200],
      ['/rest/v1/who', 'api.base.example', 404],
      [`/p/${project.ref}/rest/v1/who`, 'api.base.example', 404],
    ]
    for (const [path, host, status] of rows)
      assert.equal((await node.ask(path, { headers: { host, apikey: project.keys.anon.text } })).status, status, `${path} on ${host}`)
    await node.close()
  })

  test('a token signed under a former address is good; under one that never was, not', async () => {
    const node = await startGateway({ former: [{ publicUrl: 'http://old.example:81', baseDomain: 'projects.old.example' }] })
    const { ref, keys, user } = await node.addProject(await node.addOrganisation('acme'))
    const rows: [issuer: string, status: number][] = [
      [`http://127.0.0.1:${node.port}/p/${ref}`, 200],
      [`http://old.example:81/p/${ref}`, 200],
      [`http://${ref}.projects.old.example:81`, 200],
      [`http://other.example/p/${ref}`, 401],
      [`http://old.example:81/p/${'x'.repeat(20)}`, 401],
    ]
    for (const [issuer, status] of rows) {
      const headers = { apikey: keys.anon.text, ...bearer(user({ iss: `${issuer}/auth/v1` })) }
      assert.equal((await node.ask(`/p/${ref}/rest/v1/who`, { headers })).status, status, issuer)
    }
    await node.close()
  })

  test('with path_form on, both, and the issuer of either form', async () => {
    const node = await startGateway({ baseDomain: 'base.example', pathForm: true })
    const project = await node.addProject(await node.addOrganisation('acme'))
    const byPath = project.user({ iss: `http://127.0.0.1:${node.port}/p/${project.ref}/auth/v1` })
    for (const token of [byPath, project.user()]) {
      assert.equal((await node.ask(`/p/${project.ref}/rest/v1/who`, { headers: bearer(token) })).status, 200)
      assert.equal((await node.ask('/rest/v1/who', { headers: { ...bearer(token), host: `${project.ref}.base.example` } })).status, 200)
    }
    await node.close()
  })
})
