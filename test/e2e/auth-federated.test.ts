/** Sign-in by accounts elsewhere: a real OpenID provider on loopback, the unmodified client, a browser made of fetch and cookies. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import type { SupabaseClient } from '@supabase/supabase-js'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { auth, client, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { type Account, startOidc, type TestOidc } from '../oidc.ts'
import { createProject, type TestProject } from '../project.ts'

let server: TestServer
let project: TestProject
let oidc: TestOidc
let count = 0
const PASSWORD = 'correct horse battery'
const APP = 'https://app.example.org/'

const somebody = (more: Partial<Account> = {}): Account => {
  const n = ++count
  return { sub: `sub-${n}`, email: `person-${n}@example.org`, email_verified: true, name: `Person ${n}`, ...more }
}

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32' } })
  project = await createProject(server, 'federated')
  oidc = await startOidc([`${project.url}/auth/v1/callback`])
  await settings(server, project, {
    site_url: APP,
    mail_interval: 0,
    manual_linking: true,
    rates: { sign_ins: 10_000, verifications: 10_000 },
    providers: {
      keycloak: { client_id: oidc.clientId, secret: oidc.secret, url: oidc.issuer, client_ids: ['mobile'] },
      github: { client_id: 'gh', secret: 'gh-secret', url: oidc.origin },
    },
  })
})
after(async () => {
  await server?.stop()
  await oidc?.close()
})

function must<A extends { data: unknown; error: unknown }>(answer: A): NonNullable<Extract<A, { error: null }>['data']> {
  assert.equal(answer.error, null, JSON.stringify(answer.error))
  return answer.data as NonNullable<Extract<A, { error: null }>['data']>
}

/** Follows redirects with cookies, as a browser does, until it leaves for the application. */
async function browse(url: string, jar = new Map<string, string>()): Promise<URL> {
  let at = new URL(url)
  for (let hop = 0; hop < 12; hop++) {
    if (at.origin === new URL(APP).origin) return at
    const key = at.origin
    const sent = [...jar].filter(([name]) => name.startsWith(`${key} `)).map(([name, value]) => `${name.slice(key.length + 1)}=${value}`)
    const answer = await fetch(at, { redirect: 'manual', headers: { cookie: sent.join('; ') } })
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (name) jar.set(`${key} ${name}`, value ?? '')
    }
    const to = answer.headers.get('location')
    assert.ok(to, `${at.pathname} answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`)
    at = new URL(to, at)
  }
  throw new Error(`still at ${at}`)
}

const fragment = (url: URL) => Object.fromEntries(new URLSearchParams(url.hash.slice(1)))
const pkceClient = () => client(project, project.anon, { flowType: 'pkce', detectSessionInUrl: false })
const provider = 'keycloak' as const

async function startUrl(own: SupabaseClient, options: Record<string, unknown> = {}): Promise<string> {
  return must(await own.auth.signInWithOAuth({ provider, options: { skipBrowserRedirect: true, ...options } })).url!
}

/** A whole sign-in by PKCE. */
async function enter(account: Account) {
  oidc.account = account
  const own = pkceClient()
  const back = await browse(await startUrl(own))
  assert.ok(back.searchParams.get('code'), back.href)
  const { session, user } = must(await own.auth.exchangeCodeForSession(back.searchParams.get('code')!))
  return { own, session: session!, user: user! }
}

describe('a provider by its preset', () => {
  test('PKCE: a new user, provider tokens in the answer, again the same user', async () => {
    const account = somebody({ picture: 'https://cdn.example.org/1.png' })
    const { session, user, own } = await enter(account)
    assert.deepEqual(
      [user.email, user.app_metadata, user.user_metadata.full_name, user.user_metadata.avatar_url, user.email_confirmed_at !== undefined],
      [account.email, { provider, providers: [provider] }, account.name, 'https://cdn.example.org/1.png', true],
    )
    assert.ok(session.provider_token, 'the token of the provider comes with the session')
    const [identity] = user.identities!
    assert.deepEqual([identity!.provider, identity!.id, identity!.identity_data!.sub], [provider, account.sub, account.sub])
    const { claims } = must(await own.auth.getClaims())
    assert.deepEqual((claims.amr as { method: string }[])[0]!.method, 'oauth')
    const second = await enter({ ...account, name: 'Another Name' })
    assert.deepEqual([second.user.id, second.user.user_metadata.name, second.user.identities!.length], [user.id, 'Another Name', 1])
  })

  test('implicit: tokens in the fragment, for the browser that began alone', async () => {
    oidc.account = somebody()
    const url = await startUrl(client(project))
    const given = fragment(await browse(url))
    assert.deepEqual([given.token_type, Boolean(given.provider_token), Boolean(given.refresh_token)], ['bearer', true, true])
    const own = client(project)
    const { user } = must(await own.auth.setSession({ access_token: given.access_token!, refresh_token: given.refresh_token! }))
    assert.equal(user?.email, oidc.account.email)

    // CSRF: the victim's browser is led to the end of a flow that the attacker began.
    oidc.account = somebody()
    const attacker = new Map<string, string>()
    const callback = await oidc.stopBefore(() => browse(url, attacker))
    const victim = fragment(await browse(callback))
    assert.deepEqual([victim.error_code, victim.access_token], ['bad_oauth_state', undefined])
    // The state is used up by it, even for its own browser.
    assert.equal(fragment(await browse(callback, attacker)).error_code, 'bad_oauth_state')
  })

  test('a state is good once; unknown and foreign ones lead to the site', async () => {
    oidc.account = somebody()
    const own = pkceClient()
    const url = await startUrl(own)
    const callback = await oidc.stopBefore(() => browse(url))
    const first = await browse(callback)
    const replay = await browse(callback)
    assert.equal(replay.searchParams.get('code'), null)
    assert.equal(fragment(replay).error_code, 'bad_oauth_state')
    must(await own.auth.exchangeCodeForSession(first.searchParams.get('code')!))
    const again = await auth(project, 'POST', '/token?grant_type=pkce', {
      body: { auth_code: first.searchParams.get('code'), code_verifier: 'x'.repeat(43) },
    })
    assert.deepEqual([again.status, again.body.error_code], [404, 'flow_state_not_found'])
    const lost = [
      ['?code=x&state=unknown', 'bad_oauth_state'],
      ['?code=x', 'bad_oauth_callback'],
      ['?error=access_denied', 'bad_oauth_callback'],
    ] as const
    for (const [query, code] of lost) {
      const answer = await auth(project, 'GET', `/callback${query}`, { key: null })
      const target = new URL(answer.headers.get('location')!)
      assert.deepEqual([answer.status, target.origin, fragment(target).error_code], [302, new URL(APP).origin, code])
    }
  })

  test('no open redirect; a provider’s refusal is told to the page', async () => {
    const jar = new Map<string, string>()
    const evil = `${project.url}/auth/v1/authorize?provider=${provider}&redirect_to=${encodeURIComponent('https://evil.example.com/')}`
    oidc.account = somebody()
    assert.equal((await browse(evil, jar)).origin, new URL(APP).origin)
    oidc.account = null
    const denied = fragment(await browse(await startUrl(client(project))))
    assert.deepEqual([denied.error, denied.error_code], ['invalid_request', 'bad_oauth_callback'])
    assert.match(denied.error_description ?? '', /access_denied/)
  })

  test('another verifier, and none at all, exchange nothing', async () => {
    oidc.account = somebody()
    const back = await browse(await startUrl(pkceClient()))
    const body = { auth_code: back.searchParams.get('code'), code_verifier: randomBytes(32).toString('base64url') }
    const answer = await auth(project, 'POST', '/token?grant_type=pkce', { body })
    assert.deepEqual([answer.status, answer.body.error_code], [400, 'bad_code_verifier'])
  })

  test('OAuth 2.0 without OpenID: GitHub’s shape, its verified address', async () => {
    oidc.github = {
      user: { id: 4711, login: 'octo', name: 'Octo Cat', avatar_url: 'https://cdn.example.org/o.png' },
      emails: [
        { email: 'unverified@example.org', primary: true, verified: false },
        { email: 'Octo@Example.org', primary: false, verified: true },
      ],
    }
    const own = pkceClient()
    const { url } = must(await own.auth.signInWithOAuth({ provider: 'github', options: { skipBrowserRedirect: true, scopes: 'repo' } }))
    assert.match(
      new URL((await fetch(url!, { redirect: 'manual' })).headers.get('location')!).searchParams.get('scope')!,
      /user:email repo/,
    )
    const back = await browse(url!)
    const { user, session } = must(await own.auth.exchangeCodeForSession(back.searchParams.get('code')!))
    assert.deepEqual([user!.email, user!.identities![0]!.id, user!.user_metadata.user_name], ['octo@example.org', '4711', 'octo'])
    assert.equal(session!.provider_token, 'gh-token')
  })

  test('settings show what is on; one that is off and one that is none are refused', async () => {
    const shown = (await auth(project, 'GET', '/settings')).body.external as Record<string, boolean>
    assert.deepEqual([shown.keycloak, shown.github, shown.google, shown.proconnect], [true, true, false, false])
    for (const [name, text] of [
      ['google', 'Unsupported provider: provider is not enabled'],
      ['nobody', 'Unsupported provider: Provider nobody could not be found'],
    ] as const) {
      const answer = await auth(project, 'GET', `/authorize?provider=${name}`, { key: null })
      assert.deepEqual([answer.status, answer.body.msg], [400, text])
    }
  })
})

describe('joining accounts', () => {
  test('a verified address joins its user; whoever took the address before and never confirmed keeps nothing', async () => {
    const account = somebody()
    const admin = client(project, project.service).auth.admin
    const known = must(await admin.createUser({ email: account.email!, password: PASSWORD, email_confirm: true })).user!
    const { user } = await enter(account)
    assert.deepEqual([user.id, user.app_metadata.providers, user.identities!.length], [known.id, ['email', provider], 2])
    must(await client(project).auth.signInWithPassword({ email: account.email!, password: PASSWORD }))

    const taken = somebody()
    const squatter = client(project)
    must(await squatter.auth.signUp({ email: taken.email!, password: PASSWORD, options: { data: { role: 'boss' } } }))
    const theirs = await enter(taken)
    assert.deepEqual([theirs.user.identities!.map((each) => each.provider), theirs.user.user_metadata.role], [[provider], undefined])
    const refused = await squatter.auth.signInWithPassword({ email: taken.email!, password: PASSWORD })
    assert.equal((refused.error as { code?: string } | null)?.code, 'invalid_credentials')
  })

  test('an address that the provider has not verified neither joins nor makes anybody', async () => {
    const account = somebody({ email_verified: false })
    must(await client(project, project.service).auth.admin.createUser({ email: account.email!, password: PASSWORD, email_confirm: true }))
    for (const one of [account, somebody({ email_verified: false })]) {
      oidc.account = one
      const back = await browse(await startUrl(pkceClient()))
      assert.deepEqual([back.searchParams.get('code'), fragment(back).error_code], [null, 'provider_email_needs_verification'])
    }
  })

  test('linkIdentity, getUserIdentities, unlinkIdentity', async () => {
    const email = `own-${++count}@example.org`
    must(await client(project, project.service).auth.admin.createUser({ email, password: PASSWORD, email_confirm: true }))
    const own = pkceClient()
    const { user } = must(await own.auth.signInWithPassword({ email, password: PASSWORD }))
    const account = somebody()
    oidc.account = account
    const { url } = must(await own.auth.linkIdentity({ provider, options: { skipBrowserRedirect: true } }))
    const back = await browse(url!)
    assert.equal(must(await own.auth.getUserIdentities()).identities.length, 1, 'nothing is linked before the verifier comes')
    must(await own.auth.exchangeCodeForSession(back.searchParams.get('code')!))
    const { identities } = must(await own.auth.getUserIdentities())
    assert.deepEqual(identities.map((each) => each.provider).sort(), ['email', provider])
    assert.equal((await enter(account)).user.id, user!.id)

    // Taken by another: refused.
    const other = await enter(somebody())
    oidc.account = account
    const again = must(await other.own.auth.linkIdentity({ provider, options: { skipBrowserRedirect: true } }))
    assert.equal(fragment(await browse(again.url!)).error_code, 'identity_already_exists')

    must(await own.auth.unlinkIdentity(identities.find((each) => each.provider === provider)!))
    assert.notEqual((await enter(account)).user.id, user!.id, 'it stands for somebody new now')
    const last = must(await own.auth.getUserIdentities()).identities[0]!
    assert.equal(((await own.auth.unlinkIdentity(last)).error as { code?: string }).code, 'single_identity_not_deletable')
    const foreign = other.user.identities![0]!.identity_id
    const answer = await auth(project, 'DELETE', `/user/identities/${foreign}`, {
      token: must(await own.auth.getSession()).session!.access_token,
    })
    assert.deepEqual([answer.status, answer.body.error_code], [422, 'single_identity_not_deletable'])
  })
})

describe('id_token', () => {
  const nonce = 'a nonce'
  const hashed = createHash('sha256').update(nonce).digest('hex')
  const body = (token: string, more: object = {}) => ({ provider, token, nonce, ...more })

  test('with a nonce, for an own application; the same user as by the browser', async () => {
    const account = somebody()
    const token = await oidc.idToken({ ...account, aud: 'mobile', nonce: hashed })
    const { user } = must(await client(project).auth.signInWithIdToken(body(token)))
    assert.equal(user!.email, account.email)
    assert.equal((await enter(account)).user.id, user!.id)
  })

  test('attacks: other key, none, HS256 by the public key, issuer, audience, nonce, time, at_hash', async () => {
    const good = { ...somebody(), aud: oidc.clientId, nonce: hashed }
    const { privateKey } = await generateKeyPair('RS256', { extractable: true })
    const jwk = await exportJWK(privateKey)
    const foreign = await new SignJWT(good)
      .setProtectedHeader({ alg: 'RS256', kid: oidc.kid })
      .setIssuer(oidc.issuer)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(privateKey)
    const brought = await new SignJWT(good)
      .setProtectedHeader({ alg: 'RS256', kid: 'mine', jwk: { kty: 'RSA', n: jwk.n!, e: jwk.e! } })
      .setIssuer(oidc.issuer)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(privateKey)
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const now = Math.floor(Date.now() / 1000)
    const claims = { ...good, iss: oidc.issuer, iat: now, exp: now + 300 }
    const none = `${encode({ alg: 'none' })}.${encode(claims)}.`
    const shared = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: oidc.kid }).sign(Buffer.from(oidc.publicPem))
    const bad: [string, string][] = [
      ['another key', foreign],
      ['a key of its own', brought],
      ['none', none],
      ['HS256', shared],
      ['issuer', await oidc.idToken({ ...good, iss: 'https://evil.example.com' })],
      ['audience', await oidc.idToken({ ...good, aud: 'somebody-else' })],
      ['other nonce', await oidc.idToken({ ...good, nonce: 'other' })],
      ['no nonce', await oidc.idToken({ ...good, nonce: undefined })],
      ['expired', await oidc.idToken({ ...good, iat: now - 7200, exp: now - 3600 })],
    ]
    for (const [what, token] of bad) {
      const { error, data } = await client(project).auth.signInWithIdToken(body(token))
      assert.equal(data.session, null, what)
      assert.equal((error as { status?: number } | null)?.status, 400, `${what}: ${error?.message}`)
    }
    const at = await client(project).auth.signInWithIdToken(
      body(await oidc.idToken({ ...good, at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }), { access_token: 'x' }),
    )
    assert.match(at.error?.message ?? '', /at_hash/)
    const missing = await client(project).auth.signInWithIdToken({ provider, token: await oidc.idToken(good) })
    assert.match(missing.error?.message ?? '', /should either both exist or not/)
    const other = { provider, id_token: await oidc.idToken(good), nonce: 'another' }
    assert.deepEqual((await auth(project, 'POST', '/token?grant_type=id_token', { body: other })).body, {
      error: 'invalid nonce',
      error_description: 'Nonces mismatch',
    })
  })
})

test('custom providers: made, listed, used, changed, removed by the admin API; the secret is never answered', async () => {
  const admin = client(project, project.service).auth.admin.customProviders
  const identifier = 'custom:acme'
  const made = must(
    await admin.createProvider({
      provider_type: 'oidc',
      identifier,
      name: 'Acme',
      client_id: oidc.clientId,
      client_secret: oidc.secret,
      issuer: oidc.issuer,
      custom_claims_allowlist: ['groups'],
    }),
  )
  assert.deepEqual([made.identifier, made.enabled, 'client_secret' in made], [identifier, true, false])
  assert.deepEqual(
    must(await admin.listProviders({ type: 'oidc' })).providers.map((each) => each.identifier),
    [identifier],
  )
  oidc.account = somebody({ groups: ['nurses'] })
  const own = pkceClient()
  const { url } = must(await own.auth.signInWithOAuth({ provider: identifier as never, options: { skipBrowserRedirect: true } }))
  const back = await browse(url!)
  const { user } = must(await own.auth.exchangeCodeForSession(back.searchParams.get('code')!))
  assert.deepEqual([user!.app_metadata.provider, user!.user_metadata.custom_claims], [identifier, { groups: ['nurses'] }])
  assert.equal(must(await admin.updateProvider(identifier, { enabled: false })).enabled, false)
  assert.equal((await auth(project, 'GET', `/authorize?provider=${identifier}`, { key: null })).status, 400)
  assert.equal((await admin.deleteProvider(identifier)).error, null)
  assert.equal(((await admin.getProvider(identifier)).error as { code?: string } | null)?.code, 'custom_provider_not_found')
  const given = { provider_type: 'oidc', identifier: 'custom:x', name: 'x', client_id: 'x', client_secret: 'x', issuer: oidc.issuer }
  const answers: [Record<string, unknown>, string][] = [
    [{ provider_type: 'saml' }, "provider_type must be either 'oauth2' or 'oidc'"],
    [{ identifier: '' }, 'identifier is required'],
    [{ identifier: 'x' }, "identifier must start with 'custom:' prefix, e.g. 'custom:x'"],
    [{ name: '' }, 'name is required'],
    [{ client_id: null }, 'client_id is required'],
    [{ client_secret: undefined }, 'client_secret is required'],
    [{ issuer: undefined }, 'issuer is required for OIDC providers'],
    [{ provider_type: 'oauth2' }, 'authorization_url is required for OAuth2 providers'],
    [{ authorization_params: { state: 'x' } }, 'Cannot override reserved OAuth parameter: state'],
    [{ attribute_mapping: { role: 'groups' } }, 'Cannot map to protected system field: role'],
    [{ issuer: 'http://issuer.example.org' }, 'the provider is not asked without TLS'],
  ]
  for (const [change, message] of answers) {
    const bad = await auth(project, 'POST', '/admin/custom-providers', { key: project.service, body: { ...given, ...change } })
    assert.deepEqual([bad.status, bad.body.error_code, bad.body.msg], [400, 'validation_failed', message])
  }
  const once = () => auth(project, 'POST', '/admin/custom-providers', { key: project.service, body: given })
  const shown = (await once()).body
  assert.deepEqual([shown.scopes, shown.attribute_mapping, shown.pkce_enabled], [['openid'], {}, true])
  const twice = await once()
  assert.deepEqual([twice.status, twice.body.error_code], [400, 'conflict'])
  for (const path of ['/x', '?type=x'])
    assert.equal(
      (await auth(project, 'GET', `/admin/custom-providers${path}`, { key: project.service })).body.error_code,
      'validation_failed',
    )
  assert.equal((await auth(project, 'DELETE', '/admin/custom-providers/custom:x', { key: project.service })).status, 204)
})

test('an OAuth server for others, and Web3, are off: each of their doors says so in the words that clients know', async () => {
  const email = `off-${++count}@example.org`
  const admin = client(project, project.service).auth.admin
  must(await admin.createUser({ email, password: PASSWORD, email_confirm: true }))
  const own = client(project)
  const token = must(await own.auth.signInWithPassword({ email, password: PASSWORD })).session!.access_token
  const id = '00000000-0000-4000-8000-000000000001'
  const doors: [method: string, path: string, options: Parameters<typeof auth>[3]][] = [
    ['GET', `/oauth/authorizations/${id}`, { token }],
    ['POST', `/oauth/authorizations/${id}/consent`, { token, body: { action: 'approve' } }],
    ['GET', '/user/oauth/grants', { token }],
    ['DELETE', `/user/oauth/grants?client_id=${id}`, { token }],
    ['GET', '/oauth/userinfo', { token }],
    ['GET', '/oauth/authorize?client_id=x', { key: null }],
    ['POST', '/oauth/token', { key: null, body: {} }],
    ['POST', '/oauth/clients/register', { key: null, body: {} }],
    ['GET', '/.well-known/oauth-authorization-server', { key: null }],
    ['GET', '/admin/oauth/clients', { key: project.service }],
    ['POST', '/admin/oauth/clients', { key: project.service, body: {} }],
    ['GET', `/admin/oauth/clients/${id}`, { key: project.service }],
    ['PUT', `/admin/oauth/clients/${id}`, { key: project.service, body: {} }],
    ['DELETE', `/admin/oauth/clients/${id}`, { key: project.service }],
    ['POST', `/admin/oauth/clients/${id}/regenerate_secret`, { key: project.service }],
  ]
  for (const [method, path, options] of doors) {
    const { status, body } = await auth(project, method, path, options)
    assert.deepEqual([path, status, body.error_code, body.msg], [path, 404, 'feature_disabled', 'OAuth server is disabled'])
  }
  assert.equal((await auth(project, 'GET', '/admin/oauth/clients')).body.error_code, 'not_admin')
  assert.equal((await own.auth.oauth.listGrants()).error?.message, 'OAuth server is disabled')
  const web3 = await own.auth.signInWithWeb3({ chain: 'solana', message: 'm', signature: new Uint8Array(64) })
  assert.deepEqual(
    [web3.error?.status, web3.error?.code, web3.error?.message],
    [422, 'web3_provider_disabled', 'Web3 provider is disabled'],
  )
})
