import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eachMetadata, type TestMetadata } from '../../../../test/databases.ts'
import { makeVault, sha256 } from '../base/crypto.ts'
import { isSovraError } from '../base/errors.ts'
import { projectRef } from '../base/ids.ts'
import type { Actor } from '../metadata/change.ts'
import { createAccessToken, findAccessToken, listAccessTokens, noteUse, revokeAccessToken } from './access-tokens.ts'
import { createApiKey, createProjectKeys, listApiKeys, readApiKeySet, revealApiKeys, revokeApiKey, rotateSharedSecret } from './api-keys.ts'
import { denySession, makeDenied, PLATFORM } from './denied.ts'
import { makeHasher } from './hashing.ts'
import { createRealmKeys, currentKey, insertKey, jwks, readRealmKeys, revokeKey, rotateKey, verificationSet } from './keys.ts'
import { LINK_LIFE, makePlatformRealm, type PlatformRealm } from './platform.ts'
import { signToken, verifyToken } from './tokens.ts'

const vault = makeVault(Buffer.alloc(32, 1))
const hasher = makeHasher({ memory: 64 })
const START = Date.UTC(2026, 10, 1)
const HOUR = 3_600_000
const actor: Actor = { id: 'test', kind: 'system', ip: null, requestId: null }
const caller = { ip: '192.0.2.1', userAgent: 'test', requestId: 'r1' }
const code = (name: string) => (error: unknown) => isSovraError(error, name as 'internal')

const eventsOf = async ({ metadata }: TestMetadata, name: string) =>
  (await metadata.kysely.selectFrom('events').selectAll().where('name', '=', name).execute()).map((row) => row.subject)

interface Clock {
  at: number
}

const realmOf = (on: TestMetadata, clock: Clock, jwtSecret = 's'.repeat(32), failedSignIns = 30): PlatformRealm =>
  makePlatformRealm({
    db: on.metadata.kysely,
    change: on.change,
    hasher,
    jwtSecret,
    expiration: 24 * HOUR,
    failedSignIns,
    now: () => clock.at,
  })

async function addUser(on: TestMetadata, realm: PlatformRealm, email: string, password: string) {
  const passwordHash = await realm.hashPassword(password)
  return on.change(actor, (change) => realm.createUser(change, { email, passwordHash, admin: true }))
}

eachMetadata((_name, open) => {
  test('realm keys: sealed, current, rotated with an overlap, revoked', async () => {
    const on = await open()
    const db = on.metadata.kysely
    const ref = projectRef()
    await on.change(actor, (change) => createRealmKeys(change, vault, ref, START))
    const keys = await readRealmKeys(db, vault, ref, START)
    assert.deepEqual(keys.map((key) => `${key.use} ${key.alg} ${key.state}`).sort(), [
      'legacy HS256 current',
      'url HS256 current',
      'user ES256 current',
    ])
    for (const row of await db.selectFrom('realm_keys').select(['secret']).execute()) assert.match(row.secret, /^v1\./)

    const former = currentKey(keys, 'user')
    const claims = { iss: 'i', aud: 'authenticated', exp: START / 1000 + 10 * 3600 }
    const token = signToken(claims, { alg: former.alg, key: former.key, kid: former.kid })
    const next = await on.change(actor, (change) => rotateKey(change, vault, { realm: ref, use: 'user', now: START + 1, overlap: HOUR }))
    assert.notEqual(next.kid, former.kid)
    assert.deepEqual(await eventsOf(on, 'key.rotated'), [next.kid])
    assert.deepEqual(await eventsOf(on, 'key.changed'), [next.kid])
    const both = await readRealmKeys(db, vault, ref, START + 2)
    assert.equal(currentKey(both, 'user').kid, next.kid)
    assert.deepEqual(new Set(jwks(both).keys.map((key) => key.kid)), new Set([former.kid, next.kid]))
    assert.ok(jwks(both).keys.every((key) => key.d === undefined))
    const set = verificationSet(both, ['i'])
    assert.ok(verifyToken(token, set, START + 2))
    assert.throws(() => verifyToken(token, set, START + 1 + HOUR), code('invalid_token'))

    await assert.rejects(
      on.change(actor, (change) => revokeKey(change, ref, next.kid, START + 3)),
      code('key_in_use'),
    )
    await assert.rejects(
      on.change(actor, (change) => revokeKey(change, ref, 'none', START + 3)),
      code('not_found'),
    )
    await on.change(actor, (change) => revokeKey(change, ref, former.kid, START + 3))
    assert.ok(!(await readRealmKeys(db, vault, ref, START + 4)).some((key) => key.kid === former.kid))
  })

  test('a waiting key is published, verifies, and is taken by the rotation', async () => {
    const on = await open()
    const ref = projectRef()
    const waiting = await on.change(actor, async (change) => {
      await createRealmKeys(change, vault, ref, START)
      return insertKey(change, vault, { realm: ref, use: 'user', alg: 'ES256', now: START, state: 'next' })
    })
    const before = await readRealmKeys(on.metadata.kysely, vault, ref, START)
    assert.ok(jwks(before).keys.some((key) => key.kid === waiting.kid))
    assert.ok(verificationSet(before, ['i']).byKid.has(waiting.kid))
    const taken = await on.change(actor, (change) => rotateKey(change, vault, { realm: ref, use: 'user', now: START }))
    assert.equal(taken.kid, waiting.kid)
  })

  test('api keys: texts sealed, known by hash, revoked; a rotated secret keeps the former ones for a while', async () => {
    const on = await open()
    const db = on.metadata.kysely
    const ref = projectRef()
    const made = await on.change(actor, (change) => createProjectKeys(change, vault, ref, START, null))
    assert.deepEqual(made.map((key) => key.kind).sort(), ['anon', 'publishable', 'secret', 'service_role'])
    assert.deepEqual((await revealApiKeys(db, vault, ref, START)).map((key) => key.text).sort(), made.map((key) => key.text).sort())
    const anon = made.find((key) => key.kind === 'anon')!
    const legacy = currentKey(await readRealmKeys(db, vault, ref, START), 'legacy')
    const { claims } = verifyToken(anon.text, verificationSet([legacy], ['i']), START)
    assert.deepEqual(
      { ...claims, jti: '' },
      { iss: 'supabase', ref, role: 'anon', iat: START / 1000, exp: START / 1000 + 315_360_000, jti: '' },
    )

    const extra = await on.change(actor, (change) =>
      createApiKey(change, vault, { realm: ref, name: 'ci', kind: 'secret', createdBy: 'u', now: START, legacy }),
    )
    assert.match(extra.text, /^sb_secret_[\w-]{32}$/)
    assert.ok(extra.text.startsWith(extra.prefix) && extra.prefix.length < 20)
    assert.equal((await readApiKeySet(db, ref)).get(sha256(extra.text))?.role, 'service_role')
    await on.change(actor, (change) => revokeApiKey(change, ref, extra.id, START + 1))
    assert.equal((await readApiKeySet(db, ref)).has(sha256(extra.text)), false)
    await assert.rejects(
      on.change(actor, (change) => revokeApiKey(change, ref, extra.id, START + 1)),
      code('not_found'),
    )
    await assert.rejects(
      on.change(actor, (change) => revokeApiKey(change, projectRef(), anon.id, START + 1)),
      code('not_found'),
    )
    await on.change(actor, (change) => revokeApiKey(change, ref, anon.id, START + 1))
    assert.equal((await readApiKeySet(db, ref)).get(sha256(anon.text))?.until, START + 1, 'a revoked JWT is remembered')

    const service = made.find((key) => key.kind === 'service_role')!
    const rotated = await on.change(actor, (change) =>
      rotateSharedSecret(change, vault, { realm: ref, now: START + 2, createdBy: null, overlap: HOUR }),
    )
    assert.equal((await readApiKeySet(db, ref)).get(sha256(service.text))?.until, START + 2 + HOUR)
    const living = (await listApiKeys(db, ref, { limit: 99 })).filter(
      (key) => key.revokedAt === null && (key.expiresAt === null || key.expiresAt > START + 2 + HOUR),
    )
    assert.deepEqual(
      living.map((key) => key.id).sort(),
      [...rotated.apiKeys, ...made.filter((key) => key.kind === 'publishable' || key.kind === 'secret')].map((key) => key.id).sort(),
    )
  })

  test('a rotation without overlap ends what earlier ones left good', async () => {
    const on = await open()
    const db = on.metadata.kysely
    const ref = projectRef()
    await on.change(actor, (change) => createProjectKeys(change, vault, ref, START, null))
    const rotate = (now: number, overlap: number) =>
      on.change(actor, (change) => rotateSharedSecret(change, vault, { realm: ref, now, createdBy: null, overlap }))
    await rotate(START + 1, 10 * HOUR)
    await rotate(START + 2, 0)
    const legacy = (await readRealmKeys(db, vault, ref, START + 3)).filter((key) => key.use === 'legacy')
    assert.equal(legacy.length, 1)
    const good = (await listApiKeys(db, ref, { limit: 99 })).filter((key) => key.expiresAt === null || key.expiresAt > START + 2)
    assert.deepEqual(good.map((key) => key.kind).sort(), ['anon', 'publishable', 'secret', 'service_role'])
  })

  test('personal access tokens: hashed, found, noted, revoked by their owner only', async () => {
    const on = await open()
    const db = on.metadata.kysely
    const make = (expiresAt: number | null) =>
      on.change(actor, (change) => createAccessToken(change, { userId: 'u1', name: 'ci', expiresAt, now: START }))
    const token = await make(null)
    const short = await make(START + HOUR)
    assert.equal((await findAccessToken(db, token.text, START))?.id, token.id)
    assert.equal((await findAccessToken(db, short.text, START + HOUR))?.id, undefined)
    assert.equal(await findAccessToken(db, `${token.text}x`, START), null)
    assert.equal(
      (await db.selectFrom('access_tokens').select('hash').where('id', '=', token.id).executeTakeFirst())?.hash,
      sha256(token.text),
    )
    await noteUse(db, token, START + 5)
    assert.equal((await listAccessTokens(db, 'u1', { limit: 9 })).find((each) => each.id === token.id)?.lastUsedAt, START + 5)
    await assert.rejects(
      on.change(actor, (change) => revokeAccessToken(change, 'u2', token.id, START)),
      code('not_found'),
    )
    await on.change(actor, (change) => revokeAccessToken(change, 'u1', token.id, START))
    assert.equal(await findAccessToken(db, token.text, START), null)
    assert.deepEqual(await eventsOf(on, 'token.revoked'), [token.id])
  })

  test('denied sessions: heard by event, read at start', async () => {
    const on = await open()
    const db = on.metadata.kysely
    const denied = makeDenied(db, () => START)
    const heard: string[] = []
    denied.onDenied((realm, id) => heard.push(`${realm} ${id}`))
    const deny = () => on.change(actor, (change) => denySession(change, 'r', 's1', START + HOUR))
    await deny()
    await deny()
    await denied.load()
    await denied.load()
    assert.deepEqual(heard, ['r s1'])
    assert.ok(denied.of('r').has('s1') && !denied.of('other').has('s1'))
  })

  test('sign-in, wrong and unknown, session token, end', async () => {
    const on = await open()
    const clock = { at: START }
    const realm = realmOf(on, clock)
    const user = await addUser(on, realm, ' Ana@Example.org ', 'correct horse')
    assert.equal(user.email, 'ana@example.org')
    await assert.rejects(addUser(on, realm, 'ana@example.org', 'correct horse'), code('email_taken'))
    await assert.rejects(addUser(on, realm, 'no address', 'correct horse'), code('email_malformed'))
    await assert.rejects(realm.hashPassword('short'), code('password_too_weak'))
    await assert.rejects(realm.signIn('ana@example.org', 'wrong', caller), code('invalid_credentials'))
    await assert.rejects(realm.signIn('bob@example.org', 'correct horse', caller), code('invalid_credentials'))

    const session = await realm.signIn('ANA@example.org', 'correct horse', caller)
    const { userId, sessionId } = realm.verify(session.access_token)
    assert.equal(userId, user.id)
    assert.equal(session.expires_in, 24 * 3600)
    assert.deepEqual(
      (await realm.sessionsOf(user.id)).map((each) => [each.id, each.ip]),
      [[sessionId, caller.ip]],
    )
    assert.throws(() => realmOf(on, clock, 't'.repeat(32)).verify(session.access_token), code('invalid_token'))

    assert.equal(await realm.endSession(actor, sessionId), true)
    assert.equal(await realm.endSession(actor, sessionId), false)
    await assert.rejects(realm.refresh(session.refresh_token, caller), code('refresh_token_not_found'))
    const denied = makeDenied(on.metadata.kysely, () => clock.at)
    await denied.load()
    assert.ok(denied.of(PLATFORM).has(sessionId))
  })

  test('refresh: rotates, allows a lost answer, ends the session on theft, dies with the secret', async () => {
    const on = await open()
    const clock = { at: START }
    const realm = realmOf(on, clock)
    await addUser(on, realm, 'ana@example.org', 'correct horse')
    const first = await realm.signIn('ana@example.org', 'correct horse', caller)
    await assert.rejects(realmOf(on, clock, 't'.repeat(32)).refresh(first.refresh_token, caller), code('refresh_token_not_found'))
    const second = await realm.refresh(first.refresh_token, caller)
    assert.notEqual(second.refresh_token, first.refresh_token)
    clock.at += 10_000
    const lost = await realm.refresh(first.refresh_token, caller)
    clock.at += 1
    await assert.rejects(realm.refresh(first.refresh_token, caller), code('refresh_token_already_used'))
    for (const token of [second, lost]) await assert.rejects(realm.refresh(token.refresh_token, caller), code('refresh_token_not_found'))
    assert.equal((await eventsOf(on, 'session.ended')).length, 1)
    await assert.rejects(realm.refresh('junk', caller), code('refresh_token_not_found'))
  })

  test('the time box ends a session', async () => {
    const on = await open()
    const clock = { at: START }
    const realm = realmOf(on, clock)
    await addUser(on, realm, 'ana@example.org', 'correct horse')
    const session = await realm.signIn('ana@example.org', 'correct horse', caller)
    clock.at += 31 * 24 * HOUR
    await assert.rejects(realm.refresh(session.refresh_token, caller), code('refresh_token_not_found'))
  })

  test('a new password ends the other sessions', async () => {
    const on = await open()
    const clock = { at: START }
    const realm = realmOf(on, clock)
    const user = await addUser(on, realm, 'ana@example.org', 'correct horse')
    const kept = realm.verify((await realm.signIn('ana@example.org', 'correct horse', caller)).access_token)
    await realm.signIn('ana@example.org', 'correct horse', caller)
    await realm.setPassword(actor, user.id, 'battery staple', kept.sessionId)
    assert.deepEqual(
      (await realm.sessionsOf(user.id)).map((each) => each.id),
      [kept.sessionId],
    )
    await assert.rejects(realm.signIn('ana@example.org', 'correct horse', caller), code('invalid_credentials'))
    assert.ok(await realm.signIn('ana@example.org', 'battery staple', caller))
  })

  test('links: once, in time, also when used by two at once', async () => {
    const on = await open()
    const clock = { at: START }
    const realm = realmOf(on, clock)
    const user = await addUser(on, realm, 'ana@example.org', 'correct horse')
    const link = () => on.change(actor, (change) => realm.createLink(change, user.id, 'admin_link'))
    const text = await link()
    const both = await Promise.allSettled([realm.useLink('admin_link', text, caller), realm.useLink('admin_link', text, caller)])
    assert.deepEqual(both.map((each) => each.status).sort(), ['fulfilled', 'rejected'])
    const late = await link()
    clock.at += LINK_LIFE
    await assert.rejects(realm.useLink('admin_link', late, caller), code('link_not_valid'))
  })

  test('failed sign-ins of one account from one address are limited; others are not touched', async () => {
    const on = await open()
    const clock = { at: START }
    const realm = realmOf(on, clock)
    await addUser(on, realm, 'ana@example.org', 'correct horse')
    for (let i = 0; i < 10; i++) await assert.rejects(realm.signIn('ana@example.org', 'wrong', caller), code('invalid_credentials'))
    await assert.rejects(
      realm.signIn('ana@example.org', 'correct horse', caller),
      (error) => isSovraError(error, 'rate_limited') && Number(error.headers?.['retry-after']) > 0,
    )
    const elsewhere = { ...caller, ip: '2001:db8::2' }
    assert.ok(await realm.signIn('ana@example.org', 'correct horse', elsewhere))

    const others = Array.from({ length: 12 }, () => realm.signIn('ana@example.org', 'correct horse', elsewhere))
    assert.equal((await Promise.all(others)).length, 12, 'who is right waits for the others, and gets in')
    const crowd = { ...caller, ip: '203.0.113.77' }
    const guesses = await Promise.allSettled(Array.from({ length: 25 }, () => realm.signIn('ana@example.org', 'wrong', crowd)))
    const codes = guesses.map((guess) => (guess.status === 'rejected' ? (guess.reason as { code: string }).code : 'in'))
    assert.equal(codes.filter((each) => each === 'invalid_credentials').length, 10, 'all at once are no more than one after the other')
    assert.equal(codes.filter((each) => each === 'rate_limited').length, 15)

    const strict = realmOf(on, clock, undefined, 2)
    for (const name of ['b', 'c'])
      await assert.rejects(strict.signIn(`${name}@example.org`, 'wrong', elsewhere), code('invalid_credentials'))
    const neighbour = { ...caller, ip: '2001:db8::3' }
    await assert.rejects(strict.signIn('ana@example.org', 'correct horse', neighbour), code('rate_limited'), 'the same /64')
    clock.at += HOUR
    assert.ok(await strict.signIn('ana@example.org', 'correct horse', neighbour))
  })
})
