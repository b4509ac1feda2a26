/** Passkeys by Chromium's virtual authenticator; the requests are the unmodified client's. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { type Browser, type CDPSession, chromium, type Page } from 'playwright-core'
import { auth, client, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, type TestProject } from '../project.ts'

const BROWSER = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
const skip = BROWSER || process.env.CI === 'true' ? false : 'chromium is not installed: run scripts/test-tools.sh'
const PASSWORD = 'correct horse battery'
let server: TestServer
let project: TestProject
let pages: Server
let browser: Browser
let page: Page
let cdp: CDPSession
let origin = ''
let authenticatorId = ''

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
  const added = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  authenticatorId = added.authenticatorId
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
