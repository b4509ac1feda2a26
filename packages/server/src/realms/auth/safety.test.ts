import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, test } from 'node:test'
import { isSovraError } from '../../base/errors.ts'
import { eachRealm } from '../realm.testing.ts'
import { readUser } from './account.ts'
import { auditLog, changeUser, createUser, deleteUser } from './admin.ts'
import { generateLink, invite } from './admin-links.ts'
import { demandCaptcha } from './captcha.ts'
import { recover } from './otp.ts'
import { startReceiver, testRealm } from './realm.testing.ts'
import { refresh } from './refresh.ts'
import { endOwnSession, endSessionOfUser, ownSessions, sessionsOfUser } from './sessions.ts'
import { signInByPassword } from './sign-in.ts'
import { signUp } from './sign-up.ts'

let receiver: Awaited<ReturnType<typeof startReceiver>>
before(async () => {
  receiver = await startReceiver()
})
after(() => receiver?.close())

const PASSWORD = 'correct horse'
const HOUR = 3_600_000
const code = (name: string, message?: RegExp) => (error: unknown) => {
  assert.ok(isSovraError(error), String(error))
  assert.equal(error.code, name)
  if (message) assert.match(error.message, message)
  return true
}

eachRealm((_name, open) => {
  test('wrong passwords: few from one address, slow from many, forgotten by a right one', async () => {
    const realm = testRealm(await open(), { rates: { failures: 3 } })
    await createUser(realm, { email: 'a@example.org', password: PASSWORD, email_confirm: true })
    const from = (ip: string, password: string, email = 'a@example.org') =>
      signInByPassword(realm.like({ rates: { failures: 3 } }, { ip }), { email, password })
    for (let i = 0; i < 3; i++) await assert.rejects(from('192.0.2.1', 'no'), code('auth_invalid_credentials'))
    await assert.rejects(from('192.0.2.1', PASSWORD), code('auth_over_request_rate_limit'))
    assert.deepEqual(realm.pauses, [])
    for (let i = 10; i < 14; i++) await assert.rejects(from(`192.0.2.${i}`, 'no'), code('auth_invalid_credentials'))
    assert.deepEqual(realm.pauses, [250, 500, 1000])
    await from('192.0.2.20', PASSWORD)
    realm.pauses.length = 0
    await assert.rejects(from('192.0.2.21', 'no'), code('auth_invalid_credentials'))
    assert.deepEqual(realm.pauses, [], 'forgotten')
    // Nobody there: the same.
    for (let i = 30; i < 38; i++) await assert.rejects(from(`192.0.2.${i}`, 'no', 'nobody@example.org'), code('auth_invalid_credentials'))
    assert.deepEqual(realm.pauses, [250, 500, 1000])
  })

  test('an address on the allow-list has no rate of its own', async () => {
    const transact = await open()
    const settings = { rates: { sign_ins: 2 }, unlimited_addresses: ['198.51.100.0/24'] }
    const realm = testRealm(transact, settings)
    await createUser(realm, { email: 'a@example.org', password: PASSWORD, email_confirm: true })
    const from = (ip: string) => signInByPassword(realm.like(settings, { ip }), { email: 'a@example.org', password: PASSWORD })
    for (let i = 0; i < 4; i++) await from('198.51.100.7')
    for (let i = 0; i < 2; i++) await from('192.0.2.7')
    await assert.rejects(from('192.0.2.7'), code('auth_over_request_rate_limit'))
    realm.at += 150_000
    await from('192.0.2.7')
  })

  test('sessions: time-box, inactivity, one alone, listed and ended', async () => {
    const transact = await open()
    const realm = testRealm(transact, { session_timebox: 7200, session_inactivity: 1800 })
    const { user } = await createUser(realm, { email: 'a@example.org', password: PASSWORD, email_confirm: true })
    const enter = async () => (await signInByPassword(realm, { email: 'a@example.org', password: PASSWORD })).grant
    const idle = await enter()
    realm.at += 1_800_000
    await assert.rejects(refresh(realm, idle.refreshToken), code('auth_session_expired'))
    assert.deepEqual(realm.ended, [idle.sessionId])
    let busy = await enter()
    for (let i = 0; i < 4; i++) {
      realm.at += 1_500_000
      busy = await refresh(realm, busy.refreshToken)
    }
    realm.at += 1_300_000
    await assert.rejects(refresh(realm, busy.refreshToken), code('auth_session_expired'))

    const first = await enter()
    const second = await enter()
    const holder = { userId: user.id, sessionId: second.sessionId, aal: 'aal1' }
    const seen = await ownSessions(realm, holder)
    assert.deepEqual(
      [seen.sessions.map(({ id }) => id).sort(), seen.current],
      [[first.sessionId, second.sessionId].sort(), second.sessionId],
    )
    await endOwnSession(realm, holder, first.sessionId)
    await assert.rejects(endOwnSession(realm, holder, first.sessionId), code('auth_no_such_session'))
    await assert.rejects(refresh(realm, first.refreshToken), code('auth_refresh_token_not_found'))
    const { user: other } = await createUser(realm, { email: 'b@example.org', password: PASSWORD, email_confirm: true })
    await assert.rejects(endSessionOfUser(realm, other.id, second.sessionId), code('auth_no_such_session'))
    await assert.rejects(
      endOwnSession(realm, { userId: other.id, sessionId: null, aal: 'aal1' }, second.sessionId),
      code('auth_no_such_session'),
    )
    await endSessionOfUser(realm, user.id, null)
    assert.deepEqual(await sessionsOfUser(realm, user.id), [])
    assert.ok(realm.ended.includes(second.sessionId))
  })

  test('a token is good for its own session, and no longer than that', async () => {
    const settings = { session_timebox: 600 }
    const realm = testRealm(await open(), settings)
    const enter = async (email: string) => {
      await createUser(realm, { email, password: PASSWORD, email_confirm: true })
      const { grant } = await signInByPassword(realm, { email, password: PASSWORD })
      return { userId: grant.person.user.id, sessionId: grant.sessionId, aal: 'aal1' }
    }
    const [one, two] = [await enter('a@example.org'), await enter('b@example.org')]
    assert.equal((await readUser(realm, one)).user.email, 'a@example.org')
    await assert.rejects(readUser(realm, { ...one, sessionId: two.sessionId }), code('auth_session_not_found'), "another's")
    realm.at += 600_000
    await assert.rejects(readUser(realm, one), code('auth_session_not_found'), 'over')
    await realm.transact((store) => store.deleteUser(two.userId))
    await assert.rejects(readUser(realm, two), code('auth_user_gone'))
  })

  test('the log of the realm, searched', async () => {
    const realm = testRealm(await open())
    await createUser(realm, { email: 'a_%@example.org', password: PASSWORD, email_confirm: true })
    await signInByPassword(realm, { email: 'a_%@example.org', password: PASSWORD })
    realm.at += HOUR
    await createUser(realm, { email: 'b@example.org', password: PASSWORD })
    const page = { limit: 10, offset: 0 }
    const actions = async (query: string | null) => (await auditLog(realm, page, query)).entries.map(({ payload }) => payload.action)
    assert.deepEqual((await actions(null)).sort(), ['login', 'user_signedup', 'user_signedup'])
    assert.equal((await actions('')).length, 3)
    assert.deepEqual(await actions('action:login'), ['login'])
    assert.deepEqual(await actions('author:a_%'), ['login'])
    assert.deepEqual(await actions('author:service_role'), ['user_signedup', 'user_signedup'], 'what an administrator did is theirs')
    const [made] = (await auditLog(realm, page, 'author:service_role')).entries
    assert.equal((made!.payload.traits as { user_email: string }).user_email, 'b@example.org')
    for (const query of ['login', 'payload:x', '__proto__:x', `author:${'x'.repeat(200)}`])
      await assert.rejects(auditLog(realm, page, query), code('auth_validation_failed', /^Invalid query scope: /))
    assert.equal((await actions('author:a__')).length, 0, 'wildcards are characters')
    assert.equal((await auditLog(realm, { limit: 1, offset: 0 }, 'type:team')).total, 2)
  })

  test('a leaked password is refused when it is new and told at a sign-in; the service learns 20 bits', async () => {
    const transact = await open()
    const settings = { email_autoconfirm: true, password_leaked: true, password_leaked_url: `${receiver.url}/range/` }
    const realm = testRealm(transact, settings, receiver.fetch)
    const hash = createHash('sha1').update('letmein!').digest('hex').toUpperCase()
    receiver.answer = ({ url }) => ({
      body: url.endsWith(hash.slice(0, 5)) ? `0000:3\r\n${hash.slice(5)}:12\r\nFFFF:0` : '',
      headers: { 'content-type': 'text/plain' },
    })
    const body = { email: 'a@example.org', data: {}, redirectTo: null, pkce: null }
    await assert.rejects(signUp(realm, { ...body, password: 'letmein!' }), code('auth_weak_password', /easy to guess/))
    assert.equal(receiver.calls.at(-1)?.url, `/range/${hash.slice(0, 5)}`)
    await createUser(realm.like({}), { email: 'a@example.org', password: 'letmein!', email_confirm: true })
    assert.deepEqual((await signInByPassword(realm, { email: 'a@example.org', password: 'letmein!' })).weakness?.reasons, ['pwned'])
    receiver.answer = () => ({ status: 500, body: '' })
    assert.ok(
      'grant' in (await signUp(realm, { ...body, email: 'b@example.org', password: 'letmein!' })),
      'a service that is away stops nobody',
    )
  })

  test('CAPTCHA: the service decides, and nobody comes in when it says nothing', async () => {
    const transact = await open()
    const captcha = { provider: 'turnstile', secret: 's3cret', url: `${receiver.url}/siteverify` } as const
    const realm = testRealm(transact, { captcha }, receiver.fetch)
    const ask = (token?: unknown) => demandCaptcha(realm, { gotrue_meta_security: { captcha_token: token } })
    await assert.rejects(ask(), code('auth_captcha_failed', /^captcha protection: request disallowed \(no captcha_token found\)$/))
    await assert.rejects(demandCaptcha(realm, {}), code('auth_captcha_failed'))
    receiver.answer = ({ body }) =>
      new URLSearchParams(body).get('response') === 'solved'
        ? { body: { success: true } }
        : { body: { success: false, 'error-codes': ['invalid-input-response'] } }
    await ask('solved')
    assert.deepEqual(Object.fromEntries(new URLSearchParams(receiver.calls.at(-1)!.body)), {
      secret: 's3cret',
      response: 'solved',
      remoteip: '192.0.2.1',
    })
    await assert.rejects(ask('guessed'), code('auth_captcha_failed', /invalid-input-response/))
    receiver.answer = () => ({ status: 500, body: 'no' })
    await assert.rejects(ask('solved'), code('auth_captcha_unreachable'))
    await demandCaptcha(realm.like({ captcha }, { administers: true }), {})
    await demandCaptcha(realm.like({}), {})
  })

  test('who is signed out or removed in the midst of a sign-in or a refresh is told so, like anybody who was before', async () => {
    const realm = testRealm(await open(), { rates: { sign_ins: 1000, refreshes: 1000 } })
    const outcome = (work: Promise<unknown>) =>
      work.then(
        () => 'done',
        (error: unknown) => (isSovraError(error) ? error.code : String(error)),
      )
    const refreshes = new Set<string>()
    const signIns = new Set<string>()
    for (let i = 0; i < 6; i++) {
      const given = { email: `p${i}@example.org`, password: PASSWORD }
      const person = await createUser(realm, { ...given, email_confirm: true })
      const { grant } = await signInByPassword(realm, given)
      const again = () => outcome(refresh(realm, grant.refreshToken)).then((said) => refreshes.add(said))
      await Promise.all([again(), again(), endSessionOfUser(realm, person.user.id, null), again(), again()])
      const enter = () => outcome(signInByPassword(realm, given)).then((said) => signIns.add(said))
      await Promise.all([enter(), enter(), deleteUser(realm, person.user.id, false), enter()])
    }
    refreshes.delete('done')
    signIns.delete('done')
    assert.deepEqual([...refreshes], ['auth_refresh_token_not_found'])
    assert.deepEqual([...signIns], ['auth_invalid_credentials'])
  })

  test('several at once for one address: each is answered as if they came one by one', async () => {
    const realm = testRealm(await open(), { mail_interval: 0, rates: { sign_ups: 1000, otps: 1000, mails: 1000 } })
    const each = async (work: () => Promise<unknown>) => {
      const ended = await Promise.allSettled(Array.from({ length: 4 }, work))
      return ended.map((one) => (one.status === 'fulfilled' ? 'done' : String(one.reason)))
    }
    const done = ['done', 'done', 'done', 'done']
    for (let i = 0; i < 3; i++) {
      const wish = { type: 'magiclink', email: `g${i}@example.org`, newEmail: null, password: null, data: {}, redirectTo: null }
      assert.deepEqual(await each(() => generateLink(realm, wish)), done)
      assert.deepEqual(await each(() => invite(realm, { email: `i${i}@example.org`, data: {}, redirectTo: null })), done)
      await createUser(realm, { email: `r${i}@example.org`, password: PASSWORD, email_confirm: true })
      assert.deepEqual(await each(() => recover(realm, { email: `r${i}@example.org`, redirectTo: null, pkce: null })), done)
    }
  })

  test('a password that was changed, or a person that was shut out, while it was looked at lets nobody in', async () => {
    const realm = testRealm(await open(), { mail_interval: 0 })
    const refused = code('auth_invalid_credentials')
    for (const [i, meanwhile] of [{ password: 'another horse' }, { ban_duration: '1h' }].entries()) {
      const given = { email: `m${i}@example.org`, password: PASSWORD }
      const person = await createUser(realm, { ...given, email_confirm: true })
      // The change is whole between the look at the password and the session.
      const hasher = {
        ...realm.hasher,
        async verify(...told: Parameters<typeof realm.hasher.verify>) {
          const verdict = await realm.hasher.verify(...told)
          await changeUser(realm, person.user.id, meanwhile)
          return verdict
        },
      }
      await assert.rejects(signInByPassword({ ...realm, hasher, now: realm.now }, given), refused)
      assert.deepEqual(await sessionsOfUser(realm, person.user.id), [])
    }
  })
})
