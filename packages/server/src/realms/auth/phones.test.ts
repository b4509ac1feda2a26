import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AuthSettings } from '@sovrabase/contract/auth'
import { isSovraError } from '../../base/errors.ts'
import { eachRealm, type Transact } from '../realm.testing.ts'
import { updateUser } from './account.ts'
import { createUser } from './admin.ts'
import { verifyFactor } from './factor-verify.ts'
import { challenge, enroll } from './factors.ts'
import { resendPhone, sendPhoneOtp, signUpByPhone } from './phones.ts'
import { startReceiver, testRealm } from './realm.testing.ts'
import { signInByPassword } from './sign-in.ts'
import { verifyToken } from './verify.ts'

let receiver: Awaited<ReturnType<typeof startReceiver>>
before(async () => {
  receiver = await startReceiver()
})
after(() => receiver?.close())

const PHONE = '33600000001'
const PASSWORD = 'correct horse'
const OPEN: AuthSettings = { phone_enabled: true, sms_interval: 0 }
const code = (name: string) => (error: unknown) => {
  assert.ok(isSovraError(error), String(error))
  assert.equal(error.code, name)
  return true
}
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>

/** The newest message to a number and its code. */
async function last(transact: Transact, phone = PHONE) {
  const mails = await transact((store) => store.mails({ limit: 50, offset: 0 }))
  const found = mails.filter(({ recipient }) => recipient === phone)
  const newest = found.sort((a, b) => (a.createdAt === b.createdAt ? (a.id < b.id ? 1 : -1) : b.createdAt - a.createdAt))[0]
  assert.ok(newest)
  return { ...newest, code: /\d{6,}/.exec(newest.text)?.[0] ?? '' }
}

eachRealm((_name, open) => {
  test('sign-up by number, its code, then number and password', async () => {
    const transact = await open()
    const realm = testRealm(transact, OPEN)
    const body = { phone: `+${PHONE}`, password: PASSWORD, data: { name: 'Zoé' }, channel: undefined }
    const made = await signUpByPhone(realm, body)
    assert.ok('person' in made)
    assert.deepEqual([made.person.user.phone, made.person.identities[0]?.provider], [PHONE, 'phone'])
    await assert.rejects(signInByPassword(realm, { phone: PHONE, password: PASSWORD }), code('auth_phone_not_confirmed'))
    const sent = await last(transact)
    assert.equal(sent.kind, 'sms')
    assert.match(sent.text, /^Your code is \d{6}$/)
    await assert.rejects(verifyToken(realm, { type: 'email', email: 'a@example.org', token: sent.code }), code('auth_otp_expired'))
    await assert.rejects(verifyToken(realm, { type: 'sms', phone: '33600000009', token: sent.code }), code('auth_otp_expired'))
    const done = await verifyToken(realm, { type: 'sms', phone: PHONE, token: sent.code })
    assert.ok('grant' in done)
    assert.equal(claimsOf(done.grant.accessToken).phone, PHONE)
    assert.equal(done.grant.person.identities[0]?.data.phone_verified, true)
    await assert.rejects(verifyToken(realm, { type: 'sms', phone: PHONE, token: sent.code }), code('auth_otp_expired'))
    assert.ok((await signInByPassword(realm, { phone: `+${PHONE}`, password: PASSWORD })).grant)
    const again = await signUpByPhone(realm, body)
    assert.ok('person' in again && again.person.identities.length === 0, 'a taken number is not told')
    await assert.rejects(signUpByPhone(realm.like({ ...OPEN, phone_autoconfirm: true }), body), code('auth_user_already_exists'))
    await assert.rejects(signUpByPhone(realm, { ...body, phone: '12' }), code('auth_validation_failed'))
    await assert.rejects(signUpByPhone(realm, { ...body, channel: 'pigeon' }), code('auth_validation_failed'))
    await assert.rejects(signUpByPhone(realm.like({}), body), code('auth_phone_provider_disabled'))
  })

  test('codes by text message: new people, few of them, no test numbers, over in time', async () => {
    const transact = await open()
    const settings = { ...OPEN, sms_interval: 60, rates: { sms: 3 }, sms_test_codes: { '33600000077': '123456' } }
    const realm = testRealm(transact, settings)
    const ask = (phone: string, createUser = true) => sendPhoneOtp(realm, { phone, data: {}, createUser, channel: 'sms' })
    assert.equal(await ask('33600000077'), 'test-otp')
    const tested = await verifyToken(realm, { type: 'sms', phone: '33600000077', token: '123456' })
    assert.ok('grant' in tested)
    assert.equal((await transact((store) => store.mails({ limit: 9, offset: 0 }))).length, 0)
    const id = await ask(PHONE)
    assert.equal((await last(transact)).id, id)
    await assert.rejects(ask(PHONE), code('auth_over_sms_send_rate_limit'))
    await assert.rejects(ask('33600000002', false), code('auth_otp_disabled'))
    await assert.rejects(ask('33600000003'), code('auth_over_sms_send_rate_limit'))
    realm.at += 300_000
    const late = (await last(transact)).code
    await assert.rejects(verifyToken(realm, { type: 'sms', phone: PHONE, token: late }), code('auth_otp_expired'))
    realm.at += 3_600_000
    await resendPhone(realm, 'sms', { phone: PHONE, channel: undefined })
    assert.ok('grant' in (await verifyToken(realm, { type: 'sms', phone: PHONE, token: (await last(transact)).code })))
  })

  test('a number for an account, proved by its code; one that is taken', async () => {
    const transact = await open()
    const realm = testRealm(transact, OPEN)
    const { user } = await createUser(realm, { email: 'a@example.org', password: PASSWORD, email_confirm: true })
    await createUser(realm, { phone: '33600000002', phone_confirm: true })
    const holder = { userId: user.id, sessionId: null, aal: 'aal1' }
    const change = (phone: string) => updateUser(realm, holder, { phone, pkce: null, redirectTo: null })
    await assert.rejects(change('33600000002'), code('auth_phone_exists'))
    assert.deepEqual([(await change(`+${PHONE}`)).user.phoneChange, (await change(PHONE)).user.phone], [PHONE, null])
    await assert.rejects(verifyToken(realm, { type: 'sms', phone: PHONE, token: (await last(transact)).code }), code('auth_otp_expired'))
    const done = await verifyToken(realm, { type: 'phone_change', phone: PHONE, token: (await last(transact)).code })
    assert.ok('grant' in done)
    const { user: changed, identities } = done.grant.person
    assert.deepEqual([changed.id, changed.phone, changed.phoneChange, changed.email], [user.id, PHONE, null, 'a@example.org'])
    assert.deepEqual(identities.map(({ provider }) => provider).sort(), ['email', 'phone'])
    assert.deepEqual(changed.appMetadata.providers, ['email', 'phone'])
  })

  test('a telephone as second factor', async () => {
    const transact = await open()
    const settings = { ...OPEN, mfa_phone: true }
    const realm = testRealm(transact, settings)
    const { user } = await createUser(realm, { email: 'a@example.org', password: PASSWORD, email_confirm: true })
    const { grant } = await signInByPassword(realm, { email: 'a@example.org', password: PASSWORD })
    const holder = { userId: user.id, sessionId: grant.sessionId, aal: 'aal1' }
    const wish = { type: 'phone', name: 'mobile', issuer: null, phone: PHONE }
    await assert.rejects(enroll(realm.like(OPEN), holder, wish), code('auth_mfa_phone_enroll_not_enabled'))
    const { factor } = await enroll(realm, holder, wish)
    assert.deepEqual([factor.type, factor.phone, factor.secret], ['phone', PHONE, null])
    const first = await challenge(realm, holder, factor.id)
    const right = (await last(transact)).code
    const wrong = right === '111111' ? '222222' : '111111'
    await assert.rejects(verifyFactor(realm, holder, factor.id, { challengeId: first.id, code: wrong }), code('auth_mfa_phone_code_wrong'))
    const second = await challenge(realm, holder, factor.id)
    const other = (await last(transact)).code
    if (other !== right)
      await assert.rejects(
        verifyFactor(realm, holder, factor.id, { challengeId: second.id, code: right }),
        code('auth_mfa_phone_code_wrong'),
      )
    const strong = await verifyFactor(realm, holder, factor.id, { challengeId: second.id, code: other })
    const { aal, amr } = claimsOf(strong.accessToken)
    assert.deepEqual([aal, (amr as { method: string }[]).map(({ method }) => method).sort()], ['aal2', ['mfa/phone', 'password']])
    await assert.rejects(enroll(realm, { ...holder, aal: 'aal2' }, wish), code('auth_mfa_verified_factor_exists'))
  })

  test('messages and mails that a hook sends wait in the outbox with all that it needs', async () => {
    const transact = await open()
    const hooks = { send_sms: { uri: `${receiver.url}/sms` }, send_email: { uri: `${receiver.url}/mail` } }
    const realm = testRealm(transact, { ...OPEN, hooks, mail_interval: 0 }, receiver.fetch)
    await sendPhoneOtp(realm, { phone: PHONE, data: {}, createUser: true, channel: 'whatsapp' })
    const sms = await last(transact)
    const { sms: said, user } = JSON.parse(sms.html) as { sms: { otp: string; sms_type: string }; user: { phone: string } }
    assert.deepEqual([sms.kind, said.sms_type, user.phone, said.otp], ['send_sms', 'whatsapp', PHONE, sms.code])

    const { user: zoe } = await createUser(realm, { email: 'a@example.org', password: PASSWORD, email_confirm: true })
    const holder = { userId: zoe.id, sessionId: null, aal: 'aal1' }
    await updateUser(realm, holder, { email: 'b@example.org', pkce: null, redirectTo: null })
    const mails = (await transact((store) => store.mails({ limit: 9, offset: 0 }))).filter(({ kind }) => kind === 'send_email')
    assert.equal(mails.length, 1, 'one call for both addresses')
    const data = (JSON.parse(mails[0]!.html) as { email_data: Record<string, string>; user: { new_email: string } }).email_data
    assert.equal(data.email_action_type, 'email_change')
    const half = await verifyToken(realm, { type: 'email_change', email: 'a@example.org', token: data.token })
    assert.ok('half' in half)
    const done = await verifyToken(realm, { type: 'email_change', tokenHash: data.token_hash })
    assert.ok('grant' in done && done.grant.person.user.email === 'b@example.org')
  })
})
