import assert from 'node:assert/strict'
import { createHmac, createPrivateKey, createSecretKey, generateKeyPairSync, sign as rawSign } from 'node:crypto'
import { test } from 'node:test'
import * as jose from 'jose'
import { isSovraError } from '../base/errors.ts'
import { type Alg, signToken, type VerificationSet, type VerifyKey, verifyToken } from './tokens.ts'

const NOW = Date.UTC(2026, 10, 1)
const SECONDS = NOW / 1000
const ISSUER = 'http://127.0.0.1:8080/p/abcdefghijklmnopqrst/auth/v1'
const SECRET = 'a-shared-secret-that-is-long-enough-0123456789'

const pairs = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: generateKeyPairSync('ed25519'),
}
const shared = createSecretKey(Buffer.from(SECRET))
const legacy: VerifyKey = { kid: 'legacy', alg: 'HS256', key: shared, trust: 'legacy', expiresAt: null }
const own = (['ES256', 'RS256', 'EdDSA'] as const).map(
  (alg): VerifyKey => ({ kid: alg, alg, key: pairs[alg].publicKey, trust: 'own', expiresAt: null }),
)
const set: VerificationSet = {
  byKid: new Map([...own, legacy].map((key) => [key.kid, key])),
  shared: [legacy],
  issuers: [ISSUER, 'https://former.example/auth/v1'],
  audience: 'authenticated',
}
const good = { iss: ISSUER, aud: 'authenticated', sub: 'u', role: 'authenticated', exp: SECONDS + 3600, iat: SECONDS }
const b64 = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const signed = (alg: keyof typeof pairs, claims: Record<string, unknown> = good, kid: string = alg) =>
  signToken(claims, { alg, key: pairs[alg].privateKey, kid })
const hs = (
  claims: Record<string, unknown>,
  header: Record<string, unknown> = { alg: 'HS256', typ: 'JWT' },
  key: string | Buffer = SECRET,
) => {
  const input = `${b64(header)}.${b64(claims)}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}

test('accepted tokens', async (t) => {
  const rows: [string, string][] = [
    ['ES256', signed('ES256')],
    ['RS256', signed('RS256')],
    ['EdDSA', signed('EdDSA')],
    ['no kid on an asymmetric one', signToken(good, { alg: 'ES256', key: pairs.ES256.privateKey })],
    ['former issuer', signed('ES256', { ...good, iss: 'https://former.example/auth/v1' })],
    ['audience list', signed('ES256', { ...good, aud: ['other', 'authenticated'] })],
    ['shared secret without iss, aud, exp, session_id', hs({ sub: 'u', role: 'authenticated' })],
    ['shared secret with a kid of its own', hs({ role: 'anon' }, { alg: 'HS256', kid: '../../etc/passwd' })],
    ['expired within the skew', signed('ES256', { ...good, exp: SECONDS - 10 })],
    ['clock ahead within the skew', signed('ES256', { ...good, iat: SECONDS + 20, nbf: SECONDS + 20 })],
    ['made by jose', await new jose.SignJWT(good).setProtectedHeader({ alg: 'ES256', kid: 'ES256' }).sign(pairs.ES256.privateKey)],
  ]
  for (const [name, token] of rows) await t.test(name, () => assert.ok(verifyToken(token, set, NOW).claimsJson))
})

test('what we sign, jose verifies', async () => {
  for (const alg of ['ES256', 'RS256', 'EdDSA'] as const) {
    const { payload } = await jose.jwtVerify(signed(alg), pairs[alg].publicKey, { currentDate: new Date(NOW), issuer: ISSUER })
    assert.equal(payload.sub, 'u')
  }
})

test('refused tokens', async (t) => {
  const es = signed('ES256')
  const [head, body, signature] = es.split('.') as [string, string, string]
  const spki = pairs.ES256.publicKey.export({ type: 'spki', format: 'pem' })
  const attacker = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const derInput = `${b64({ alg: 'ES256', kid: 'ES256' })}.${b64(good)}`
  const rows: [string, string, 'invalid_token' | 'token_expired'][] = [
    ['empty', '', 'invalid_token'],
    ['two parts', `${head}.${body}`, 'invalid_token'],
    ['four parts', `${es}.x`, 'invalid_token'],
    ['alg none', `${b64({ alg: 'none' })}.${b64(good)}.`, 'invalid_token'],
    ['alg none with a signature', `${b64({ alg: 'none' })}.${b64(good)}.${signature}`, 'invalid_token'],
    ['alg nOnE', `${b64({ alg: 'nOnE' })}.${b64(good)}.AA`, 'invalid_token'],
    ['HS256 by the public key (PEM)', hs(good, { alg: 'HS256', kid: 'ES256' }, spki), 'invalid_token'],
    ['HS256 by the public key, no kid', hs(good, { alg: 'HS256' }, spki), 'invalid_token'],
    ['HS512 by the secret', hs(good, { alg: 'HS512' }), 'invalid_token'],
    ['alg of another key', `${b64({ alg: 'RS256', kid: 'ES256' })}.${body}.${signature}`, 'invalid_token'],
    ['key in the header (jwk)', signToken(good, { alg: 'ES256', key: attacker.privateKey, kid: 'ES256' }), 'invalid_token'],
    [
      'jwk and jku are not looked at',
      (() => {
        const input = `${b64({ alg: 'ES256', jwk: attacker.publicKey.export({ format: 'jwk' }), jku: 'http://127.0.0.1/' })}.${b64(good)}`
        return `${input}.${rawSign('sha256', Buffer.from(input), { key: attacker.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
      })(),
      'invalid_token',
    ],
    ['unknown kid, asymmetric', signed('ES256', good, 'other'), 'invalid_token'],
    ['kid __proto__', signed('ES256', good, '__proto__'), 'invalid_token'],
    ['kid no string', hs(good, { alg: 'HS256', kid: 1 }), 'invalid_token'],
    ['kid null', hs(good, { alg: 'HS256', kid: null }), 'invalid_token'],
    ['crit', hs(good, { alg: 'HS256', crit: ['b64'], b64: false }), 'invalid_token'],
    ['header no object', `${b64('[]')}.${body}.${signature}`, 'invalid_token'],
    [
      'payload no object',
      (() => {
        const i = `${b64({ alg: 'HS256' })}.${b64('"x"')}`
        return `${i}.${createHmac('sha256', SECRET).update(i).digest('base64url')}`
      })(),
      'invalid_token',
    ],
    [
      'signature in DER',
      `${derInput}.${rawSign('sha256', Buffer.from(derInput), pairs.ES256.privateKey).toString('base64url')}`,
      'invalid_token',
    ],
    ['zero signature (CVE-2022-21449)', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`, 'invalid_token'],
    ['changed payload', `${head}.${b64({ ...good, role: 'service_role' })}.${signature}`, 'invalid_token'],
    ['signature with padding', `${es}=`, 'invalid_token'],
    ['signature with stray bits', respelt(hs({ role: 'anon' })), 'invalid_token'],
    ['expired', signed('ES256', { ...good, exp: SECONDS - 31 }), 'token_expired'],
    ['expired, shared secret', hs({ role: 'anon', exp: SECONDS - 31 }), 'token_expired'],
    ['exp as text', hs({ role: 'anon', exp: String(SECONDS + 60) }), 'invalid_token'],
    ['own key without exp', signed('ES256', { ...good, exp: undefined }), 'invalid_token'],
    ['not yet', signed('ES256', { ...good, nbf: SECONDS + 31 }), 'invalid_token'],
    ['issued in the future', signed('ES256', { ...good, iat: SECONDS + 31 }), 'invalid_token'],
    ['own key, wrong issuer', signed('ES256', { ...good, iss: 'http://evil/auth/v1' }), 'invalid_token'],
    ['own key, no issuer', signed('ES256', { ...good, iss: undefined }), 'invalid_token'],
    ['own key, wrong audience', signed('ES256', { ...good, aud: 'other' }), 'invalid_token'],
    ['own key, no audience', signed('ES256', { ...good, aud: undefined }), 'invalid_token'],
    ['role none', hs({ role: 'none' }), 'invalid_token'],
    ['role empty', hs({ role: '' }), 'invalid_token'],
    ['role no text', hs({ role: ['service_role'] }), 'invalid_token'],
    ['too long', hs({ role: 'anon', x: 'x'.repeat(20_000) }), 'invalid_token'],
  ]
  for (const [name, token, code] of rows) {
    await t.test(name, () =>
      assert.throws(
        () => verifyToken(token, set, NOW),
        (error) =>
          isSovraError(error, code) && error.status === 401 && error.headers?.['www-authenticate']?.startsWith('Bearer error=') === true,
      ),
    )
  }
})

/** The same bytes, spelt with other unused bits in the last character. */
function respelt(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(token.at(-1)!)
  return token.slice(0, -1) + alphabet[last ^ 1]
}

test('a retired key verifies until its end, and its tokens are not remembered longer', () => {
  const retired: VerificationSet = { ...set, byKid: new Map(), shared: [{ ...legacy, expiresAt: NOW + 1000 }] }
  assert.equal(verifyToken(hs({ role: 'anon', exp: SECONDS + 3600 }), retired, NOW).expiresAt, NOW + 1000)
  assert.throws(
    () => verifyToken(hs({ role: 'anon' }), retired, NOW + 1000),
    (error) => isSovraError(error, 'invalid_token'),
  )
})

test('several shared secrets are tried in order', () => {
  const other: VerifyKey = { ...legacy, kid: 'new', key: createSecretKey(Buffer.from('another-secret')) }
  assert.equal(verifyToken(hs({ role: 'anon' }), { ...set, shared: [other, legacy] }, NOW).key.kid, 'legacy')
})

test('claims reach PostgreSQL as they were checked: the last of two equal names', () => {
  const input = `${b64({ alg: 'HS256' })}.${b64('{"role":"service_role","role":"anon"}')}`
  const { claims, claimsJson } = verifyToken(`${input}.${createHmac('sha256', SECRET).update(input).digest('base64url')}`, set, NOW)
  assert.equal(claims.role, 'anon')
  assert.equal(claimsJson, '{"role":"anon"}')
})

test('signing round trip for every algorithm', () => {
  const algs: Alg[] = ['HS256', 'ES256', 'RS256', 'EdDSA']
  for (const alg of algs) {
    const key = alg === 'HS256' ? shared : createPrivateKey(pairs[alg].privateKey.export({ type: 'pkcs8', format: 'pem' }))
    assert.equal(verifyToken(signToken(good, { alg, key, kid: alg === 'HS256' ? 'legacy' : alg }), set, NOW).claims.sub, 'u')
  }
})
