import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSovraError } from '../../base/errors.ts'
import { eachRealm } from '../realm.testing.ts'
import { type Holder, updateUser } from './account.ts'
import { createUser } from './admin.ts'
import { verifyFactor } from './factor-verify.ts'
import { challenge, enroll, unenroll } from './factors.ts'
import { type TestRealm, testRealm } from './realm.testing.ts'
import { refresh } from './refresh.ts'
import { signInByPassword } from './sign-in.ts'
import { stepAt, totp } from './totp.ts'

const PASSWORD = 'correct horse'
const MINUTE = 60_000
const code = (name: string) => (error: unknown) => {
  assert.ok(isSovraError(error), String(error))
  assert.equal(error.code, name)
  return true
}

async function person(realm: TestRealm, email: string) {
  await createUser(realm, { email, password: PASSWORD, email_confirm: true })
  const enter = async () => {
    const { grant } = await signInByPassword(realm, { email, password: PASSWORD })
    const holder: Holder = { userId: grant.person.user.id, sessionId: grant.sessionId, aal: 'aal1' }
    return { holder, grant }
  }
  return { enter, ...(await enter()) }
}
const wish = (name: string | null) => ({ type: 'totp', name, issuer: null })
const change = (more: object) => ({ pkce: null, redirectTo: null, ...more })
const now = (realm: TestRealm, secret: string | null, steps = 0) => totp(secret ?? '', stepAt(realm.at) + steps)

eachRealm((_name, open) => {
  test('once there is a second factor, the password alone changes nothing that guards the account', async () => {
    const realm = testRealm(await open(), { email_autoconfirm: true })
    const { holder, enter } = await person(realm, 'a@example.org')
    const other = await enter()
    const { factor } = await enroll(realm, holder, wish('app'))
    const asked = await challenge(realm, holder, factor.id)
    const raised = await verifyFactor(realm, holder, factor.id, { challengeId: asked.id, code: now(realm, factor.secret) })
    assert.equal(raised.sessionId, holder.sessionId)
    await assert.rejects(refresh(realm, other.grant.refreshToken), code('auth_refresh_token_not_found'), 'sessions without it end')

    const weak = (await enter()).holder
    await assert.rejects(enroll(realm, weak, wish('mine')), code('auth_insufficient_aal_to_enroll'))
    await assert.rejects(unenroll(realm, weak, factor.id), code('auth_insufficient_aal_to_unenroll'))
    for (const more of [{ password: 'another one' }, { email: 'b@example.org' }])
      await assert.rejects(updateUser(realm, weak, change(more)), code('auth_insufficient_aal'))
    // What a token says of itself is not asked.
    await assert.rejects(updateUser(realm, { ...weak, aal: 'aal2' }, change({ password: 'another one' })), code('auth_insufficient_aal'))
    const same = await updateUser(realm, weak, change({ email: 'A@example.org', data: { a: 1 } }))
    assert.deepEqual(same.user.userMetadata, { a: 1 }, 'what is there already is no change')
    await updateUser(realm, holder, change({ password: 'another one' }))
    assert.equal(await unenroll(realm, holder, factor.id), factor.id)
    assert.equal((await realm.transact((store) => store.sessionById(holder.sessionId ?? '')))?.aal, 'aal1', 'it counts no more')
  })

  test('a challenge is good once and for five minutes, a code once, and few tries are had', async () => {
    const realm = testRealm(await open())
    const { holder } = await person(realm, 'c@example.org')
    const stranger = await person(realm, 'd@example.org')
    const { factor } = await enroll(realm, holder, wish(null))
    const ask = async () => (await challenge(realm, holder, factor.id)).id
    const answer = (challengeId: string, code: string) => verifyFactor(realm, holder, factor.id, { challengeId, code })
    await assert.rejects(challenge(realm, stranger.holder, factor.id), code('auth_mfa_factor_not_found'))
    await assert.rejects(
      verifyFactor(realm, stranger.holder, factor.id, { challengeId: 'x', code: '1' }),
      code('auth_mfa_factor_not_found'),
    )

    const late = await ask()
    realm.at += 5 * MINUTE
    await assert.rejects(answer(late, now(realm, factor.secret)), code('auth_mfa_challenge_expired'))
    const [first, second] = [await ask(), await ask()]
    const right = now(realm, factor.secret)
    await answer(first, right)
    await assert.rejects(answer(first, now(realm, factor.secret, 1)), code('auth_mfa_challenge_not_found'), 'the challenge again')
    await assert.rejects(answer(second, right), code('auth_mfa_verification_failed'), 'the code again')
    const theirs = await enroll(realm, stranger.holder, wish(null))
    const asked = await challenge(realm, stranger.holder, theirs.factor.id)
    await assert.rejects(answer(asked.id, now(realm, factor.secret, 1)), code('auth_mfa_challenge_not_found'), 'of another factor')

    for (let tries = 1; tries < 10; tries++) await assert.rejects(answer(second, '000000'), code('auth_mfa_verification_failed'))
    await assert.rejects(answer(second, now(realm, factor.secret, 1)), code('auth_over_request_rate_limit'), 'a right one too')
    realm.at += 60 * MINUTE
    await answer(await ask(), now(realm, factor.secret))
  })

  test('names are had once, and factors are few', async () => {
    const realm = testRealm(await open(), { mfa_max_factors: 3 })
    const { holder } = await person(realm, 'e@example.org')
    await enroll(realm, holder, wish('one'))
    await assert.rejects(enroll(realm, holder, wish(' one ')), code('auth_mfa_factor_name_conflict'))
    await enroll(realm, holder, wish('two'))
    await enroll(realm, holder, wish('three'))
    await assert.rejects(enroll(realm, holder, wish('four')), code('auth_too_many_enrolled_mfa_factors'))
    realm.at += 60 * MINUTE + 1
    await enroll(realm, holder, wish('four'))
  })
})
