/** `sovra login` of members who have passkeys and security keys alone, through a real browser with a virtual authenticator. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { AuthClient } from '@supabase/supabase-js'
import { type Browser, chromium, type Page } from 'playwright-core'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { startServer, type TestServer } from '../node.ts'
import { until } from '../until.ts'

const BROWSER = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
const skip = BROWSER || process.env.CI === 'true' ? false : 'chromium is not installed: run scripts/test-tools.sh'
const EMAIL = 'owner@example.org'
const PASSWORD = 'correct horse battery'
let server: TestServer
let browser: Browser
let page: Page
/** The authenticator is a new one: none takes a second passkey of one account. */
let forget = async (): Promise<unknown> => undefined
/** By its name: authenticators know no addresses. */
let url = ''
const cli = makeCli(() => server.dataDir)

before(async () => {
  if (skip) return
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  url = server.url.replace('127.0.0.1', 'localhost')
  const token = /setup\?token=([\w-]+)/.exec(server.output())?.[1] ?? ''
  const body = new URLSearchParams({ token, email: EMAIL, password: PASSWORD, organisation: 'acme' })
  const headers = { 'content-type': 'application/x-www-form-urlencoded', origin: server.url }
  await fetch(`${server.url}/setup`, { method: 'POST', body: body.toString(), headers, redirect: 'manual' })
  const patch = {
    passkeys: { enabled: true, rp_id: 'localhost', origins: [url] },
    mfa_webauthn: true,
    rates: { sign_ins: 1000, verifications: 1000 },
  }
  assert.equal((await server.api('PATCH', '/platform/settings/auth', patch)).status, 200)
  browser = await chromium.launch({ ...(BROWSER ? { executablePath: BROWSER } : {}), headless: true, args: ['--no-sandbox'] })
  page = await browser.newPage()
  await page.goto(`${url}/authenticator`)
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true } as const
  const shown = { ...options, isUserVerified: true, automaticPresenceSimulation: true }
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options: shown })
  forget = () => cdp.send('WebAuthn.clearCredentials', { authenticatorId })
})
after(async () => {
  await browser?.close()
  await server?.stop()
  cli.remove()
})

const create = (options: object) =>
  page.evaluate(
    `navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(${JSON.stringify(options)}) }).then((c) => c.toJSON())`,
  ) as Promise<never>
const member = () =>
  new AuthClient({ url: `${url}/auth/v1`, autoRefreshToken: false, persistSession: false, experimental: { passkey: true } })

/** One command, with a person who presses the button of the page that it opens. */
async function inBrowser(words: string[], input = '', change = (address: string) => address) {
  const running = cli.start([...words, '--no-browser'], { input })
  const address = await until(async () => /^ {2}(http\S+)/m.exec(running.err())?.[1])
  await page.goto('about:blank')
  await page.goto(change(address))
  if (await page.locator('button').isVisible()) await page.click('button')
  return { running, address }
}

test('by a passkey; a token too; the page answers to this machine alone', { skip }, async () => {
  const own = member()
  await own.signInWithPassword({ email: EMAIL, password: PASSWORD })
  const begun = (await own.passkey.startRegistration()).data!
  const made = await own.passkey.verifyRegistration({ challengeId: begun.challenge_id, credential: await create(begun.options) })
  assert.equal(made.error, null)

  const { running } = await inBrowser(['login', url, '--name', 'mine', '--passkey'])
  const done = await running.ended
  assert.equal(done.code, 0, done.err)
  assert.match((await cli.run(['whoami'])).out, /owner@example\.org/)
  const more = await (await inBrowser(['tokens', 'create', 'ci', '--passkey'])).running.ended
  assert.match(more.out, /^sovra_pat_/, more.err)

  const elsewhere = (address: string) => {
    const [at = '', wish = ''] = address.split('#')
    const said = JSON.parse(Buffer.from(wish, 'base64url').toString())
    return `${at}#${Buffer.from(JSON.stringify({ ...said, to: 'https://evil.example.com/sovra' })).toString('base64url')}`
  }
  const lured = await inBrowser(['login', url, '--name', 'other', '--passkey'], '', elsewhere)
  assert.equal(await page.locator('button').isVisible(), false)
  assert.match((await page.locator('[role=status]').textContent()) ?? '', /link/i)
  const to = JSON.parse(Buffer.from(lured.address.split('#')[1] ?? '', 'base64url').toString()).to as string
  assert.equal((await fetch(`${to}?code=abc&state=guess`)).status, 404, 'what another page brings is not taken')
  assert.equal((await fetch(`${to}?code=abc`)).status, 404)
  await page.goto('about:blank')
  await page.goto(lured.address)
  await page.click('button')
  assert.equal((await lured.running.ended).code, 0)
})

test('made, listed and removed by the command line', { skip }, async () => {
  await forget()
  const { running } = await inBrowser(['passkeys', 'add', 'laptop'], `${PASSWORD}\n`)
  const done = await running.ended
  assert.deepEqual([done.code, done.out.trim()], [0, 'The passkey laptop is yours.'], done.err)
  const listed = async () => JSON.parse((await cli.run(['passkeys', 'list', '--json'], { input: `${PASSWORD}\n` })).out)
  const found = (await listed()) as { id: string; friendly_name: string }[]
  const id = found.find(({ friendly_name }) => friendly_name === 'laptop')?.id ?? ''
  const wrong = await cli.run(['passkeys', 'remove', id], { input: 'wrong\n' })
  assert.notEqual(wrong.code, 0)
  assert.equal((await cli.run(['passkeys', 'remove', id], { input: `${PASSWORD}\n` })).code, 0)
  assert.equal((await listed()).length, found.length - 1)
})

test('a security key as the second factor of a password', { skip }, async () => {
  const own = member()
  await own.signInWithPassword({ email: EMAIL, password: PASSWORD })
  await page.goto(`${url}/authenticator`)
  const { data: factor } = await own.mfa.enroll({ factorType: 'webauthn', friendlyName: 'key' })
  const token = (await own.getSession()).data.session!.access_token
  const asked = await fetch(`${url}/auth/v1/factors/${factor!.id}/challenge`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: '{}',
  })
  const made = (await asked.json()) as { id: string; webauthn: { credential_options: { publicKey: object } } }
  const credential = await create(made.webauthn.credential_options.publicKey)
  const verified = await fetch(`${url}/auth/v1/factors/${factor!.id}/verify`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ challenge_id: made.id, webauthn: { type: 'create', credential_response: credential } }),
  })
  assert.equal(verified.status, 200, await verified.text())

  const { running } = await inBrowser(['login', url, '--name', 'strong', '--email', EMAIL], `${PASSWORD}\n`)
  const done = await running.ended
  assert.equal(done.code, 0, done.err)
})
