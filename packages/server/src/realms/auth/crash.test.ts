import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { settle } from '../federated/oauth.ts'
import { eachRealm, type Transact } from '../realm.testing.ts'
import { createUser } from './admin.ts'
import { exchangeCode } from './exchange.ts'
import type { Outsider } from './identities.ts'
import { recover } from './otp.ts'
import { type TestRealm, testRealm } from './realm.testing.ts'
import { refresh } from './refresh.ts'
import { signInByPassword } from './sign-in.ts'
import { signUp } from './sign-up.ts'
import { verifyToken } from './verify.ts'

const EMAIL = 'a@example.org'
const PASSWORD = 'correct horse'
const SETTINGS = { mail_interval: 0, refresh_reuse_interval: 10 }
const STEPS = 12

class Crash extends Error {}

/** The process ends: before the n-th transaction is committed, or right after it was. */
function crashing(transact: Transact, n: number, committed: boolean): { transact: Transact; happened: () => boolean } {
  let count = 0
  let happened = false
  return {
    happened: () => happened,
    async transact(fn) {
      if (happened) throw new Crash()
      const last = ++count === n
      const value = await transact(async (store) => {
        const result = await fn(store)
        if (last && !committed) {
          happened = true
          throw new Crash()
        }
        return result
      })
      if (!last) return value
      happened = true
      throw new Crash()
    },
  }
}

/** Runs `work` with a crash between each two of its steps, until it goes through without one; `after` looks at what is left. */
async function atEachStep(transact: Transact, work: (realm: TestRealm) => Promise<unknown>, after: () => Promise<unknown>): Promise<void> {
  for (let step = 1; step <= STEPS; step++) {
    for (const committed of [false, true]) {
      const crash = crashing(transact, step, committed)
      await work(testRealm(crash.transact, SETTINGS)).catch((error: unknown) => {
        assert.ok(error instanceof Crash, String(error))
      })
      await after()
      if (!crash.happened()) return
    }
  }
  assert.fail('it has more steps than are looked at')
}

async function codeOf(transact: Transact): Promise<string> {
  const [mail] = await transact((store) => store.mails({ limit: 1, offset: 0 }))
  return /\b\d{6}\b/.exec(mail?.text.replace(/https?:\S+/, '') ?? '')?.[0] ?? ''
}

eachRealm((_name, open) => {
  test('a sign-up that broke off anywhere is done again, and ends in an account', async () => {
    const transact = await open()
    const given = { email: EMAIL, password: PASSWORD, data: {}, redirectTo: null, pkce: null }
    await atEachStep(
      transact,
      (realm) => signUp(realm, given),
      async () => {
        // A mail if and only if there is a token, and a person if and only if there is a mail.
        const [users, mails] = await transact(async (store) => [
          await store.countUsers(),
          (await store.mails({ limit: 99, offset: 0 })).length,
        ])
        assert.equal(users > 0, mails > 0)
      },
    )
    const realm = testRealm(transact, SETTINGS)
    assert.ok('grant' in (await verifyToken(realm, { type: 'signup', email: EMAIL, token: await codeOf(transact) })))
    assert.ok((await signInByPassword(realm, { email: EMAIL, password: PASSWORD })).grant)
  })

  test('a refresh that broke off anywhere leaves a token that works', async () => {
    const transact = await open()
    const realm = testRealm(transact, SETTINGS)
    await createUser(realm, { email: EMAIL, password: PASSWORD, email_confirm: true })
    const { grant } = await signInByPassword(realm, { email: EMAIL, password: PASSWORD })
    let token = grant.refreshToken
    await atEachStep(
      transact,
      (crashed) => refresh(crashed, token),
      async () => {
        token = (await refresh(realm, token)).refreshToken
      },
    )
  })

  test('a sign-in that broke off anywhere, and a link that did, are tried again', async () => {
    const transact = await open()
    const realm = testRealm(transact, SETTINGS)
    await createUser(realm, { email: EMAIL, password: PASSWORD, email_confirm: true })
    const enter = (by: TestRealm) => signInByPassword(by, { email: EMAIL, password: PASSWORD })
    await atEachStep(transact, enter, () => enter(realm))
    const ask = (by: TestRealm) => recover(by, { email: EMAIL, redirectTo: null, pkce: null })
    await atEachStep(transact, ask, async () => undefined)
    await atEachStep(
      transact,
      async (by) => verifyToken(by, { type: 'recovery', email: EMAIL, token: await codeOf(transact) }),
      // The code may be used up: then another is asked for.
      () => ask(realm),
    )
    assert.ok('grant' in (await verifyToken(realm, { type: 'recovery', email: EMAIL, token: await codeOf(transact) })))
  })

  test('linking another way in that broke off anywhere leaves the account, and is done again', async () => {
    const transact = await open()
    const realm = testRealm(transact, SETTINGS)
    const { user } = await createUser(realm, { email: EMAIL, password: PASSWORD, email_confirm: true })
    const verifier = 'v'.repeat(43)
    const pkce = { challenge: createHash('sha256').update(verifier).digest('base64url'), method: 's256' }
    const tokens = { providerToken: 't', providerRefreshToken: null }
    let count = 0
    const who = (): Outsider => ({
      provider: 'github',
      id: `g${count}`,
      email: EMAIL,
      emailVerified: true,
      emailOptional: false,
      claims: { sub: `g${count}`, email: EMAIL },
    })
    const journey = { redirectTo: 'https://app.example.org/', pkce, verifier: null, nonce: null, cookie: null, from: null }
    const link = async (by: TestRealm) => {
      const asked = { ...journey, provider: 'github', userId: user.id }
      const code = await by.transact((store) => settle(by, store, asked, who(), tokens))
      return exchangeCode(by, code, verifier)
    }
    const linked = () => transact((store) => store.identityOf('github', `g${count}`))
    await atEachStep(transact, link, async () => {
      assert.ok((await signInByPassword(realm, { email: EMAIL, password: PASSWORD })).grant)
      if (!(await linked())) await link(realm)
      assert.equal((await linked())?.userId, user.id)
      count++
    })
  })
})
