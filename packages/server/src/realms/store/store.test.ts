import assert from 'node:assert/strict'
import { test } from 'node:test'
import { uuid } from '../../base/ids.ts'
import { emailIdentity } from '../auth/people.ts'
import { eachRealm } from '../realm.testing.ts'
import { blankUser } from '../users.ts'
import type { Keeping, Mail, RealmSession } from './types.ts'

const START = Date.UTC(2026, 10, 1, 12, 0, 0, 123)
const MINUTE = 60_000
const KINDS = ['recovery']

const sessionOf = (userId: string): RealmSession => ({
  id: uuid(),
  userId,
  createdAt: START,
  refreshedAt: null,
  notAfter: START + MINUTE,
  aal: 'aal1',
  userAgent: 'test',
  ip: '192.0.2.1',
  factorId: null,
})

const mailOf = (more: Partial<Mail> = {}): Mail => ({
  id: uuid(),
  userId: null,
  kind: 'recovery',
  recipient: 'a@example.org',
  subject: 'Été',
  html: '<p>é</p>',
  text: 'é',
  state: 'waiting',
  attempts: 0,
  dueAt: START,
  expiresAt: START + MINUTE,
  createdAt: START,
  sentAt: null,
  lastError: null,
  ...more,
})

eachRealm((_name, open) => {
  test('many at once: who is there stays, who is new comes with their identities; lists are searched', async () => {
    const transact = await open()
    await transact(async (store) => {
      const many = Array.from({ length: 230 }, (_, i) => ({ ...blankUser(uuid(), START + i), email: `m${i}@example.org` }))
      assert.equal(await store.insertUser(many[7]!), true)
      const taken = await store.takenOf({
        ids: many.map(({ id }) => id),
        emails: ['m7@example.org', 'm8@example.org'],
        phones: ['33600000000'],
      })
      assert.deepEqual(taken, new Set([many[7]!.id, 'm7@example.org']))
      const stranger = { ...blankUser(uuid(), START), email: 'm7@example.org' }
      const there = await store.insertUsers([...many, stranger])
      assert.deepEqual([there.size, there.has(stranger.id)], [230, false], 'an address is one person’s')
      await store.insertIdentities(many.map((user) => emailIdentity(user, START)))
      await store.insertIdentities(many.map((user) => emailIdentity(user, START)))
      assert.equal((await store.identitiesOf(many[229]!.id)).length, 1)
      assert.equal(await store.countUsers({ text: 'M22' }), 11)
      const first = await store.users({ limit: 1, offset: 0 }, { text: 'm22', oldestFirst: true })
      assert.deepEqual(
        first.map(({ email }) => email),
        ['m22@example.org'],
      )
    })
  })

  test('users: written, read, changed, taken, removed with all that is theirs', async () => {
    const transact = await open()
    await transact(async (store) => {
      const user = {
        ...blankUser(uuid(), START),
        email: 'a@example.org',
        appMetadata: { provider: 'email', providers: ['email'] },
        userMetadata: { name: 'Zoé' },
        passwordHash: 'x',
      }
      assert.equal(await store.insertUser(user), true)
      assert.equal(await store.insertUser({ ...user, id: uuid() }), false, 'one address is one person')
      assert.equal(await store.insertUser({ ...user, id: uuid(), sso: true }), true, 'people of an SSO provider stand beside')
      assert.deepEqual(await store.userById(user.id), user)
      assert.deepEqual(await store.userByEmail('a@example.org'), user)
      assert.equal(await store.userByEmail('b@example.org'), null)
      await store.updateUser(
        user.id,
        { phone: '33600000000', bannedUntil: START + 5, anonymous: true, emailChange: 'b@example.org' },
        START + 1,
      )
      const changed = await store.userByPhone('33600000000')
      assert.deepEqual(
        [changed?.id, changed?.bannedUntil, changed?.anonymous, changed?.emailChange, changed?.updatedAt],
        [user.id, START + 5, true, 'b@example.org', START + 1],
      )
      assert.equal(await store.countUsers(), 2)
      assert.equal((await store.users({ limit: 1, offset: 1 })).length, 1)

      const identity = {
        id: uuid(),
        providerId: user.id,
        userId: user.id,
        data: { sub: user.id, email: 'A@example.org' },
        provider: 'email',
        lastSignInAt: null,
        createdAt: START,
        updatedAt: START,
      }
      assert.equal(await store.insertIdentity(identity), true)
      assert.equal(await store.insertIdentity({ ...identity, id: uuid() }), false)
      assert.deepEqual(await store.identitiesOf(user.id), [identity])
      await store.updateIdentity(identity.id, { data: { sub: 'x' }, lastSignInAt: START + 2 }, START + 2)
      assert.deepEqual((await store.identitiesOfAll([user.id, uuid()]))[0]?.data, { sub: 'x' })
      await store.insertSession(sessionOf(user.id))
      await store.deleteUser(user.id)
      assert.deepEqual([await store.userById(user.id), await store.identitiesOf(user.id), await store.sessionsOf(user.id)], [null, [], []])
    })
  })

  test('sessions, proofs, refresh tokens; a transaction that fails leaves nothing', async () => {
    const transact = await open()
    const user = { ...blankUser(uuid(), START), email: 'a@example.org' }
    const session = sessionOf(user.id)
    await assert.rejects(
      transact(async (store) => {
        await store.insertUser(user)
        throw new Error('no')
      }),
    )
    await transact(async (store) => {
      assert.equal(await store.userById(user.id), null)
      await store.insertUser(user)
      await store.insertSession(session)
      assert.deepEqual(await store.sessionById(session.id), session)
      await store.addProof(session.id, 'password', START)
      await store.addProof(session.id, 'totp', START + 1)
      await store.addProof(session.id, 'password', START + 2)
      assert.deepEqual(await store.proofsOf(session.id), [
        { method: 'password', at: START + 2 },
        { method: 'totp', at: START + 1 },
      ])
      await store.updateSession(session.id, { aal: 'aal2' }, START + 3)
      await store.insertRefreshToken({ hash: 'h', userId: user.id, sessionId: session.id, parent: null, createdAt: START })
      assert.equal(await store.revokeRefreshToken('h', START + 4), true)
      assert.equal(await store.revokeRefreshToken('h', START + 5), false)
      assert.deepEqual([(await store.refreshToken('h'))?.revoked, (await store.refreshToken('h'))?.updatedAt], [true, START + 4])
      assert.deepEqual([await store.deleteSession(session.id), await store.deleteSession(session.id)], [true, false])
    })
  })

  test('one-time tokens, flows, factors, challenges and recovery codes are each good once', async () => {
    const transact = await open()
    await transact(async (store) => {
      const user = { ...blankUser(uuid(), START), email: 'a@example.org' }
      await store.insertUser(user)
      const token = {
        id: uuid(),
        userId: user.id,
        kind: 'recovery_token',
        hash: 'h',
        relatesTo: 'a',
        createdAt: START,
        otpHash: 'o',
        flowId: null,
      }
      await store.insertOneTimeToken(token)
      assert.deepEqual(await store.oneTimeToken(user.id, 'recovery_token'), token)
      assert.deepEqual(await store.oneTimeTokenByHash('h'), token)
      assert.equal(await store.takeOneTimeToken('confirmation_token', 'h'), null, 'bound to its purpose')
      assert.deepEqual(
        [await store.takeOneTimeToken('recovery_token', 'h'), await store.takeOneTimeToken('recovery_token', 'h')],
        [token, null],
      )

      const flow = {
        id: uuid(),
        userId: null,
        codeHash: '',
        challenge: 'c',
        challengeMethod: 's256',
        provider: 'email',
        method: 'magiclink',
        createdAt: START,
        issuedAt: null,
        sealed: null,
      }
      await store.insertFlow(flow)
      await store.issueCode(flow.id, 'code', user.id, START + 1)
      assert.deepEqual(await store.flowByCode('code'), { ...flow, codeHash: 'code', userId: user.id, issuedAt: START + 1 })
      assert.deepEqual([await store.deleteFlow(flow.id), await store.deleteFlow(flow.id)], [true, false])

      const factor = {
        id: uuid(),
        userId: user.id,
        name: 'phone',
        type: 'totp',
        status: 'unverified',
        secret: 's',
        phone: null,
        credential: { id: 'AQI=', publicKey: 'AwQ=' },
        createdAt: START,
        updatedAt: START,
        lastChallengedAt: null,
      }
      assert.equal(await store.insertFactor(factor), true)
      assert.equal(await store.insertFactor({ ...factor, id: uuid() }), false, 'names are unique')
      await store.updateFactor(factor.id, { status: 'verified' }, START + 1)
      const [kept] = await store.factorsOf(user.id)
      assert.deepEqual([kept?.status, kept?.credential], ['verified', factor.credential])
      const challenge = {
        id: uuid(),
        factorId: factor.id,
        createdAt: START,
        verifiedAt: null,
        ip: '192.0.2.1',
        otpHash: 'h',
        session: { challenge: 'c' },
      }
      await store.insertChallenge(challenge)
      assert.deepEqual(await store.challengeById(challenge.id), challenge)
      assert.deepEqual([await store.useChallenge(challenge.id, START), await store.useChallenge(challenge.id, START)], [true, false])

      await store.replaceRecoveryCodes(user.id, ['a', 'b'], START)
      assert.deepEqual([await store.useRecoveryCode(user.id, 'a'), await store.useRecoveryCode(user.id, 'a')], [true, false])
      assert.equal(await store.countRecoveryCodes(user.id), 1)
    })
  })

  test('mails are claimed once, and again when nobody finished them; expired ones never', async () => {
    const transact = await open()
    await transact(async (store) => {
      const mail = mailOf()
      await store.insertMail(mail)
      await store.insertMail(mailOf({ expiresAt: START }))
      await store.insertMail(mailOf({ dueAt: START + MINUTE / 2 }))
      assert.equal(await store.countMails('waiting', START), 2)
      const [claimed, ...more] = await store.claimMails(START, START + 1000, 9, KINDS)
      assert.deepEqual([claimed?.id, claimed?.state, claimed?.attempts, more.length], [mail.id, 'sending', 1, 0])
      assert.equal((await store.claimMails(START + 1, START + 1001, 9, KINDS)).length, 0)
      assert.equal(await store.nextMail(START, KINDS), START + 1000)
      assert.equal((await store.claimMails(START + 1000, START + 2000, 9, KINDS)).length, 1)
      await store.updateMail(mail.id, { state: 'sent', sentAt: START + 1500 })
      assert.equal((await store.mails({ limit: 9, offset: 0 })).find(({ id }) => id === mail.id)?.sentAt, START + 1500)
    })
  })

  test('a rate gives its amount at once and then a share at a time', async () => {
    const transact = await open()
    await transact(async (store) => {
      const rule = { amount: 3, window: 3000 }
      const taken = []
      for (let i = 0; i < 4; i++) taken.push(await store.take('k', rule, START))
      assert.deepEqual(taken, [0, 0, 0, 1000])
      assert.equal(await store.take('k', rule, START + 999), 1)
      assert.equal(await store.take('k', rule, START + 1000), 0)
      assert.equal(await store.take('other', rule, START), 0)
      assert.equal(await store.take('k', { amount: 1, window: 10 }, START + 60_000), 0)
    })
  })

  test('what is good once is good once until its end, also where the clock is put back', async () => {
    const transact = await open()
    await transact(async (store) => {
      const until = START + MINUTE
      assert.ok(await store.isFirst('proof', until, START))
      for (const now of [START, START + 1, START - 1, START - MINUTE, until - 1])
        assert.ok(!(await store.isFirst('proof', until, now)), `${now - START} ms later`)
      assert.ok(await store.isFirst('other', until, START))
      assert.ok(await store.isFirst('proof', until + MINUTE, until))
      assert.ok(!(await store.isFirst('proof', until + MINUTE, until)))
    })
    const at = Array.from({ length: 8 }, () => transact((store) => store.isFirst('raced', START + MINUTE, START)))
    assert.equal((await Promise.all(at)).filter(Boolean).length, 1)
  })

  test('what is over is removed a page at a time, each kind by its own age; what is in use stays', async () => {
    const transact = await open()
    const DAY = 86_400_000
    const never = { audit: null, inactivity: null }
    await transact(async (store) => {
      const user = { ...blankUser(uuid(), START), email: 's@example.org' }
      const [living, timed] = [
        { ...sessionOf(user.id), notAfter: null },
        { ...sessionOf(user.id), notAfter: START + DAY },
      ]
      await store.insertUser(user)
      for (const session of [living, timed]) {
        await store.insertSession(session)
        await store.addProof(session.id, 'password', START)
        await store.insertRefreshToken({
          hash: `old ${session.id}`,
          userId: user.id,
          sessionId: session.id,
          parent: null,
          createdAt: START,
        })
        await store.revokeRefreshToken(`old ${session.id}`, START)
      }
      await store.insertRefreshToken({ hash: 'living', userId: user.id, sessionId: living.id, parent: null, createdAt: START })
      for (let i = 0; i < 510; i++) await store.audit({ id: uuid(), payload: { action: 'login' }, createdAt: START + i, ip: '' })
      const sweep = (days: number, kept: Keeping = never) => store.sweep(kept, START + days * DAY)
      const left = async () => [
        (await store.sessionsOf(user.id)).length,
        await store.countAuditEntries(),
        (await store.refreshToken(`old ${living.id}`)) !== null,
      ]

      await store.insertMail(mailOf())
      assert.equal(await sweep(1.5), false)
      assert.deepEqual([await left(), (await store.mails({ limit: 9, offset: 0 })).length], [[2, 510, true], 1])
      assert.equal(await sweep(2.1), false)
      assert.deepEqual(await left(), [1, 510, true], 'a session that has ended')
      assert.equal(await store.refreshToken(`old ${timed.id}`), null, 'with its tokens')
      await sweep(31)
      assert.deepEqual([await left(), (await store.mails({ limit: 9, offset: 0 })).length], [[1, 510, false], 0])
      assert.notEqual(await store.refreshToken('living'), null)
      assert.equal(await sweep(31, { ...never, audit: 30 * DAY }), true, 'there is more than a page')
      assert.equal(await store.countAuditEntries(), 10)
      assert.equal(await sweep(31, { ...never, audit: 30 * DAY }), false)
      assert.deepEqual(await left(), [1, 0, false])
      await sweep(31, { ...never, inactivity: 31 * DAY })
      assert.deepEqual(await left(), [1, 0, false])
      await sweep(31, { ...never, inactivity: 29 * DAY })
      assert.deepEqual(await left(), [0, 0, false], 'one that nobody refreshed')
    })
  })
})
