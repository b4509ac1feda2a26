/** Members sign in by somebody else: OpenID and SAML providers on loopback, `sovra login` through a browser made of fetch. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AuthClient } from '@supabase/supabase-js'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { stepAt, totp } from '../../packages/server/src/realms/auth/totp.ts'
import { startServer, type TestServer } from '../node.ts'
import { startOidc, type TestOidc } from '../oidc.ts'
import { type Saying, type Service, startIdp, type TestIdp } from '../saml.ts'
import { until } from '../until.ts'

const EMAIL = 'owner@example.org'
const PASSWORD = 'correct horse battery'
const DOMAIN = 'example.org'
let server: TestServer
let oidc: TestOidc
let idp: TestIdp
const cli = makeCli(() => server.dataDir)

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32' } })
  const token = /setup\?token=([\w-]+)/.exec(server.output())?.[1] ?? ''
  const body = new URLSearchParams({ token, email: EMAIL, password: PASSWORD, organisation: 'acme' })
  const headers = { 'content-type': 'application/x-www-form-urlencoded', origin: server.url }
  const done = await fetch(`${server.url}/setup`, { method: 'POST', body: body.toString(), headers, redirect: 'manual' })
  assert.ok(done.status < 400, await done.text())
  ;[oidc, idp] = await Promise.all([startOidc([`${server.url}/auth/v1/callback`]), startIdp()])
})
after(async () => {
  await server?.stop()
  await Promise.all([oidc?.close(), idp?.close()])
  cli.remove()
})

/** Follows redirects with cookies to their end, which is the command that waits. */
async function browse(url: string): Promise<string> {
  const jar = new Map<string, string>()
  let at = new URL(url)
  for (let hop = 0; hop < 12; hop++) {
    const sent = [...jar].filter(([name]) => name.startsWith(`${at.origin} `)).map(([name, value]) => `${name.split(' ')[1]}=${value}`)
    const answer = await fetch(at, { redirect: 'manual', headers: { cookie: sent.join('; ') } })
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (name) jar.set(`${at.origin} ${name}`, value ?? '')
    }
    const to = answer.headers.get('location')
    if (!to) return answer.text()
    at = new URL(to, at)
  }
  throw new Error(`still at ${at}`)
}

/** One login with a browser that does `walk` from the address that is printed. */
async function login(flags: string[], walk: (url: string) => Promise<unknown>, input = '') {
  const running = cli.start(['login', server.url, '--name', 'mine', '--no-browser', ...flags], { input })
  const url = await until(async () => /^ {2}(http\S+)/m.exec(running.err())?.[1])
  await walk(url)
  return running.ended
}

const settings = async (patch: object) => {
  const answer = await server.api('PATCH', '/platform/settings/auth', patch)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
}
const byOidc = (account: TestOidc['account']) => {
  oidc.account = account
  return login(['--provider', 'keycloak'], browse)
}

test('settings of the platform: read, changed, hidden secrets; for administrators alone', async () => {
  await settings({
    providers: { keycloak: { client_id: oidc.clientId, secret: oidc.secret, url: oidc.issuer } },
    rates: { sign_ins: 1000, verifications: 1000 },
  })
  const shown = await server.api('GET', '/platform/settings/auth')
  assert.doesNotMatch(JSON.stringify(shown.body), new RegExp(oidc.secret))
  const { body } = await server.api<{ access_token: string }>('POST', '/session', { email: EMAIL, password: PASSWORD }, { token: null })
  assert.equal((await server.api('GET', '/platform/settings/auth', undefined, { token: body.access_token })).status, 200)
  assert.equal((await server.api('GET', '/platform/settings/auth', undefined, { token: null })).status, 401)
  assert.equal((await server.api('PATCH', '/platform/settings/auth', { nonsense: 1 })).status, 400)
})

test('by OpenID: a member by the address, nobody else, and who was invited', async () => {
  const done = await byOidc({ sub: 'o1', email: EMAIL, email_verified: true })
  assert.equal(done.code, 0, done.err)
  assert.match((await cli.run(['whoami'])).out, /owner@example\.org/)

  const stranger = await byOidc({ sub: 'o3', email: 'eve@example.org', email_verified: true })
  assert.notEqual(stranger.code, 0)
  assert.match(stranger.err, /Signups not allowed/)

  const invited = await server.api('POST', '/organisations/acme/invitations', { role: 'developer', email: 'Ada@example.org' })
  assert.equal(invited.status, 201, JSON.stringify(invited.body))
  const ada = await byOidc({ sub: 'o4', email: 'ada@example.org', email_verified: true })
  assert.equal(ada.code, 0, ada.err)
  const who = await cli.answer<{ email: string; memberships: { role: string }[] }>(['whoami', '--json'])
  assert.deepEqual([who.email, who.memberships.map(({ role }) => role)], ['ada@example.org', ['developer']])
})

test('a page gets the session of its token as a cookie, which scripts do not read; other sites do not set it', async () => {
  const { body } = await server.api<{ access_token: string }>('POST', '/session', { email: EMAIL, password: PASSWORD }, { token: null })
  const ask = (token: string, origin = server.url) =>
    fetch(`${server.url}/v1/session/cookie`, { method: 'POST', headers: { authorization: `Bearer ${token}`, origin } })
  const cookie = (await ask(body.access_token)).headers.get('set-cookie') ?? ''
  assert.match(cookie, /^sovra_session=.+; Path=\/v1; HttpOnly; SameSite=Strict; Max-Age=\d+/)
  const shown = await fetch(`${server.url}/v1/session`, { headers: { cookie: cookie.split(';')[0]! } })
  assert.equal(((await shown.json()) as { email: string }).email, EMAIL)
  assert.equal((await ask(body.access_token, 'https://evil.example.com')).status, 403)
  assert.equal((await ask(server.localToken)).status, 403, 'a token that is no session makes none')
})

test('by SAML: for the domains of its provider alone; the account is the one of the address', async () => {
  await settings({ saml: { enabled: true } })
  const made = await server.api<{ id: string }>('POST', '/platform/sso/providers', {
    type: 'saml',
    metadata_url: idp.metadataUrl,
    domains: [DOMAIN],
  })
  assert.equal(made.status, 201, JSON.stringify(made.body))
  const list = await server.api<{ items: { id: string }[] }>('GET', '/platform/sso/providers')
  assert.deepEqual(
    list.body.items.map(({ id }) => id),
    [made.body.id],
  )
  const metadata = await (await fetch(`${server.url}/auth/v1/sso/saml/metadata`)).text()
  const service: Service = {
    metadata,
    acs: /Consumer[^>]*Location="([^"]+)"/.exec(metadata)?.[1] ?? '',
    entityId: /entityID="([^"]+)"/.exec(metadata)?.[1] ?? '',
  }
  assert.equal(service.acs, `${server.url}/auth/v1/sso/saml/acs`)
  const walk = (saying: Saying) => async (url: string) => {
    const toIdp = (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? ''
    const form = await idp.answer(service, toIdp, saying)
    const back = await fetch(service.acs, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual' })
    await browse(back.headers.get('location') ?? '')
  }
  const bySaml = (mail: string) => login(['--sso', DOMAIN], walk({ nameId: mail, attributes: { mail } }))
  const done = await bySaml(EMAIL)
  assert.equal(done.code, 0, done.err)
  assert.match((await cli.run(['whoami'])).out, /owner@example\.org/)
  await server.api('POST', '/organisations/acme/invitations', { role: 'owner', email: 'boss@other.example.com' })
  const foreign = await bySaml('boss@other.example.com')
  assert.notEqual(foreign.code, 0)
  assert.match(foreign.err, /Signups not allowed/)

  // The command is ada's since then, who administers nothing: the keys of members are the owner's.
  const keys = (...words: string[]) => cli.run(['--server', 'local', 'keys', 'saml', ...words, '--platform'])
  assert.match((await keys('prepare')).out, /is next/)
  assert.match((await keys('rotate', '--overlap', '1h')).out, /is current/)
  assert.match((await keys('list')).out, /current[\s\S]*retired/)
  const again = await bySaml(EMAIL)
  assert.equal(again.code, 0, again.err)
})

test('a page that is no command’s is not led to; a second factor is asked for all the same', async () => {
  const params = new URLSearchParams({
    provider: 'keycloak',
    redirect_to: 'http://evil.example.com/sovra',
    code_challenge: 'c'.repeat(43),
    code_challenge_method: 's256',
  })
  oidc.account = { sub: 'o1', email: EMAIL, email_verified: true }
  const back = await oidc.stopBefore(() => browse(`${server.url}/auth/v1/authorize?${params}`))
  const led = (await fetch(back, { redirect: 'manual' })).headers.get('location') ?? ''
  assert.equal(new URL(led).origin, server.url)

  const own = new AuthClient({ url: `${server.url}/auth/v1`, persistSession: false, autoRefreshToken: false })
  await own.signInWithPassword({ email: EMAIL, password: PASSWORD })
  const enrolled = (await own.mfa.enroll({ factorType: 'totp', friendlyName: 'app' })).data!
  const { secret } = enrolled.totp
  assert.equal((await own.mfa.challengeAndVerify({ factorId: enrolled.id, code: totp(secret, stepAt(Date.now())) })).error, null)
  const later = totp(secret, stepAt(Date.now()) + 1)
  const done = await login(['--provider', 'keycloak'], browse, `${later}\n`)
  assert.equal(done.code, 0, done.err)
})
