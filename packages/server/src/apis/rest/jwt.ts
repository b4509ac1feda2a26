import type { SovraError } from '../../base/errors.ts'
import type { RestError } from './errors.ts'

type Said = readonly [code: string, message: string, details?: string]

/** Reasons of `invalid_token` (realms/tokens.ts) as PostgREST's clients know them. */
const REASONS: readonly (readonly [RegExp, string, string, string?])[] = [
  [/it is empty/, 'PGRST301', 'Empty JWT is sent in Authorization header'],
  [/it has (\d+) parts/, 'PGRST301', 'Expected 3 parts in JWT; got $1'],
  [/has signed it/, 'PGRST301', 'No suitable key or wrong key type', 'None of the keys was able to decode the JWT'],
  [/no key here is for its?/, 'PGRST301', 'No suitable key or wrong key type', 'No suitable key was found to decode the JWT'],
  [/it is unsecured/, 'PGRST301', 'Wrong or unsupported encoding algorithm', "JWT is unsecured but expected 'alg' was not 'none'"],
  [/malformed|its algorithm/, 'PGRST301', 'JWT cryptographic operation failed'],
  [/its claims/, 'PGRST303', 'Parsing claims failed'],
  [/not valid yet/, 'PGRST303', 'JWT not yet valid'],
  [/in the future/, 'PGRST303', 'JWT issued at future'],
  [/its audience/, 'PGRST303', 'JWT not in audience'],
  [/its (exp|nbf|iat) is not a time/, 'PGRST303', "The JWT '$1' claim must be a number"],
  [/its aud is neither/, 'PGRST303', "The JWT 'aud' claim must be a string or an array of strings"],
  [/its (?:issuer|role)|no end/, 'PGRST303', ''],
  [/header/, 'PGRST301', "JWT couldn't be decoded"],
]

function said(error: SovraError): Said | null {
  switch (error.code) {
    case 'token_expired':
      return ['PGRST303', 'JWT expired']
    case 'keyless_refused':
      return ['PGRST302', 'Anonymous access is disabled']
    case 'invalid_api_key':
    case 'session_ended':
    case 'unauthenticated':
      return ['PGRST301', error.message]
    case 'invalid_token': {
      for (const [pattern, code, message, details] of REASONS) {
        const found = pattern.exec(error.message)
        if (found) return [code, message === '' ? error.message : message.replace('$1', found[1] ?? ''), details]
      }
      return ['PGRST301', error.message]
    }
  }
  return null
}

/** A refused credential in the dialect; null for any other error. */
export function jwtError(error: SovraError): RestError | null {
  const found = said(error)
  if (found === null) return null
  const [code, message, details = null] = found
  const invalid = error.code === 'invalid_token' || error.code === 'token_expired'
  const challenge = invalid ? `Bearer error="invalid_token", error_description="${message.replaceAll('"', "'")}"` : 'Bearer'
  const hint = error.hint === '' || invalid || code === 'PGRST302' ? null : error.hint
  return { status: error.status, headers: { ...error.headers, 'www-authenticate': challenge }, body: { code, details, hint, message } }
}
