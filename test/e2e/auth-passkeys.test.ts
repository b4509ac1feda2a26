/** Passkeys by Chromium's virtual authenticator; the requests are the unmodified client's. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Browser, type CDPSession, chromium, type Page } from 'playwright-core'
import { auth, client, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'

const BROWSER = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
const skip = BROWSER || process.env.CI === 'true' ? false : 'chromium is not installed: run scripts/test-tools.sh'
/** The client as pages load it. */
const CLIENT = join(dirname(createRequire(import.meta.url).resolve('@supabase/supabase-js/package.json')), 'dist/umd/supabase.js')
const PASSWORD = 'correct horse battery'
let server: TestServer
let project: TestProject
let pages: Server
let browser: Browser
let page: Page
let cdp: CDPSession
let origin = ''
let authenticatorId = ''

async function addAuthenticator(transport: 'internal' | 'usb'): Promise<string> {
  const added = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport,
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  return added.authenticatorId
}

before(async () => {
  if (skip) return
  pages = createServer((_request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<title>app</title>'))
  await new Promise<void>((done) => pages.listen(0, '127.0.0.1', done))
  origin = `http://localhost:${(pages.address() as AddressInfo).port}`
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'passkeys')
  await settings(server, project, { site_url: origin })
  browser = await chromium.launch({ ...(BROWSER ? { executablePath: BROWSER } : {}), headless: true, args: ['--no-sandbox'] })
  page = await browser.newPage()
  await page.goto(origin)
  cdp = await page.context().newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  authenticatorId = await addAuthenticator('internal')
})
after(async () => {
  await browser?.close()
  await server?.stop()
  pages?.closeAllConnections()
  await new Promise((done) => (pages ? pages.close(done) : done(null)))
})

function must<A extends { data: unknown; error: unknown }>(answer: A): NonNullable<Extract<A, { error: null }>['data']> {
  assert.equal(answer.error, null, JSON.stringify(answer.error))
  return answer.data as NonNullable<Extract<A, { error: null }>['data']>
}

const codeOf = (answer: { error: unknown }) => (answer.error as { code?: string } | null)?.code
const create = (options: object, at: Page = page) =>
  at.evaluate(
    `navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(${JSON.stringify(options)}) }).then((c) => c.toJSON())`,
  ) as Promise<never>
const get = (options: object) =>
  page.evaluate(
    `navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(${JSON.stringify(options)}) }).then((c) => c.toJSON())`,
  ) as Promise<never>

const own = () => client(project, project.anon, { experimental: { passkey: true } })

async function person(email: string) {
  must(await client(project, project.service).auth.admin.createUser({ email, password: PASSWORD, email_confirm: true }))
  const one = own()
  const { user } = must(await one.auth.signInWithPassword({ email, password: PASSWORD }))
  return { one, id: user!.id }
}

test('off: in the words of the dialect', { skip }, async () => {
  const answer = await auth(project, 'POST', '/passkeys/authentication/options', { body: {} })
  assert.deepEqual([answer.status, answer.body.error_code], [404, 'passkey_disabled'])
  await settings(server, project, { passkeys: { enabled: true, rp_name: 'App' }, rates: { sign_ins: 1000, verifications: 1000 } })
  assert.equal((await auth(project, 'GET', '/settings')).body.passkeys_enabled, true)
})

test('registered, used in place of a password, named, listed, removed; each challenge is good once', { skip }, async () => {
  const { one, id } = await person('ada@example.org')
  const begun = must(await one.auth.passkey.startRegistration())
  const credential = await create(begun.options)
  const made = must(await one.auth.passkey.verifyRegistration({ challengeId: begun.challenge_id, credential }))
  assert.ok(made.id)
  const replay = await one.auth.passkey.verifyRegistration({ challengeId: begun.challenge_id, credential })
  assert.equal(codeOf(replay), 'webauthn_challenge_not_found')

  const stranger = own()
  const asked = must(await stranger.auth.passkey.startAuthentication())
  const answer = await get(asked.options)
  const entered = must(await stranger.auth.passkey.verifyAuthentication({ challengeId: asked.challenge_id, credential: answer }))
  assert.equal(entered.user?.id, id)
  assert.equal((must(await stranger.auth.getClaims()).claims.amr as { method: string }[])[0]!.method, 'passkey')
  const again = await own().auth.passkey.verifyAuthentication({ challengeId: asked.challenge_id, credential: answer })
  assert.equal(codeOf(again), 'webauthn_challenge_not_found')

  // An answer to one challenge is none to another.
  const other = must(await own().auth.passkey.startAuthentication())
  assert.equal(
    codeOf(await own().auth.passkey.verifyAuthentication({ challengeId: other.challenge_id, credential: answer })),
    'webauthn_verification_failed',
  )

  assert.equal(must(await one.auth.passkey.update({ passkeyId: made.id, friendlyName: 'Laptop' })).friendly_name, 'Laptop')
  const [listed] = must(await one.auth.passkey.list())
  assert.deepEqual([listed!.friendly_name, Boolean(listed!.last_used_at)], ['Laptop', true])
  const admin = client(project, project.service, { experimental: { passkey: true } }).auth.admin.passkey
  assert.equal(must(await admin.listPasskeys({ userId: id })).length, 1)

  // Another user neither sees nor changes it.
  const { one: bob } = await person('bob@example.org')
  assert.deepEqual(must(await bob.auth.passkey.list()), [])
  assert.equal(codeOf(await bob.auth.passkey.delete({ passkeyId: made.id })), 'webauthn_credential_not_found')
  // A registration that another began is not his.
  const theirs = must(await one.auth.passkey.startRegistration())
  const stolen = await auth(project, 'POST', '/passkeys/registration/verify', {
    token: must(await bob.auth.getSession()).session!.access_token,
    body: { challenge_id: theirs.challenge_id, credential },
  })
  assert.deepEqual([stolen.status, stolen.body.error_code], [400, 'webauthn_challenge_not_found'])

  assert.equal((await one.auth.passkey.delete({ passkeyId: made.id })).error, null)
  const gone = must(await own().auth.passkey.startAuthentication())
  const late = await own().auth.passkey.verifyAuthentication({ challengeId: gone.challenge_id, credential: await get(gone.options) })
  assert.equal(codeOf(late), 'webauthn_verification_failed')
})

test('a page of another origin, and a banned user, do not come in', { skip }, async () => {
  await cdp.send('WebAuthn.clearCredentials', { authenticatorId })
  const { one, id } = await person('eve@example.org')
  const begun = must(await one.auth.passkey.startRegistration())
  const credential = await create(begun.options)
  must(await one.auth.passkey.verifyRegistration({ challengeId: begun.challenge_id, credential }))
  const asked = must(await own().auth.passkey.startAuthentication())
  await settings(server, project, { passkeys: { enabled: true, rp_id: 'localhost', origins: ['http://localhost:1'] } })
  const foreign = await own().auth.passkey.verifyAuthentication({ challengeId: asked.challenge_id, credential: await get(asked.options) })
  assert.equal(codeOf(foreign), 'webauthn_verification_failed')
  await settings(server, project, { passkeys: { enabled: true } })
  must(await client(project, project.service).auth.admin.updateUserById(id, { ban_duration: '1h' }))
  const second = must(await own().auth.passkey.startAuthentication())
  const banned = await own().auth.passkey.verifyAuthentication({ challengeId: second.challenge_id, credential: await get(second.options) })
  assert.equal(codeOf(banned), 'user_banned')
})

/** What the client answers in the page; only what the tests look at. */
interface Shown {
  readonly error: { readonly code: string } | null
  readonly data: {
    readonly type: string
    readonly total: number
    readonly remaining: number
    readonly codes: readonly string[]
    readonly claims: { readonly aal: string; readonly amr: readonly { readonly method: string }[] }
    readonly webauthn: readonly [
      { readonly id: string; readonly status: string; readonly friendly_name: string; readonly factor_type: string },
    ]
    readonly nextLevel: string
    readonly session: { readonly access_token: string }
  }
}

/** A page of the application with the unmodified client, signed in. */
async function appPage(email: string): Promise<(script: string) => Promise<Shown>> {
  await page.goto(origin)
  await page.addScriptTag({ path: CLIENT })
  const run = (script: string) =>
    page.evaluate(
      `(async () => { const { auth } = window.own; const answer = await (${script}); return { ...answer, error: answer.error && { ...answer.error, code: answer.error.code, message: answer.error.message } } })()`,
    ) as Promise<never>
  await page.evaluate(
    `window.own = supabase.createClient(${JSON.stringify(project.url)}, ${JSON.stringify(project.anon)}, { auth: { persistSession: false, autoRefreshToken: false, experimental: { recoveryCodes: true } } })`,
  )
  const signedIn: Shown = await run(`auth.signInWithPassword({ email: '${email}', password: '${PASSWORD}' })`)
  assert.equal(signedIn.error, null)
  return run
}

test('a second factor: registered and shown by the client in the page; each challenge is good once', { skip }, async () => {
  // The client asks for a key that is not of the device.
  await addAuthenticator('usb')
  const { one, id } = await person('grace@example.org')
  const off = await one.auth.mfa.enroll({ factorType: 'webauthn', friendlyName: 'Key' })
  assert.equal(codeOf(off), 'mfa_webauthn_enroll_not_enabled')
  await settings(server, project, { mfa_webauthn: true })
  const app = await appPage('grace@example.org')
  const registered = await app("auth.mfa.webauthn.register({ friendlyName: 'Key' })")
  assert.equal(registered.error, null, JSON.stringify(registered.error))
  const claims = await app('auth.getClaims()')
  assert.deepEqual(
    [claims.data.claims.aal, claims.data.claims.amr.map(({ method }) => method).sort()],
    ['aal2', ['mfa/webauthn', 'password']],
  )

  // Somebody who knows the password shows the key too, in a session of their own.
  const next = await appPage('grace@example.org')
  const factors = await next('auth.mfa.listFactors()')
  const factor = factors.data.webauthn[0]
  assert.deepEqual([factor.status, factor.friendly_name, factor.factor_type], ['verified', 'Key', 'webauthn'])
  assert.equal((await next('auth.mfa.getAuthenticatorAssuranceLevel()')).data.nextLevel, 'aal2')
  const shown = await next(`auth.mfa.webauthn.authenticate({ factorId: '${factor.id}' })`)
  assert.equal(shown.error, null, JSON.stringify(shown.error))
  assert.equal((await next('auth.getClaims()')).data.claims.aal, 'aal2')

  // Codes on paper stand for it.
  const codes = await next('auth.mfa.recoveryCodes.generate()')
  assert.deepEqual([codes.error, codes.data.type, codes.data.total, codes.data.codes.length], [null, 'recovery_code', 10, 10])
  const lost = await appPage('grace@example.org')
  assert.equal((await lost('auth.mfa.recoveryCodes.getStatus()')).data.remaining, 10)
  assert.equal((await lost('auth.mfa.recoveryCodes.regenerate()')).error?.code, 'insufficient_aal')
  const spoken = codes.data.codes[0]!.toLowerCase().replaceAll('-', ' ')
  assert.equal((await lost(`auth.mfa.recoveryCodes.verify({ code: '${spoken}' })`)).error, null)
  assert.deepEqual((await lost('auth.getClaims()')).data.claims.amr.map(({ method }) => method).sort(), ['mfa/recovery_code', 'password'])
  assert.equal((await lost('auth.mfa.recoveryCodes.getStatus()')).data.remaining, 9)
  assert.equal((await lost('auth.mfa.recoveryCodes.regenerate()')).data.codes.length, 10)
  assert.equal((await lost('auth.mfa.recoveryCodes.unenroll()')).error, null)
  assert.equal((await lost('auth.mfa.recoveryCodes.getStatus()')).error?.code, 'mfa_factor_not_found')
  const kept = await project.sql('select web_authn_credential->$2 as n from auth.mfa_factors where user_id = $1', [id, 'publicKey'])
  assert.ok(kept[0]?.n)
})

test('a second factor: no other credential, challenge, kind of answer or session', { skip }, async () => {
  const { one } = await person('mallory@example.org')
  const token = must(await one.auth.getSession()).session!.access_token
  const call = (path: string, body: object) => auth(project, 'POST', `/factors${path}`, { token, body })
  const factor = String((await call('', { factor_type: 'webauthn', friendly_name: 'Mine' })).body.id)
  const begin = async () =>
    (await call(`/${factor}/challenge`, {})).body as { id: string; webauthn: { type: string; credential_options: { publicKey: object } } }
  const begun = await begin()
  assert.equal(begun.webauthn.type, 'create')
  const credential = await create(begun.webauthn.credential_options.publicKey)
  const verify = (challenge_id: string, type: string, response: unknown) =>
    call(`/${factor}/verify`, { challenge_id, webauthn: { type, credential_response: response } })
  const wrong = async (what: string, answer: Promise<{ status: number; body: Record<string, unknown> }>, status: number, code: string) => {
    const { status: got, body } = await answer
    assert.deepEqual([what, got, body.error_code], [what, status, code])
  }
  const other = await begin()
  await wrong('another challenge', verify(other.id, 'create', credential), 422, 'mfa_verification_failed')
  await wrong('the wrong kind', verify(begun.id, 'request', credential), 422, 'mfa_verification_failed')
  await wrong('used up by that', verify(begun.id, 'create', credential), 422, 'mfa_factor_not_found')
  await wrong('no answer', verify((await begin()).id, 'create', {}), 400, 'validation_failed')
  const last = await begin()
  const good = await verify(last.id, 'create', await create(last.webauthn.credential_options.publicKey))
  assert.equal(good.status, 200, JSON.stringify(good.body))
  await wrong('twice', verify(last.id, 'create', credential), 422, 'mfa_factor_not_found')
  // A verified factor does not become another one.
  const again = await begin()
  assert.equal(again.webauthn.type, 'request')
  await wrong('made anew', verify(again.id, 'create', credential), 422, 'mfa_verification_failed')
  // Another user's session.
  const { one: bob } = await person('bob2@example.org')
  const theirs = must(await bob.auth.getSession()).session!.access_token
  assert.equal(
    (await auth(project, 'POST', `/factors/${factor}/challenge`, { token: theirs, body: {} })).body.error_code,
    'mfa_factor_not_found',
  )
})

test('a project demands the second factor: of those who have one, or of everybody', { skip }, async () => {
  const { one } = await person('plain@example.org')
  const plain = must(await one.auth.getSession()).session!.access_token
  const { one: strong } = await person('grace2@example.org')
  const app = await appPage('grace2@example.org')
  assert.equal((await app("auth.mfa.webauthn.register({ friendlyName: 'Key' })")).error, null)
  const aal2 = (await app('auth.getSession()')).data.session.access_token
  const weak = () =>
    strong.auth.signInWithPassword({ email: 'grace2@example.org', password: PASSWORD }).then((answer) => must(answer).session!.access_token)
  const status = async (token: string | undefined) =>
    (await rest(project, project.anon, 'GET', '/', token === undefined ? {} : { token })).status
  assert.deepEqual([await status(await weak()), await status(plain)], [200, 200])
  await settings(server, project, { mfa_enforced: 'enrolled' })
  const due = await weak()
  const refused = await rest(project, project.anon, 'GET', '/', { token: due })
  assert.deepEqual([refused.status, (refused.body as { code: string }).code], [403, 'mfa_required'])
  assert.deepEqual([await status(plain), await status(aal2)], [200, 200])
  assert.equal((await auth(project, 'GET', '/user', { token: due })).status, 200, 'there it can be shown')
  await settings(server, project, { mfa_enforced: 'all' })
  assert.deepEqual([await status(plain), await status(aal2), await status(undefined)], [403, 200, 200])
  await settings(server, project, { mfa_enforced: null })
})
