import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { after, before, test } from 'node:test'
import type { ThirdParty } from '@sovrabase/contract/auth'
import { startReceiver } from '../realms/auth/realm.testing.ts'
import { signToken, verifyToken } from '../realms/tokens.ts'
import { makeThirdParties } from './third-party.ts'
import type { ProjectContext } from './types.ts'

const MINUTE = 60_000
let receiver: Awaited<ReturnType<typeof startReceiver>>
let issuer = ''
before(async () => {
  receiver = await startReceiver()
  issuer = receiver.url
})
after(() => receiver?.close())

interface Pair {
  readonly kid: string
  readonly key: KeyObject
  readonly jwk: object
}

function pair(kid: string, bits = 2048): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits })
  return { kid, key: privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig' } }
}

function setUp(more: Partial<ThirdParty> = {}) {
  const clock = { at: Date.UTC(2026, 10, 1) }
  const now = () => clock.at
  const parties = makeThirdParties(receiver.fetch, now)
  const rule: ThirdParty = { issuer, jwks_url: `${receiver.url}/keys`, ...more }
  const context = { thirdParties: new Map([[rule.issuer, rule]]) } as unknown as ProjectContext
  const sign = ({ kid, key }: Pair) => signToken({ iss: issuer, sub: 'x', exp: Math.floor(now() / 1000) + 60 }, { alg: 'RS256', key, kid })
  const passes = async (from: Pair): Promise<boolean> => {
    const token = sign(from)
    await parties.prepare(context, token)
    try {
      verifyToken(token, parties.setFor(context, token)!.set, now())
      return true
    } catch {
      return false
    }
  }
  return { clock, parties, context, passes, sign }
}

const serve = (...pairs: Pair[]) => (receiver.answer = () => ({ body: { keys: pairs.map(({ jwk }) => jwk) } }))
const away = () => (receiver.answer = () => ({ status: 500, body: {} }))

test('keys are read once, anew where a token names a new one, and forgotten when they are withdrawn', async () => {
  const [first, second] = [pair('1'), pair('2')]
  const { clock, passes } = setUp()
  serve(first)
  receiver.calls.length = 0
  assert.deepEqual([await passes(first), await passes(first), receiver.calls.length], [true, true, 1])
  serve(first, second)
  assert.equal(await passes(second), false, 'strangers do not make us ask again and again')
  assert.equal(receiver.calls.length, 1)
  clock.at += MINUTE
  assert.deepEqual([await passes(second), await passes(first), receiver.calls.length], [true, true, 2])
  serve(second)
  clock.at += 11 * MINUTE
  assert.equal(await passes(first), true, 'it serves on while it is asked for')
  await new Promise((done) => setImmediate(done))
  while (receiver.calls.length < 3) await new Promise((done) => setImmediate(done))
  // The one that is under way ends before the next is looked at.
  clock.at += MINUTE
  assert.deepEqual([await passes(pair('3')), await passes(first), await passes(second)], [false, false, true])
})

test('a provider that is away signs nobody out for an hour, then everybody; back again, it serves at once', async () => {
  const only = pair('1')
  const { clock, passes } = setUp()
  serve(only)
  assert.equal(await passes(only), true)
  away()
  clock.at += 50 * MINUTE
  assert.equal(await passes(only), true)
  clock.at += 11 * MINUTE
  assert.equal(await passes(only), false)
  serve(only)
  assert.equal(await passes(only), false, 'not asked at every request')
  clock.at += MINUTE
  assert.equal(await passes(only), true)
})

test('many at once ask once; weak and secret keys are none; metadata must be of the issuer', async () => {
  const [good, weak] = [pair('1'), pair('weak', 1024)]
  const { passes } = setUp()
  receiver.answer = () => ({
    body: { keys: [good.jwk, weak.jwk, { kty: 'oct', k: 'AAAA', kid: 'shared' }, null, { kty: 'RSA', kid: 'broken' }] },
  })
  receiver.calls.length = 0
  assert.deepEqual(await Promise.all([passes(good), passes(good), passes(good)]), [true, true, true])
  assert.equal(receiver.calls.length, 1)
  assert.equal(await passes(weak), false)

  const found = setUp({ jwks_url: undefined })
  receiver.answer = ({ url }) => ({
    body: url.endsWith('openid-configuration') ? { issuer: 'https://evil.example.com', jwks_uri: `${issuer}/keys` } : { keys: [good.jwk] },
  })
  assert.equal(await found.passes(good), false)
  const inner = setUp({ jwks_url: 'http://169.254.169.254/keys' })
  assert.equal(await inner.passes(good), false)
})

test('nothing to wait for: other issuers, no token, keys that are here', async () => {
  const only = pair('1')
  const { parties, context, passes, sign } = setUp()
  serve(only)
  assert.equal(parties.prepare(context, 'hello'), null)
  assert.equal(parties.prepare(context, signToken({ iss: 'https://other.example.org' }, { alg: 'RS256', key: only.key, kid: '1' })), null)
  assert.equal(await passes(only), true)
  assert.equal(parties.prepare(context, sign(only)), null)
})
