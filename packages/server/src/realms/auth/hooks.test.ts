import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, test } from 'node:test'
import { isSovraError } from '../../base/errors.ts'
import { eachRealm } from '../realm.testing.ts'
import { createUser } from './admin.ts'
import { generateLink, invite } from './admin-links.ts'
import { verifyFactor } from './factor-verify.ts'
import { challenge, enroll } from './factors.ts'
import { sendOtp } from './otp.ts'
import { startReceiver, testRealm } from './realm.testing.ts'
import { refresh } from './refresh.ts'
import { signInByPassword } from './sign-in.ts'
import { signInAnonymously, signUp } from './sign-up.ts'
import { stepAt, totp } from './totp.ts'

let receiver: Awaited<ReturnType<typeof startReceiver>>
before(async () => {
  receiver = await startReceiver()
})
after(() => receiver?.close())

const PASSWORD = 'correct horse'
const KEY = Buffer.alloc(24, 3)
const secret = `v1,whsec_${KEY.toString('base64')}`
const code = (name: string, message?: RegExp) => (error: unknown) => {
  assert.ok(isSovraError(error), String(error))
  assert.equal(error.code, name)
  if (message) assert.match(error.message, message)
  return true
}
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>

eachRealm((_name, open) => {
  test('a URL adds to the claims, signed; it says nothing of whose token it is', async () => {
    const hooks = { custom_access_token: { uri: `${receiver.url}/claims`, secret: `${secret}|${secret}` } }
    const realm = testRealm(await open(), { email_autoconfirm: true, hooks }, receiver.fetch)
    receiver.answer = ({ body }) => {
      const { claims } = JSON.parse(body) as { claims: object }
      return { body: { claims: { ...claims, role: 'editor', sub: 'somebody', iss: 'elsewhere', session_id: 'x', level: 3 } } }
    }
    const made = await signUp(realm, { email: 'a@example.org', password: PASSWORD, data: {}, redirectTo: null, pkce: null })
    assert.ok('grant' in made)
    const claims = claimsOf(made.grant.accessToken)
    assert.deepEqual(
      [claims.role, claims.level, claims.sub, claims.iss, claims.session_id],
      ['editor', 3, made.grant.person.user.id, realm.issuer, made.grant.sessionId],
    )
    const call = receiver.calls.at(-1)!
    const signed = `${call.headers['webhook-id']}.${call.headers['webhook-timestamp']}.${call.body}`
    const expected = `v1,${createHmac('sha256', KEY).update(signed).digest('base64')}`
    assert.equal(call.headers['webhook-signature'], `${expected} ${expected}`)
    const { authentication_method, metadata } = JSON.parse(call.body)
    assert.deepEqual([authentication_method, metadata.name, metadata.ip_address], ['password', 'customize-access-token', '192.0.2.1'])
    const next = await refresh(realm, made.grant.refreshToken)
    assert.equal(claimsOf(next.accessToken).level, 3)
    assert.equal(JSON.parse(receiver.calls.at(-1)!.body).authentication_method, 'token_refresh')
  })

  test('a hook that refuses, answers nonsense or is away lets nobody in, and leaves no session', async () => {
    const transact = await open()
    const realm = testRealm(transact, { hooks: { custom_access_token: { uri: `${receiver.url}/claims` } } }, receiver.fetch)
    const { user } = await createUser(realm, { email: 'b@example.org', password: PASSWORD, email_confirm: true })
    const enter = () => signInByPassword(realm, { email: 'b@example.org', password: PASSWORD })
    const answers: [ReturnType<typeof receiver.answer>, string, RegExp?][] = [
      [{ body: { error: { http_code: 403, message: 'not today' } } }, 'auth_hook_refused_403', /^not today$/],
      [{ body: { error: { http_code: 401 } } }, 'auth_hook_refused_401'],
      [{ body: { error: { http_code: 409 } } }, 'auth_hook_refused_409'],
      [{ body: { error: { http_code: 418 } } }, 'auth_hook_refused_400'],
      [{ body: { error: {} } }, 'auth_hook_refused_500'],
      [{ body: { claims: { role: 'x' } } }, 'auth_hook_refused_500', /aud is required/],
      [{ body: 'hello', headers: { 'content-type': 'text/plain' } }, 'auth_hook_payload_invalid_content_type'],
      [{ body: 'hello' }, 'auth_hook_failed'],
      [{ body: {}, status: 500 }, 'auth_hook_failed'],
      [{ body: {}, status: 503, headers: { 'retry-after': '0' } }, 'auth_hook_timeout_after_retry'],
    ]
    for (const [answer, name, message] of answers) {
      receiver.answer = () => answer
      await assert.rejects(enter(), code(name, message))
    }
    assert.deepEqual(await transact((store) => store.sessionsOf(user.id)), [])
    assert.equal(realm.ended.length, answers.length)
    let tries = 0
    receiver.answer = ({ body }) =>
      ++tries < 3 ? { status: 503, headers: { 'retry-after': '0' }, body: '' } : { body: { claims: JSON.parse(body).claims } }
    assert.ok((await enter()).grant.accessToken)
  })

  test('before somebody is made', async () => {
    const transact = await open()
    const hooks = { before_user_created: { uri: `${receiver.url}/before`, secret } }
    const realm = testRealm(transact, { hooks, anonymous_users: true }, receiver.fetch)
    receiver.answer = () => ({ body: { error: { http_code: 422, message: 'members only' } } })
    const refused = code('auth_hook_refused_422', /members only/)
    await assert.rejects(
      signUp(realm, { email: 'c@example.org', password: PASSWORD, data: { a: 1 }, redirectTo: null, pkce: null }),
      refused,
    )
    await assert.rejects(signInAnonymously(realm, {}), refused)
    await assert.rejects(sendOtp(realm, { email: 'd@example.org', data: {}, createUser: true, redirectTo: null, pkce: null }), refused)
    const link = (type: string) =>
      generateLink(realm, { type, email: 'e@example.org', newEmail: null, password: PASSWORD, data: {}, redirectTo: null })
    for (const type of ['signup', 'invite', 'magiclink']) await assert.rejects(link(type), refused)
    await assert.rejects(invite(realm, { email: 'f@example.org', data: {}, redirectTo: null }), refused)
    assert.equal(await transact((store) => store.countUsers()), 0)
    const [first] = receiver.calls
      .slice(-7)
      .map(({ body }) => JSON.parse(body) as { metadata: { name: string }; user: { email: string; user_metadata: object } })
    assert.deepEqual(
      [first?.metadata.name, first?.user.email, first?.user.user_metadata],
      ['before-user-created', 'c@example.org', { a: 1 }],
    )
    const calls = receiver.calls.length
    await createUser(realm, { email: 'e@example.org', password: PASSWORD, email_confirm: true })
    assert.equal((await link('magiclink')).type, 'magiclink')
    assert.equal(receiver.calls.length, calls, 'not for whom an administrator makes, nor for whom there is')
    receiver.answer = () => ({ body: {} })
    assert.ok('person' in (await signUp(realm, { email: 'c@example.org', password: PASSWORD, data: {}, redirectTo: null, pkce: null })))
  })

  test('attempts at passwords and codes are told, and may be refused', async () => {
    const transact = await open()
    const uri = `${receiver.url}/attempt`
    const realm = testRealm(
      transact,
      { hooks: { password_verification_attempt: { uri }, mfa_verification_attempt: { uri } } },
      receiver.fetch,
    )
    const told = () => {
      const { metadata: _, ...attempt } = JSON.parse(receiver.calls.at(-1)!.body)
      return attempt
    }
    const { user } = await createUser(realm, { email: 'e@example.org', password: PASSWORD, email_confirm: true })
    receiver.answer = () => ({ body: { decision: 'continue' } })
    const { grant } = await signInByPassword(realm, { email: 'e@example.org', password: PASSWORD })
    assert.deepEqual(told(), { user_id: user.id, valid: true })
    await assert.rejects(signInByPassword(realm, { email: 'e@example.org', password: 'no' }), code('auth_invalid_credentials'))
    assert.deepEqual(told(), { user_id: user.id, valid: false })

    const holder = { userId: user.id, sessionId: grant.sessionId, aal: 'aal1' }
    const { factor } = await enroll(realm, holder, { type: 'totp', name: 'app', issuer: null })
    const asked = await challenge(realm, holder, factor.id)
    await assert.rejects(
      verifyFactor(realm, holder, factor.id, { challengeId: asked.id, code: '000000' }),
      code('auth_mfa_verification_failed'),
    )
    assert.deepEqual(told(), { user_id: user.id, factor_id: factor.id, factor_type: 'totp', valid: false })
    const right = { challengeId: asked.id, code: totp(factor.secret!, stepAt(realm.at)) }
    assert.equal(claimsOf((await verifyFactor(realm, holder, factor.id, right)).accessToken).aal, 'aal2')

    receiver.answer = () => ({ body: { decision: 'reject', message: 'too often', should_logout_user: true } })
    await assert.rejects(
      signInByPassword(realm, { email: 'e@example.org', password: PASSWORD }),
      code('auth_password_attempt_refused', /too often/),
    )
    assert.deepEqual(await transact((store) => store.sessionsOf(user.id)), [])
  })
})
