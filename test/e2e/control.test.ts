/** The control API as members, strangers and administrators use it. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type ApiAnswer, startServer, type TestServer } from '../node.ts'
import { createProject, openProject, organisation, type ProjectBody, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const PASSWORD = 'a long enough passphrase'
const ROLES = ['owner', 'admin', 'developer', 'viewer', 'billing'] as const
type Role = (typeof ROLES)[number]

let server: TestServer
let project: TestProject

interface Session {
  readonly access_token: string
  readonly refresh_token: string
  readonly user: { readonly id: string }
}

const page = (path: string, body?: Record<string, string>, language = 'en') =>
  fetch(path, {
    redirect: 'manual',
    headers: { 'accept-language': language },
    ...(body === undefined ? {} : { method: 'POST', body: new URLSearchParams(body) }),
  })
const tokenOf = (url: string): string => new URL(url).searchParams.get('token') ?? ''

async function signIn(email: string): Promise<Session> {
  const answer = await server.api<Session>('POST', '/session', { email, password: PASSWORD }, { token: null })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

/** A person who joined by an invitation link, over the page that browsers see. */
async function joinAs(role: Role, email: string, more: { project?: string; to?: string } = {}): Promise<string> {
  const { to = 'acme', ...bound } = more
  const invited = await server.api<{ url: string }>('POST', `/organisations/${to}/invitations`, { role, email, ...bound })
  assert.equal(invited.status, 201, JSON.stringify(invited.body))
  const joined = await page(`${server.url}/invitation`, { token: tokenOf(invited.body.url), email, password: PASSWORD })
  assert.equal(joined.status, 200, await joined.text())
  return (await signIn(email)).access_token
}

const codeOf = (answer: ApiAnswer<unknown>) => (answer.body as { code?: string } | null)?.code
/** The answer without what differs by design between two requests. */
function bare({ status, headers, body }: ApiAnswer<Record<string, unknown>>) {
  const { request_id, ...rest } = body
  assert.ok(request_id)
  const named = [...headers].filter(([name]) => !['date', 'sb-request-id', 'x-request-id', 'keep-alive', 'connection'].includes(name))
  return { status, headers: named, body: JSON.stringify(rest) }
}

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'first', { labels: { tier: 'a' } })
})
after(() => server?.stop())

describe('first contact', () => {
  test('the set-up page works as a plain form, in both languages, once', async () => {
    const link = /^Set up\s+(\S+)/m.exec(server.output())?.[1] ?? ''
    assert.ok(link.startsWith(`${server.url}/setup?token=`))
    const english = await page(link)
    assert.equal(english.status, 200)
    assert.match(english.headers.get('content-security-policy') ?? '', /default-src 'none'/)
    const html = await english.text()
    assert.match(html, /<html lang="en">[\s\S]*Set up this installation/)
    assert.doesNotMatch(html, /<script/i)
    assert.match(
      await (await page(link, undefined, 'fr-CA,fr;q=0.9,en;q=0.5')).text(),
      /<html lang="fr">[\s\S]*Configurer cette installation/,
    )

    const given = { token: tokenOf(link), email: 'ada@example.org', organisation: 'Société Générale' }
    const weak = await page(`${server.url}/setup`, { ...given, password: 'x' })
    assert.ok(weak.status >= 400 && weak.status < 500)
    assert.match(await weak.text(), /role="alert"/)
    assert.equal((await page(`${server.url}/setup`, { ...given, token: 'wrong', password: PASSWORD })).status, 403)
    const done = await page(`${server.url}/setup`, { ...given, password: PASSWORD }, 'fr')
    assert.equal(done.status, 200)
    assert.match(await done.text(), /npx sovra projects create/)
    assert.match(done.headers.get('set-cookie') ?? '', /HttpOnly/i)
    assert.equal((await page(link)).status, 403)
    assert.equal((await page(`${server.url}/setup`, { ...given, password: PASSWORD })).status, 403)
    const { access_token: token } = await signIn('ada@example.org')
    const me = await server.api<{ admin: boolean; memberships: { role: string }[] }>('GET', '/session', undefined, { token })
    assert.equal(me.body.admin, true)
    assert.ok(me.body.memberships.every(({ role }) => role === 'owner'))
    assert.equal((await server.api('GET', '/organisations/societe-generale', undefined, { token })).status, 200)
  })

  test('an administrator gets back in by a link from the machine, once', async () => {
    const made = await server.api<{ url: string }>('POST', '/admin-links', { email: 'ada@example.org' })
    assert.equal(made.status, 201)
    for (let looks = 0; looks < 2; looks++) assert.equal((await page(made.body.url)).status, 200)
    const used = await page(`${server.url}/admin-link`, { token: tokenOf(made.body.url) })
    assert.equal(used.status, 200)
    assert.match(used.headers.get('set-cookie') ?? '', /HttpOnly/i)
    assert.equal((await page(`${server.url}/admin-link`, { token: tokenOf(made.body.url) })).status, 403)
  })

  test('sessions: refresh, sign-out, wrong password; personal access tokens', async () => {
    const session = await signIn('ada@example.org')
    const wrong = await server.api('POST', '/session', { email: 'ada@example.org', password: 'not this one' }, { token: null })
    const unknown = await server.api('POST', '/session', { email: 'nobody@example.org', password: 'not this one' }, { token: null })
    assert.deepEqual(bare(wrong), bare(unknown))
    const refreshed = await server.api<Session>('POST', '/session/refresh', { refresh_token: session.refresh_token }, { token: null })
    assert.equal(refreshed.status, 200)
    const token = refreshed.body.access_token
    const made = await server.api<{ id: string; token: string }>('POST', '/tokens', { name: 'ci', for: '30d' }, { token })
    assert.equal(made.status, 201)
    const pat = { token: made.body.token }
    assert.equal((await server.api('GET', '/projects', undefined, pat)).status, 200)
    assert.equal((await server.api('DELETE', '/session', undefined, { token })).status, 204)
    assert.equal((await server.api('GET', '/session', undefined, { token })).status, 401)
    assert.equal((await server.api('DELETE', `/tokens/${made.body.id}`, undefined, pat)).status, 204)
    assert.equal((await server.api('GET', '/projects', undefined, pat)).status, 401)
    assert.equal((await server.api('GET', '/projects', undefined, { token: null })).status, 401)
  })
})

describe('members', () => {
  let second: TestProject
  before(async () => {
    second = await createProject(server, 'second')
  })

  test('roles of the organisation: who may see keys, create, delete', async () => {
    const may: Record<Role, { keys: number; rename: number; remove: number }> = {
      owner: { keys: 200, rename: 200, remove: 202 },
      admin: { keys: 200, rename: 200, remove: 202 },
      developer: { keys: 200, rename: 200, remove: 403 },
      viewer: { keys: 403, rename: 403, remove: 403 },
      billing: { keys: 403, rename: 403, remove: 403 },
    }
    for (const role of ROLES) {
      const token = { token: await joinAs(role, `${role}@example.org`) }
      const path = `/projects/${second.ref}`
      assert.equal((await server.api('GET', path, undefined, token)).status, 200, role)
      for (const secret of ['keys', 'connection']) {
        const answer = await server.api('POST', `${path}/${secret}/reveal`, undefined, token)
        assert.equal(answer.status, may[role].keys, `${role} ${secret}`)
        if (answer.status !== 200) assert.doesNotMatch(JSON.stringify(answer.body), /eyJ|sb_|postgresql:/)
      }
      assert.equal((await server.api('PATCH', path, { labels: { by: role } }, token)).status, may[role].rename, role)
      assert.equal((await server.api('DELETE', path, undefined, token)).status, may[role].remove, role)
      if (may[role].remove === 202) assert.equal((await server.api('POST', `${path}/restore`)).status, 200)
    }
    await openProject(server, second.ref)
  })

  test('no one below owner makes owners; the last owner stays', async () => {
    const token = { token: (await signIn('admin@example.org')).access_token }
    assert.equal(codeOf(await server.api('POST', '/organisations/acme/invitations', { role: 'owner' }, token)), 'role_too_high')
  })

  test('bound to one project: that one and no other', async () => {
    const token = { token: await joinAs('developer', 'guest@example.org', { project: second.ref }) }
    assert.equal((await server.api('POST', `/projects/${second.ref}/keys/reveal`, undefined, token)).status, 200)
    assert.equal((await server.api('GET', `/projects/${project.ref}`, undefined, token)).status, 404)
    const listed = await server.api<{ items: ProjectBody[] }>('GET', '/projects', undefined, token)
    assert.deepEqual(
      listed.body.items.map((item) => item.ref),
      [second.ref],
    )
    assert.equal((await server.api('POST', '/organisations/acme/projects', { name: 'mine' }, token)).status, 403)
  })

  test('a removed member is out at once', async () => {
    const token = { token: await joinAs('developer', 'gone@example.org') }
    assert.equal((await server.api('GET', `/projects/${project.ref}`, undefined, token)).status, 200)
    const { body } = await server.api<{ items: { id: string; user: { email: string } }[] }>('GET', '/organisations/acme/members?limit=200')
    const id = body.items.find((member) => member.user.email === 'gone@example.org')?.id
    assert.equal((await server.api('DELETE', `/organisations/acme/members/${id}`)).status, 204)
    assert.equal((await server.api('GET', `/projects/${project.ref}`, undefined, token)).status, 404)
  })

  test("another organisation's things answer as things that do not exist", async () => {
    await organisation(server, 'rival')
    const token = { token: await joinAs('owner', 'rival@example.org', { to: 'rival' }) }
    const nothing = 'a'.repeat(20)
    const requests: [string, string, unknown?][] = [
      ['GET', ''],
      ['PATCH', '', { name: 'stolen' }],
      ['DELETE', ''],
      ['POST', '/keys/reveal'],
      ['POST', '/connection/reveal'],
      ['POST', '/wake'],
      ['POST', '/move', { organisation: 'rival' }],
      ['GET', '/events'],
      ['GET', '/services'],
      ['POST', '/purge'],
    ]
    for (const [method, path, body] of requests) {
      const theirs = await server.api(method, `/projects/${project.ref}${path}`, body, token)
      const none = await server.api(method, `/projects/${nothing}${path}`, body, token)
      assert.equal(theirs.status, 404, `${method} ${path}`)
      assert.deepEqual(bare(theirs), bare(none), `${method} ${path}`)
    }
    const theirs = await server.api('GET', '/organisations/acme/members', undefined, token)
    assert.deepEqual(bare(theirs), bare(await server.api('GET', '/organisations/nothing/members', undefined, token)))
    const copied = await server.api('POST', '/organisations/rival/projects', { name: 'copy', from: { project: project.ref } }, token)
    const copiedNone = await server.api('POST', '/organisations/rival/projects', { name: 'copy', from: { project: nothing } }, token)
    assert.deepEqual(bare(copied), bare(copiedNone))
  })
})

describe('projects', () => {
  test('two creates with one Idempotency-Key make one project', async () => {
    const create = (body: object) =>
      server.api<ProjectBody>('POST', '/organisations/acme/projects', body, {
        headers: { 'idempotency-key': 'once-only', prefer: 'wait=30' },
      })
    const both = await Promise.all([create({ name: 'once' }), create({ name: 'once' })])
    const good = both.filter(({ status }) => status < 300)
    for (const answer of both) if (answer.status >= 300) assert.deepEqual([answer.status, codeOf(answer)], [409, 'idempotency_running'])
    assert.ok(good.length >= 1)
    const later = await create({ name: 'once' })
    assert.equal(later.body.ref, good[0]?.body.ref)
    assert.equal(later.headers.get('idempotency-replayed'), 'true')
    assert.equal(codeOf(await create({ name: 'twice' })), 'idempotency_mismatch')
    const listed = await server.api<{ items: ProjectBody[] }>('GET', '/projects?name=once')
    assert.equal(listed.body.items.length, 1)
    await server.api('DELETE', `/projects/${later.body.ref}`)
  })

  test('pages, filters and sorts', async () => {
    const names: string[] = []
    let cursor: string | null = null
    do {
      const at: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const { body }: ApiAnswer<{ items: ProjectBody[]; next_cursor: string | null }> = await server.api(
        'GET',
        `/projects?organisation=acme&limit=1&sort=-name${at}`,
      )
      assert.ok(body.items.length <= 1)
      names.push(...body.items.map((item) => item.name))
      cursor = body.next_cursor
    } while (cursor !== null)
    assert.deepEqual(names, ['second', 'first'])
    const labelled = await server.api<{ items: ProjectBody[] }>('GET', '/projects?label=tier%3Da')
    assert.deepEqual(
      labelled.body.items.map((item) => item.name),
      ['first'],
    )
    const deleted = await server.api<{ items: ProjectBody[] }>('GET', '/projects?state=deleted')
    assert.deepEqual(
      deleted.body.items.map((item) => item.name),
      ['once'],
    )
  })

  test('If-Match guards an edit', async () => {
    const path = `/projects/${project.ref}`
    const etag = (await server.api('GET', path)).headers.get('etag') ?? ''
    assert.equal((await server.api('PATCH', path, { labels: { a: '1' } }, { headers: { 'if-match': etag } })).status, 200)
    const late = await server.api('PATCH', path, { labels: { a: '2' } }, { headers: { 'if-match': etag } })
    assert.deepEqual([late.status, codeOf(late)], [412, 'version_conflict'])
  })

  test('a copy has the structure, or the rows too, and keys of its own', async () => {
    await project.sql(
      'create table public.rows (id int primary key); grant all on public.rows to service_role; insert into public.rows values (1), (2)',
    )
    const bare = await createProject(server, 'structure', { from: { project: project.ref } })
    const full = await createProject(server, 'with-data', { from: { project: project.ref, data: true } })
    assert.deepEqual((await rest(bare, bare.service, 'GET', '/rows')).body, [])
    assert.deepEqual((await rest(full, full.service, 'GET', '/rows?order=id')).body, [{ id: 1 }, { id: 2 }])
    assert.equal((await rest(full, project.service, 'GET', '/rows')).status, 401)
    assert.deepEqual((await rest(project, project.service, 'GET', '/rows?order=id')).body, [{ id: 1 }, { id: 2 }])
    for (const made of [bare, full]) assert.equal((await server.api('DELETE', `/projects/${made.ref}`)).status, 202)
  })

  test('deleted it answers no more; restored it has its rows; purged its data is gone', async () => {
    const path = `/projects/${project.ref}`
    const volumes = () => readdirSync(join(server.dataDir, 'projects'))
    assert.equal((await server.api('DELETE', path)).status, 202)
    assert.equal((await rest(project, project.service, 'GET', '/rows')).status, 404)
    assert.equal(codeOf(await server.api('POST', `${path}/keys/reveal`)), 'project_deleted')
    assert.equal((await server.api('POST', `${path}/restore`)).status, 200)
    await until(async () => (await rest(project, project.service, 'GET', '/rows?order=id')).status === 200)

    const before = new Set(volumes())
    const doomed = await createProject(server, 'doomed')
    await doomed.sql('create table public.rows (id int)')
    const made = volumes().filter((name) => !before.has(name))
    assert.equal(made.length, 1)
    const dir = join(server.dataDir, 'projects', made[0] ?? '')
    assert.equal(codeOf(await server.api('POST', `/projects/${doomed.ref}/purge`)), 'project_not_deleted')
    assert.equal((await server.api('DELETE', `/projects/${doomed.ref}`)).status, 202)
    assert.equal((await server.api('POST', `/projects/${doomed.ref}/purge`)).status, 202)
    await until(() => !existsSync(dir), 30_000)
    assert.equal((await server.api('GET', `/projects/${doomed.ref}`)).status, 404)
  })

  test('moves to another organisation and keeps serving', async () => {
    const moving = await createProject(server, 'moving')
    const member = { token: (await signIn('developer@example.org')).access_token }
    assert.equal((await server.api('GET', `/projects/${moving.ref}`, undefined, member)).status, 200)
    assert.equal((await server.api('POST', `/projects/${moving.ref}/move`, { organisation: 'rival' })).status, 200)
    assert.equal((await server.api('GET', `/projects/${moving.ref}`, undefined, member)).status, 404)
    const rival = { token: (await signIn('rival@example.org')).access_token }
    assert.equal((await server.api('GET', `/projects/${moving.ref}`, undefined, rival)).status, 200)
    assert.equal((await rest(moving, moving.service, 'GET', '/')).status, 200)
  })

  test('quotas refuse with the limit', async () => {
    assert.equal((await server.api('PATCH', '/organisations/rival/quotas', { projects: 1 })).status, 204)
    const refused = await server.api('POST', '/organisations/rival/projects', { name: 'one-more' })
    assert.equal(codeOf(refused), 'quota_exceeded')
    const { body } = await server.api('GET', '/organisations/rival/quotas')
    assert.deepEqual(body, { projects: { limit: 1, used: 1 }, project: { memory: 0, disk: 0, connections: 0 } })
  })

  test('a spec that cannot run is refused, in words', async () => {
    const { ref } = await createProject(server, 'modest')
    const cases: [object, RegExp][] = [
      [{ memory: 8 }, /memory: 32 at least/],
      [{ memory: 64, shared_buffers: 64 }, /shared_buffers: with 64 of memory, 40 at most/],
      [{ memroy: 64 }, /memroy is not a key of it; the nearest is memory/],
      [{ extensions: ['dblink'] }, /dblink is not one of/],
      [{ engine: 'mongodb' }, /its engine stays postgres/],
      [{ driver: 'docker' }, /its driver stays embedded/],
    ]
    for (const [patch, words] of cases) {
      const refused = await server.api<{ message: string }>('PATCH', `/projects/${ref}/services/db`, patch)
      assert.deepEqual([refused.status, codeOf(refused)], [400, 'spec_invalid'])
      assert.match(refused.body.message, words)
    }
    const document = await (await fetch(`${server.url}/docs`)).text()
    assert.match(document, /shared_buffers/, 'where the hint sends people')
  })

  test('an organisation’s limits hold for new projects, changed ones and those that come', async () => {
    await organisation(server, 'small')
    assert.equal((await server.api('PATCH', '/organisations/small/quotas', { memory: 128, connections: 5 })).status, 204)
    const big = { name: 'big', services: { db: { engine: 'postgres', memory: 129 } } }
    assert.equal(codeOf(await server.api('POST', '/organisations/small/projects', big)), 'over_organisation_limit')
    const fits = await createProject(server, 'fits', { organisation: 'small' })
    const path = `/projects/${fits.ref}/services/db`
    const { body } = await server.api<{ spec: { memory: number; connections: number } }>('GET', path)
    assert.deepEqual([body.spec.memory, body.spec.connections], [128, 5])
    for (const memory of [129, 0]) assert.equal(codeOf(await server.api('PATCH', path, { memory })), 'over_organisation_limit')
    assert.equal((await server.api('PATCH', path, { memory: 127 })).status, 202)
    const coming = await createProject(server, 'coming')
    const move = await server.api('POST', `/projects/${coming.ref}/move`, { organisation: 'small' })
    assert.equal(codeOf(move), 'over_organisation_limit')
  })

  test('the API describes itself: made for its first readers, the routes of /v1 alone', async () => {
    type Document = { openapi: string; paths: Record<string, Record<string, { summary?: string; responses?: unknown }>> }
    const [first, second, read] = await Promise.all(
      ['v1/openapi.json', 'v1/openapi.json', 'docs'].map((path) => fetch(`${server.url}/${path}`)),
    )
    const document = (await first?.json()) as Document
    assert.deepEqual(await second?.json(), document)
    assert.match(document.openapi, /^3\.1/)
    assert.equal(document.paths['/v1/session']?.post?.summary, 'Sign in by e-mail and password')
    assert.match(document.paths['/v1/organisations/{organisation}/settings/mail']?.get?.summary ?? '', /mail server/)
    const { components } = document as unknown as { components: { schemas: Record<string, { properties: object }> } }
    assert.ok('max_rows' in (components.schemas['settings.rest']?.properties ?? {}), 'where the hint of setting_malformed sends people')
    assert.deepEqual(
      Object.keys(document.paths).filter((path) => !path.startsWith('/v1/')),
      [],
    )
    const paths = Object.keys(document.paths)
    assert.ok(paths.length > 50 && !paths.includes('/v1/openapi.json'), `${paths.length} paths`)
    const create = document.paths['/v1/organisations/{organisation}/projects']?.post
    assert.ok(create?.summary && create.responses, JSON.stringify(create))
    assert.equal(read?.status, 200)
    assert.match((await read?.text()) ?? '', /\/v1\/organisations/)
  })

  test('showing secrets is written down: who, what, from where', async () => {
    const token = (await signIn('developer@example.org')).access_token
    const me = await server.api<{ id: string }>('GET', '/session', undefined, { token })
    const shown = await server.api('POST', `/projects/${project.ref}/keys/reveal`, undefined, { token })
    await server.api('POST', `/projects/${project.ref}/connection/reveal`, undefined, { token })
    for (const name of ['key.revealed', 'connection.revealed']) {
      const { body } = await server.api<{ items: Record<string, unknown>[] }>('GET', `/projects/${project.ref}/events?name=${name}&limit=1`)
      const [event] = body.items
      assert.deepEqual([event?.name, event?.actor, event?.actor_kind, event?.ip], [name, me.body.id, 'member', '127.0.0.1'])
      if (name === 'key.revealed') assert.equal(event?.request_id, shown.headers.get('sb-request-id'))
      assert.doesNotMatch(JSON.stringify(event), /eyJ|sb_secret|postgresql:/)
    }
  })
})
