import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ACTIONS, type Action, CONTROL_ACTIONS } from '@sovrabase/contract/actions'
import Fastify, { type FastifyRequest } from 'fastify'
import { isSovraError } from '../base/errors.ts'
import { createAccessToken, revokeAccessToken } from '../realms/access-tokens.ts'
import type { Hold } from '../runtime/entry.ts'
import { demandAction } from './authorise.ts'
import { ACTOR, type Answer, bearer, clock, LOCAL_TOKEN, type Node, startGateway } from './gateway.testing.ts'
import { makeLimits } from './limits.ts'
import { decide, ROLES, type Role, roleMay } from './roles.ts'
import type { PlatformPrincipal, ProjectContext, ProjectPrincipal, Resource } from './types.ts'

describe('the control API', () => {
  let node: Node
  let acme: string
  let other: string
  let ref: string
  let foreign: string
  before(async () => {
    node = await startGateway()
    acme = await node.addOrganisation('acme')
    other = await node.addOrganisation('other')
    ref = (await node.addProject(acme)).ref
    foreign = (await node.addProject(other)).ref
  })
  after(() => node.close())

  const get = (path: string, headers: Record<string, string>) => node.ask(path, { headers })
  const member = (name: string, roles: Parameters<Node['addMember']>[1] = []) => node.addMember(`${name}@example.org`, roles)

  test('without credentials, or with bad ones, 401', async () => {
    const project = await node.addProject(acme)
    const rows: Record<string, string>[] = [
      {},
      bearer('junk'),
      bearer('sovra_pat_junk'),
      bearer(`sovra_local_${'y'.repeat(43)}`),
      { cookie: 'sovra_session=junk' },
      { apikey: project.keys.service_role.text },
      bearer(project.keys.service_role.text),
      bearer(project.keys.secret.text),
      bearer(project.user()),
      bearer(
        project.shared({ iss: 'sovrabase', aud: 'sovrabase:members', sub: 'x', session_id: 'y', exp: Math.floor(clock.at / 1000) + 60 }),
      ),
    ]
    for (const headers of rows) {
      const { status, headers: answered, body } = await get('/v1/me', headers)
      assert.equal(status, 401, JSON.stringify(headers))
      assert.match(answered['www-authenticate'] ?? '', /^Bearer/)
      assert.ok(typeof body.request_id === 'string')
    }
  })

  test('session token, access token, local token', async () => {
    const ana = await member('ana', [{ organisation: acme, role: 'developer' }])
    const session = await get('/v1/me', bearer(ana.token))
    assert.deepEqual([session.body.kind, session.body.id, session.body.email], ['member', ana.id, 'ana@example.org'])
    assert.deepEqual(session.body.memberships, [{ organisation: acme, project: null, role: 'developer' }])

    const pat = await node.on.change(ACTOR, (change) =>
      createAccessToken(change, { userId: ana.id, name: 'ci', expiresAt: null, now: clock.at }),
    )
    const byToken = await get('/v1/me', bearer(pat.text))
    assert.deepEqual([byToken.body.kind, byToken.body.id, byToken.body.tokenId], ['token', ana.id, pat.id])
    await node.on.change(ACTOR, (change) => revokeAccessToken(change, ana.id, pat.id, clock.at))
    assert.equal((await get('/v1/me', bearer(pat.text))).status, 401)

    const local = await get('/v1/me', bearer(LOCAL_TOKEN))
    assert.deepEqual([local.body.kind, local.body.admin], ['local', true])
    await assert.rejects(node.gateway.members.credential(LOCAL_TOKEN, '192.0.2.1'), (error) => isSovraError(error, 'invalid_token'))
  })

  test('a session that was ended is refused at once; a member who left, too', async () => {
    const bob = await member('bob', [{ organisation: acme, role: 'viewer' }])
    assert.equal((await get(`/v1/projects/${ref}`, bearer(bob.token))).status, 200)
    await node.on.change(ACTOR, async (change) => {
      await change.trx.deleteFrom('memberships').where('user_id', '=', bob.id).execute()
      await change.event({ name: 'member.removed', subject: bob.id, organisation_id: acme })
    })
    assert.equal((await get(`/v1/projects/${ref}`, bearer(bob.token))).status, 404)
    const { sessionId } = node.realm.verify(bob.token)
    await node.realm.endSession(ACTOR, sessionId)
    assert.deepEqual(await get('/v1/me', bearer(bob.token)).then(({ status, body }) => [status, body.code]), [401, 'session_ended'])
  })

  test('the cookie: read freely, written from this site only', async () => {
    const { token } = await member('carl')
    const cookie = `other=1; sovra_session=${token}; last=2`
    const host = `127.0.0.1:${node.port}`
    const rows: [string, Record<string, string>, number][] = [
      ['GET', {}, 200],
      ['GET', { origin: 'https://evil.example' }, 200],
      ['POST', { origin: `http://${host}` }, 200],
      ['POST', {}, 403],
      ['POST', { origin: 'null' }, 403],
      ['POST', { origin: 'https://evil.example' }, 403],
      ['POST', { origin: `http://${host}.evil.example` }, 403],
      ['POST', { origin: `http://127.0.0.1:${node.port + 1}` }, 403],
      ['POST', { origin: 'https://evil.example', 'x-forwarded-host': 'evil.example' }, 403],
      ['POST', { origin: 'https://evil.example', ...bearer(token) }, 200],
    ]
    for (const [method, headers, status] of rows) {
      const answer = await node.ask('/v1/me', { method, headers: { cookie, ...headers } })
      assert.equal(answer.status, status, `${method} ${JSON.stringify(headers)}`)
      if (status === 403) assert.equal(answer.body.code, 'csrf_refused')
    }
  })

  test('forged X-Forwarded-* count for nothing', async () => {
    const { headers, status } = await node.ask('/v1/me', {
      headers: { 'x-forwarded-for': '127.0.0.1', 'x-forwarded-host': `${ref}.base`, 'x-request-id': 'forged-request-id' },
    })
    assert.equal(status, 401)
    assert.notEqual(headers['x-request-id'], 'forged-request-id')
  })

  test('the local token is for this machine, not for whom a proxy on it speaks', async () => {
    const proxied = await startGateway({ trustedProxies: ['127.0.0.1'] })
    try {
      const from = (forwarded: Record<string, string>) => proxied.ask('/v1/me', { headers: { ...bearer(LOCAL_TOKEN), ...forwarded } })
      assert.equal((await from({})).status, 200)
      assert.equal((await from({ 'x-forwarded-for': '127.0.0.1' })).status, 200)
      for (const caller of ['203.0.113.7', '127.0.0.1, 203.0.113.7'])
        assert.equal((await from({ 'x-forwarded-for': caller })).status, 401, caller)
    } finally {
      await proxied.close()
    }
  })

  const bare = ({ text, body, headers, status }: Answer) => {
    const { date: _date, 'x-request-id': _x, 'sb-request-id': _sb, ...rest } = headers
    return JSON.stringify([status, text.replaceAll(String(body.request_id), '*'), rest])
  }

  test("another organisation's things answer the very same 404 as things that do not exist", async () => {
    const { token } = await member('dora', [{ organisation: acme, role: 'owner' }])
    const headers = bearer(token)
    const pairs: [string, string][] = [
      [`/v1/projects/${foreign}`, `/v1/projects/${'q'.repeat(20)}`],
      [`/v1/projects/${foreign}/keys`, `/v1/projects/${'q'.repeat(20)}/keys`],
      [`/v1/organisations/${other}`, '/v1/organisations/nothing-of-that-name'],
      ['/v1/organisations/other', '/v1/organisations/nothing'],
      ['/v1/organisations/other/members', '/v1/nothing'],
    ]
    for (const [foreignPath, nowhere] of pairs) {
      const [there, not] = [await get(foreignPath, headers), await get(nowhere, headers)]
      assert.equal(there.status, 404)
      assert.equal(bare(there).replaceAll(foreignPath, ''), bare(not).replaceAll(nowhere, ''), foreignPath)
    }
  })

  test('403 where the caller may know of it; by id and by name', async () => {
    const { token } = await member('emil', [{ organisation: acme, role: 'viewer' }])
    const headers = bearer(token)
    const refused = await get(`/v1/projects/${ref}/keys`, headers)
    assert.deepEqual([refused.status, refused.body.code], [403, 'forbidden'])
    const ofAll = await get('/v1/platform', headers)
    assert.deepEqual([ofAll.status, ofAll.body.code], [403, 'administrators_only'])
    assert.deepEqual((await get('/v1/organisations/acme', headers)).body, { kind: 'organisation', organisation: acme })
    assert.deepEqual((await get(`/v1/organisations/${acme}`, headers)).body, { kind: 'organisation', organisation: acme })
    assert.equal((await node.ask('/v1/organisations/acme', { method: 'DELETE', headers })).status, 403)
  })

  test('a member of one project knows nothing of its neighbours', async () => {
    const second = (await node.addProject(acme)).ref
    const { token } = await member('fred', [{ organisation: acme, project: ref, role: 'admin' }])
    const rows: [string, number][] = [
      [`/v1/projects/${ref}`, 200],
      [`/v1/projects/${ref}/keys`, 200],
      [`/v1/projects/${second}`, 404],
      [`/v1/projects/${second}/keys`, 404],
      ['/v1/organisations/acme', 200],
      ['/v1/organisations/acme/members', 403],
      ['/v1/organisations/other/members', 404],
    ]
    for (const [path, status] of rows) assert.equal((await get(path, bearer(token))).status, status, path)
  })
})

describe('routes', () => {
  const boot = (config: Record<string, unknown> | undefined) => {
    const app = Fastify()
    app.addHook('onRoute', demandAction)
    app.get('/x', { config } as object, async () => 'x')
  }

  test('a route without an action does not boot', () => {
    const refused: (Record<string, unknown> | undefined)[] = [
      undefined,
      {},
      { resource: 'project' },
      { action: 'project:explode', resource: 'project' },
      { action: 'toString', resource: 'project' },
      { action: 'project:read' },
      { action: 'project:read', resource: 'self' },
      { action: 'project:read', resource: 'platform' },
    ]
    for (const config of refused)
      assert.throws(
        () => boot(config),
        (error) => isSovraError(error, 'route_undeclared'),
        JSON.stringify(config),
      )
    for (const config of [
      { action: 'public' },
      { action: 'project:read', resource: 'project' },
      { action: 'project:read', resource: () => ({}) },
    ]) {
      assert.doesNotThrow(() => boot(config))
    }
  })
})

describe('decide', () => {
  const acme: Resource = { kind: 'organisation', organisation: 'acme' }
  const p1: Resource = { kind: 'project', organisation: 'acme', project: 'p1' }
  const as = (role: string, project: string | null = null): PlatformPrincipal => ({
    realm: 'platform',
    kind: 'member',
    id: 'u',
    email: null,
    admin: false,
    memberships: [{ organisation: 'acme', project, role }],
    sessionId: 's',
    tokenId: null,
  })

  test('the roles, row by row', () => {
    const rows: [Action, Resource, string][] = [
      // owner, admin, developer, viewer, billing
      ['organisation:read', acme, 'aaaaa'],
      ['organisation:update', acme, 'aaddd'],
      ['organisation:delete', acme, 'adddd'],
      ['quota:read', acme, 'aaaaa'],
      ['member:list', acme, 'aaaad'],
      ['member:remove', acme, 'aaddd'],
      ['invitation:create', acme, 'aaddd'],
      ['event:list', acme, 'aaddd'],
      ['project:create', acme, 'aaadd'],
      ['project:read', p1, 'aaaaa'],
      ['project:wake', p1, 'aaadd'],
      ['project:delete', p1, 'aaddd'],
      ['project:purge', p1, 'adddd'],
      ['service:read', p1, 'aaaad'],
      ['key:list', p1, 'aaadd'],
      ['key:reveal', p1, 'aaadd'],
      ['key:rotate', p1, 'aaddd'],
      ['connection:reveal', p1, 'aaadd'],
      ['database:read', p1, 'aaaad'],
      ['database:execute', p1, 'aaadd'],
      ['user_token:create', p1, 'aaddd'],
    ]
    for (const [action, resource, wanted] of rows) {
      assert.equal(ROLES.map((role) => decide(as(role), action, resource)[0]).join(''), wanted, action)
    }
  })

  test('viewer and billing never receive a secret, whatever is added to the table', () => {
    const secret = CONTROL_ACTIONS.filter((action) => /:(reveal|rotate|create|execute|revoke)$/.test(action))
    for (const action of secret)
      for (const role of ['viewer', 'billing'] as Role[]) assert.equal(roleMay(role, action), false, `${role} ${action}`)
  })

  test('every action on an organisation or a project is some role’s; owner has all of admin', () => {
    for (const action of CONTROL_ACTIONS) {
      const { on } = ACTIONS[action]
      if (on === 'organisation' || on === 'project') assert.ok(roleMay('owner', action), action)
      if (roleMay('admin', action)) assert.ok(roleMay('owner', action), action)
    }
  })

  test('unknown roles may nothing; data actions are not for members, nor control actions for users', () => {
    assert.equal(decide(as('emperor'), 'project:read', p1), 'deny')
    assert.equal(decide(as('toString'), 'project:read', p1), 'deny')
    assert.equal(decide(as('owner'), 'rest:read', p1), 'hide')
    const user: ProjectPrincipal = {
      realm: 'p1',
      kind: 'key',
      role: 'service_role',
      claims: {},
      claimsJson: '{}',
      sessionId: null,
      exp: null,
    }
    assert.equal(decide(user, 'rest:read', p1), 'allow')
    assert.equal(decide(user, 'rest:read', { ...p1, project: 'p2' }), 'hide')
    for (const action of CONTROL_ACTIONS) assert.equal(decide(user, action, p1), 'hide', action)
  })

  test('a role bound to a project ends there', () => {
    assert.equal(decide(as('owner', 'p1'), 'project:delete', p1), 'allow')
    assert.equal(decide(as('owner', 'p2'), 'project:read', p1), 'hide')
    assert.equal(decide(as('owner', 'p1'), 'project:create', acme), 'deny')
    // Away from the organisation, or gone for good: not for who was let into one project of it.
    assert.equal(decide(as('owner', 'p1'), 'project:move', p1), 'deny')
    assert.equal(decide(as('owner', 'p1'), 'project:purge', p1), 'deny')
    assert.equal(decide(as('owner'), 'project:move', p1), 'allow')
    assert.equal(decide(as('owner', 'p1'), 'organisation:read', { kind: 'organisation', organisation: 'other' }), 'hide')
  })
})

describe('limits', () => {
  const request = (kind: 'anon' | 'key' | null, ip = '192.0.2.1') =>
    ({
      project: { ref: 'p' } as ProjectContext,
      principal: kind && { kind },
      ip,
      is404: false,
    }) as unknown as FastifyRequest
  const hold = {} as Hold
  const connector = (awake: boolean) => {
    const reasons: string[] = []
    const take = (_ref: string, _name: string, reason: string): Hold => {
      reasons.push(reason)
      return hold
    }
    return {
      reasons,
      now: (...of: Parameters<typeof take>) => (awake ? take(...of) : null),
      hold: async (...of: Parameters<typeof take>) => take(...of),
    }
  }
  const spent = (error: unknown) =>
    isSovraError(error, 'wake_budget_spent') && error.status === 429 && Number(error.headers?.['retry-after']) > 0

  test('strangers wake by the budget of their address; keys and awake projects are free', async () => {
    let at = 0
    const refused: string[] = []
    const limits = makeLimits({ projectRequests: 0, wakes: 2, now: () => at, refused: (what) => refused.push(what) })
    const asleep = connector(false)
    for (const kind of ['anon', null] as const) await limits.hold(request(kind), asleep, 'db')
    assert.throws(() => limits.hold(request('anon'), asleep, 'db'), spent)
    assert.throws(() => limits.spendWake('::ffff:192.0.2.1'), spent)
    assert.deepEqual(refused, ['wakes', 'wakes'])
    assert.deepEqual(asleep.reasons, ['keyless request', 'keyless request'])
    assert.equal(limits.hold(request('anon'), connector(true), 'db'), hold, 'awake: at once, and free')
    await limits.hold(request('key'), asleep, 'db')
    await limits.hold(request('anon', '192.0.2.2'), asleep, 'db')
    at += 1_800_001
    await limits.hold(request('anon'), asleep, 'db')
    assert.throws(() => limits.hold(request('anon'), asleep, 'db'), spent)
  })

  test('requests to one project: 429 with Retry-After in its dialect, strangers take nothing of it', async () => {
    const node = await startGateway({ projectRequests: 2 })
    const project = await node.addProject(await node.addOrganisation('acme'))
    const neighbour = await node.addProject(await node.addOrganisation('next'))
    const ask = (of: typeof project, headers: Record<string, string>) => node.ask(`/p/${of.ref}/rest/v1/who`, { headers })
    for (let i = 0; i < 10; i++) assert.equal((await ask(project, { apikey: 'bad' })).status, 401)
    const good = { apikey: project.keys.anon.text }
    for (let i = 0; i < 4; i++) assert.equal((await ask(project, good)).status, 200)
    const { status, body, headers } = await ask(project, good)
    assert.deepEqual([status, body.code, body.dialect, headers['retry-after']], [429, 'rate_limited', 'rest', '1'])
    assert.equal((await ask(neighbour, { apikey: neighbour.keys.anon.text })).status, 200)
    clock.at += 1000
    assert.equal((await ask(project, good)).status, 200)
    await node.close()
  })

  test('keyless requests run as anon where they are allowed', async () => {
    const node = await startGateway({ allowKeyless: true })
    const { ref } = await node.addProject(await node.addOrganisation('acme'))
    const { status, body } = await node.ask(`/p/${ref}/rest/v1/who`)
    const { kind, role, claimsJson } = body.principal as ProjectPrincipal
    assert.deepEqual([status, kind, role, claimsJson], [200, 'anon', 'anon', '{"role":"anon"}'])
    assert.equal((await node.ask(`/p/${ref}/rest/v1/who`, { headers: { apikey: 'bad' } })).status, 401)
    await node.close()
  })
})
