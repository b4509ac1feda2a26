import assert from 'node:assert/strict'
import { createHmac, createSecretKey } from 'node:crypto'
import { describe, it } from 'node:test'
import { fail, SovraError } from '../../base/errors.ts'
import { signToken, type VerificationSet, verifyToken } from '../../realms/tokens.ts'
import { renderError } from './errors.ts'

const NOW = 1_700_000_000
const key = createSecretKey(Buffer.alloc(32, 7))
const other = createSecretKey(Buffer.alloc(32, 8))
const set: VerificationSet = {
  byKid: new Map(),
  shared: [{ kid: 'a', alg: 'HS256', key, trust: 'legacy', expiresAt: null }],
  issuers: ['me'],
  audience: 'authenticated',
}
const sign = (claims: Record<string, unknown>, by = key) => signToken(claims, { alg: 'HS256', key: by })

const encoded = (text: string) => Buffer.from(text).toString('base64url')
function signed(head: string, body: string): string {
  const input = `${encoded(head)}.${encoded(body)}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}
const UNSECURED = ['Wrong or unsupported encoding algorithm', "JWT is unsecured but expected 'alg' was not 'none'"] as const

/** Token, code, message, details: as PostgREST's documentation has them. */
const ROWS: readonly (readonly [string, string, string, string, (string | null)?])[] = [
  ['empty', '', 'PGRST301', 'Empty JWT is sent in Authorization header'],
  ['two parts', 'a.b', 'PGRST301', 'Expected 3 parts in JWT; got 2'],
  ['five parts', 'a.b.c.d.e', 'PGRST301', 'Expected 3 parts in JWT; got 5'],
  ['junk', 'a.b.c', 'PGRST301', 'JWT cryptographic operation failed'],
  ['no signature', `${encoded('{"alg":"HS256"}')}.e30.`, 'PGRST301', 'JWT cryptographic operation failed'],
  ['an algorithm of nobody', `${encoded('{"alg":"nOnE"}')}.e30.AA`, 'PGRST301', 'JWT cryptographic operation failed'],
  ...['RS256', 'HS512'].map(
    (alg) =>
      [
        alg,
        `${encoded(`{"alg":"${alg}"}`)}.e30.AA`,
        'PGRST301',
        'No suitable key or wrong key type',
        'No suitable key was found to decode the JWT',
      ] as const,
  ),
  ['no claims', signed('{"alg":"HS256"}', '"text"'), 'PGRST303', 'Parsing claims failed'],
  ['another key', sign({}, other), 'PGRST301', 'No suitable key or wrong key type', 'None of the keys was able to decode the JWT'],
  ...['AA', ''].map((signature) => ['unsecured', `${encoded('{"alg":"none"}')}.e30.${signature}`, 'PGRST301', ...UNSECURED] as const),
  ['expired', sign({ exp: NOW - 31 }), 'PGRST303', 'JWT expired'],
  ['not yet', sign({ nbf: NOW + 31 }), 'PGRST303', 'JWT not yet valid'],
  ['of the future', sign({ iat: NOW + 31 }), 'PGRST303', 'JWT issued at future'],
  ['no time', sign({ exp: 'never' }), 'PGRST303', "The JWT 'exp' claim must be a number"],
  ['nobody', sign({ aud: { to: 'x' } }), 'PGRST303', "The JWT 'aud' claim must be a string or an array of strings"],
  ['somebody and nobody', sign({ aud: ['x', 1] }), 'PGRST303', "The JWT 'aud' claim must be a string or an array of strings"],
]

const caller = { role: 'anon', authenticated: false }

describe('refused credentials in the dialect', () => {
  for (const [name, token, code, message, details = null] of ROWS) {
    it(name, () => {
      assert.throws(
        () => verifyToken(token, set, NOW * 1000),
        (error) => {
          assert.ok(error instanceof SovraError)
          const { status, headers, body } = renderError(error, caller, () => null)
          assert.deepEqual([status, body], [401, { code, details, hint: null, message }])
          assert.equal(headers['www-authenticate'], `Bearer error="invalid_token", error_description="${message}"`)
          return true
        },
      )
    })
  }

  it('without one', () => {
    const { status, headers, body } = renderError(fail('keyless_refused'), caller, () => null)
    assert.deepEqual(
      [status, headers['www-authenticate'], body.code, body.message],
      [401, 'Bearer', 'PGRST302', 'Anonymous access is disabled'],
    )
    assert.equal(renderError(fail('invalid_api_key'), caller, () => null).body.code, 'PGRST301')
  })
})
