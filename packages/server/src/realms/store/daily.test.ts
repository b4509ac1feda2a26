import assert from 'node:assert/strict'
import { test } from 'node:test'
import { uuid } from '../../base/ids.ts'
import { emailIdentity } from '../auth/people.ts'
import { eachRealm, type Transact } from '../realm.testing.ts'
import { blankUser } from '../users.ts'
import type { Beginning, Factor, Knock, RealmUser } from './types.ts'

const START = Date.UTC(2026, 10, 1, 12, 0, 0, 123)
const MINUTE = 60_000
const HASH = 'h'.repeat(64)
const NEXT = 'n'.repeat(64)

const entryOf = (action: string) => ({ id: uuid(), payload: { action, quote: `'"\\` }, createdAt: START, ip: '192.0.2.1' })
const takingOf = (key: string, amount: number) => ({ key, rule: { amount, window: MINUTE } })

const beginningOf = (user: RealmUser, more: Partial<Beginning> = {}): Beginning => ({
  session: {
    id: uuid(),
    userId: user.id,
    createdAt: START,
    refreshedAt: null,
    notAfter: START + MINUTE,
    aal: 'aal1',
    userAgent: `a "quoted" 'agent'`,
    ip: '192.0.2.1',
    factorId: null,
  },
  token: HASH,
  method: 'password',
  ...more,
})

const factorOf = (userId: string): Factor => ({
  id: uuid(),
  userId,
  name: 'Zoé’s telephone',
  type: 'totp',
  status: 'verified',
  secret: 'S',
  phone: null,
  credential: { id: 'x' },
  createdAt: START,
  updatedAt: START,
  lastChallengedAt: null,
})

async function person(transact: Transact, more: Partial<RealmUser> = {}) {
  const user = { ...blankUser(uuid(), START - 5), email: 'r@example.org', phone: '33600000000', userMetadata: { name: 'Zoé' }, ...more }
  const identity = emailIdentity(user, START - 5)
  const other = { ...identity, id: uuid(), provider: 'github', providerId: '7', createdAt: START - 4 }
  await transact(async (store) => {
    await store.insertUser(user)
    await store.insertIdentity(identity)
    await store.insertIdentity(other)
  })
  return { user, identity, other }
}

eachRealm((_name, open) => {
  test('a session begins with its token, proof and entry; buckets are full again; its first exchange finds all of it', async () => {
    const transact = await open()
    const { user, identity, other } = await person(transact)
    const factor = factorOf(user.id)
    const touched = { ...identity, lastSignInAt: START, updatedAt: START }
    const beginning = beginningOf(user, { passwordHash: 'better', entry: entryOf('login'), full: ['failures:"x"', 'attempts:y'] })
    const { session } = beginning
    await transact(async (store) => {
      await store.insertFactor(factor)
      for (const key of ['failures:"x"', 'other']) assert.equal(await store.take(key, { amount: 1, window: MINUTE }, START), 0)
      assert.deepEqual(await store.begin(beginning, false), { identities: [touched, other], factors: [factor] })
    })
    await transact(async (store) => {
      const entered = { ...user, passwordHash: 'better', lastSignInAt: START, updatedAt: START }
      const token = { hash: HASH, userId: user.id, sessionId: session.id, revoked: false, parent: null, createdAt: START, updatedAt: START }
      const proofs = [{ method: 'password', at: START }]
      const known = { token, session, user: entered, proofs, identities: [touched, other], factors: [factor] }
      assert.deepEqual(await store.refreshing(HASH, null, START), { wait: 0, known })
      const used = (key: string) => store.used(key, { amount: 1, window: MINUTE }, START)
      assert.deepEqual([await used('failures:"x"'), await used('other')], [0, 1])
      const [entry] = await store.auditEntries({ limit: 9, offset: 0 })
      assert.deepEqual(entry, beginning.entry)
    })
    // A transaction that ends with it.
    const second = beginningOf(user, { token: NEXT })
    await transact((store) => store.begin(second, true))
    await transact(async (store) => {
      assert.equal((await store.sessionById(second.session.id))?.userId, user.id)
      assert.equal((await store.userById(user.id))?.passwordHash, 'better')
    })
  })

  test('an exchange: the next token, the used one revoked, its entry; counted and refused by address', async () => {
    const transact = await open()
    const { user } = await person(transact)
    const beginning = beginningOf(user)
    const sessionId = beginning.session.id
    const take = takingOf('refreshes:192.0.2.1', 2)
    await transact((store) => store.begin(beginning, false))
    await transact(async (store) => {
      assert.equal((await store.refreshing(HASH, take, START)).known?.token.hash, HASH)
      const next = { hash: NEXT, userId: user.id, sessionId, parent: HASH, createdAt: START + 1 }
      await store.rotate({ next, used: HASH, entry: entryOf('token_refreshed'), now: START + 1 }, true)
    })
    await transact(async (store) => {
      const used = await store.refreshing(HASH, null, START + 2)
      assert.deepEqual(
        [used.known?.token.revoked, used.known?.token.updatedAt, used.known?.session.refreshedAt],
        [true, START + 1, START + 1],
      )
      assert.equal((await store.refreshing(NEXT, null, START + 2)).known?.token.parent, HASH)
      assert.equal((await store.auditEntries({ limit: 9, offset: 0 }))[0]?.payload.action, 'token_refreshed')
      assert.deepEqual(await store.refreshing('none', take, START), { wait: 0, known: null })
      assert.deepEqual(await store.refreshing(NEXT, take, START + 1), { wait: MINUTE / 2 - 1, known: null })
      assert.equal((await store.refreshing(NEXT, take, START + MINUTE)).wait, 0)
    })
    await transact((store) => store.deleteSession(sessionId))
    await transact(async (store) => assert.equal((await store.refreshing(NEXT, null, START)).known, null))
  })

  test('an exchange that fails takes nothing with it', async () => {
    const transact = await open()
    const { user } = await person(transact)
    const beginning = beginningOf(user)
    const sessionId = beginning.session.id
    await transact((store) => store.begin(beginning, true))
    const next = { hash: HASH, userId: user.id, sessionId, parent: HASH, createdAt: START }
    const failed = transact((store) => store.rotate({ next, used: HASH, entry: entryOf('token_refreshed'), now: START + 1 }, true))
    await assert.rejects(failed, Error, 'the next has the hash of the former')
    await transact(async (store) => {
      const { known } = await store.refreshing(HASH, null, START)
      assert.deepEqual([known?.token.revoked, known?.session.refreshedAt], [false, null])
      assert.deepEqual(await store.auditEntries({ limit: 9, offset: 0 }), [])
    })
  })

  test('a knock counts before the look, whoever it is; an address without a share takes nothing else', async () => {
    const transact = await open()
    const { user } = await person(transact)
    await person(transact, { email: 's@example.org', phone: null, sso: true })
    const taken = { failures: takingOf('failures', 3), attempts: takingOf('attempts', 2) }
    const knock = (more: Partial<Knock>) =>
      transact((store) => store.knock({ address: null, by: 'email', value: 'r@example.org', ...taken, ...more }, START))
    assert.deepEqual(await knock({}), { wait: 0, used: 1, user })
    assert.deepEqual(await knock({ by: 'phone', value: '33600000000' }), { wait: 0, used: 2, user })
    assert.deepEqual(await knock({ value: 's@example.org', address: takingOf('address', 1) }), { wait: 0, used: 2, user: null })
    assert.deepEqual(await knock({ address: takingOf('address', 1) }), { wait: MINUTE, used: 0, user: null })
    assert.deepEqual((await knock({ by: 'phone', value: null })).wait, MINUTE / 3, 'no share of failures is left')
    const again = { failures: takingOf('failures of another', 3), value: 'nobody@example.org' }
    assert.deepEqual(await knock({ ...again, by: 'phone', value: null }), { wait: 0, used: 2, user: null })
    assert.deepEqual((await knock({ ...again, address: takingOf('address of another', 1) })).user, null)
    await transact(async (store) => {
      assert.equal(await store.used('failures of another', taken.failures.rule, START), 2)
      assert.equal(await store.used('address', { amount: 1, window: MINUTE }, START), 1)
    })
  })
})
