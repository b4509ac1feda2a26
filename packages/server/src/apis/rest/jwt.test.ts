import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
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

/** Token, code, message, details: as PostgREST's documentation has them. */
const ROWS: readonly (readonly [string, string, string, string, (string | null)?])[] = [
  ['empty', '', 'PGRST301', 'Empty JWT is sent in Authorization header'],
  ['two parts', 'a.b', 'PGRST301', 'Expected 3 parts in JWT; got 2'],
  ['five parts', 'a.b.c.d.e', 'PGRST301', 'Expected 3 parts in JWT; got 5'],
  ['junk', 'a.b.c', 'PGRST301', "JWT couldn't be decoded"],
  ['another key', sign({}, other), 'PGRST301', 'No suitable key or wrong key type', 'None of the keys was able to decode the JWT'],
  ['no algorithm', `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.AA`, 'PGRST301', 'Wrong or unsupported encoding algorithm'],
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
