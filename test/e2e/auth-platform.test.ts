/** Members of the platform by the same API and the same unmodified client as users of projects: password, sessions, second factor, mails. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AuthClient } from '@supabase/supabase-js'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { stepAt, totp } from '../../packages/server/src/realms/auth/totp.ts'
import { startServer, type TestServer } from '../node.ts'

const EMAIL = 'owner@example.org'
const PASSWORD = 'correct horse battery'
let server: TestServer
const cli = makeCli(() => server.dataDir)

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  const token = /setup\?token=([\w-]+)/.exec(server.output())?.[1] ?? ''
  const body = new URLSearchParams({ token, email: EMAIL, password: PASSWORD, organisation: 'acme' })
  const headers = { 'content-type': 'application/x-www-form-urlencoded', origin: server.url }
  const done = await fetch(`${server.url}/setup`, { method: 'POST', body: body.toString(), headers, redirect: 'manual' })
  assert.ok(done.status < 400, await done.text())
})
after(async () => {
  await server?.stop()
  cli.remove()
})

const member = () => new AuthClient({ url: `${server.url}/auth/v1`, persistSession: false, autoRefreshToken: false })
const control = (token: string) => server.api('GET', '/session', undefined, { token })

test('a member signs in, is known to the control API, refreshes, changes the password, signs out', async () => {
  const own = member()
  const wrong = await own.signInWithPassword({ email: EMAIL, password: 'no' })
  assert.deepEqual([wrong.error?.code, wrong.error?.message], ['invalid_credentials', 'Invalid login credentials'])
  const { data, error } = await own.signInWithPassword({ email: EMAIL, password: PASSWORD })
  assert.equal(error, null)
  assert.equal(data.user?.email, EMAIL)
  assert.equal((await control(data.session!.access_token)).status, 200)
  const next = (await own.refreshSession()).data.session!
  assert.equal((await control(next.access_token)).status, 200)
  // One store: a session of either door is renewed at the other.
  const other = await server.api<{ refresh_token: string }>('POST', '/session/refresh', { refresh_token: next.refresh_token })
  assert.equal(other.status, 200)
  const second = member()
  const elsewhere = (await second.signInWithPassword({ email: EMAIL, password: PASSWORD })).data.session!
  assert.equal((await own.updateUser({ password: `${PASSWORD}!` })).error, null)
  assert.equal((await control(elsewhere.access_token)).status, 401, 'the other sessions end')
  assert.equal((await own.updateUser({ password: PASSWORD })).error, null)
  assert.equal((await own.signOut()).error, null)
  assert.equal((await control(next.access_token)).status, 401)
  const gone = await fetch(`${server.url}/auth/v1/user`, { headers: { authorization: `Bearer ${next.access_token}` } })
  assert.equal(gone.status, 403)
})

test('nobody makes an account, nobody is administered, no key is shown', async () => {
  const own = member()
  assert.equal((await own.signUp({ email: 'eve@example.org', password: PASSWORD })).error?.code, 'signup_disabled')
  assert.equal((await own.signInAnonymously()).error?.code, 'anonymous_provider_disabled')
  const status = async (path: string, init: RequestInit = {}) => (await fetch(`${server.url}/auth/v1${path}`, init)).status
  assert.equal(await status('/admin/users', { headers: { authorization: `Bearer ${server.localToken}` } }), 404)
  assert.equal(await status('/user'), 401)
  assert.equal(await status('/user', { headers: { authorization: `Bearer ${server.localToken}` } }), 403)
  const keys = await fetch(`${server.url}/auth/v1/.well-known/jwks.json`)
  assert.deepEqual(await keys.json(), { keys: [] })
  const shown = (await (await fetch(`${server.url}/auth/v1/settings`)).json()) as { disable_signup: boolean }
  assert.equal(shown.disable_signup, true)
  assert.equal(await status('/otp', { method: 'POST', body: JSON.stringify({ email: 'eve@example.org' }) }), 422)
  assert.equal((await own.resetPasswordForEmail(EMAIL)).error, null)
  assert.equal((await own.resetPasswordForEmail('eve@example.org')).error, null)
})

test('a second factor is asked for everywhere, by the command line too', async () => {
  const own = member()
  await own.signInWithPassword({ email: EMAIL, password: PASSWORD })
  const enrolled = (await own.mfa.enroll({ factorType: 'totp', friendlyName: 'app' })).data!
  const { secret } = enrolled.totp
  const code = () => totp(secret, stepAt(Date.now()))
  const first = await own.mfa.challengeAndVerify({ factorId: enrolled.id, code: code() })
  assert.equal(first.error, null)
  assert.equal((await control(first.data!.access_token)).status, 200)

  const weak = (await member().signInWithPassword({ email: EMAIL, password: PASSWORD })).data.session!
  const refused = await server.api<{ code: string }>('GET', '/session', undefined, { token: weak.access_token })
  assert.deepEqual([refused.status, refused.body.code], [403, 'mfa_required'])
  // The code of the next step: that of this one was used.
  const later = totp(secret, stepAt(Date.now()) + 1)
  const signedIn = await cli.run(['login', server.url, '--name', 'mine', '--email', EMAIL], { input: `${PASSWORD}\n${later}\n` })
  assert.equal(signedIn.code, 0, signedIn.err)
  assert.match((await cli.run(['whoami'])).out, /owner@example\.org/)
})
