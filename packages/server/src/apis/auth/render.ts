import type { FastifyReply, FastifyRequest } from 'fastify'
import { fail, isSovraError, type SovraError } from '../../base/errors.ts'
import { bearerOf } from '../../gateway/authenticate.ts'
import { namedRef } from '../../gateway/resolve.ts'

/** From this version on, errors have the new shape. */
const VERSION = '2024-01-01'
const HEADER = 'x-supabase-api-version'

/** Several of our codes have one name on the wire. */
const NAMES: Readonly<Record<string, string>> = {
  auth_user_gone: 'user_not_found',
  auth_sign_in_banned: 'user_banned',
  auth_refresh_banned: 'user_banned',
  auth_bad_sub: 'bad_jwt',
  auth_app_metadata_refused: 'not_admin',
  auth_verify_email_first: 'email_not_confirmed',
  auth_verify_phone_first: 'phone_not_confirmed',
  auth_identity_linked: 'identity_already_exists',
  auth_anonymous_refused: 'no_authorization',
  auth_unprocessable: 'validation_failed',
  auth_address_not_found: 'user_not_found',
  auth_logins_disabled_email: 'email_provider_disabled',
  auth_logins_disabled_phone: 'phone_provider_disabled',
  auth_id_taken: 'user_already_exists',
  auth_phone_taken: 'phone_exists',
  auth_link_expired: 'otp_expired',
  auth_insufficient_aal_to_enroll: 'insufficient_aal',
  auth_insufficient_aal_to_unenroll: 'insufficient_aal',
  auth_id_malformed: 'validation_failed',
  auth_mfa_challenge_not_found: 'mfa_factor_not_found',
  auth_mfa_recovery_code_invalid: 'mfa_verification_failed',
  auth_custom_provider_exists: 'conflict',
  auth_hook_failed: 'unexpected_failure',
  auth_hook_refused_400: 'unknown',
  auth_hook_refused_401: 'unknown',
  auth_hook_refused_403: 'unknown',
  auth_hook_refused_404: 'unknown',
  auth_hook_refused_409: 'unknown',
  auth_hook_refused_422: 'unknown',
  auth_hook_refused_429: 'unknown',
  auth_hook_refused_500: 'unexpected_failure',
  auth_password_attempt_refused: 'invalid_credentials',
  auth_captcha_unreachable: 'unexpected_failure',
  auth_mfa_webauthn_failed: 'mfa_verification_failed',
  auth_mfa_phone_code_wrong: 'mfa_verification_failed',
  auth_no_such_session: 'session_not_found',
  auth_provider_exchange_failed: 'unexpected_failure',
  auth_oauth_server_disabled: 'feature_disabled',
  auth_saml_assertion_invalid: 'validation_failed',
  auth_saml_logout_invalid: 'validation_failed',
}

export const wireCode = (code: string): string => NAMES[code] ?? (code.startsWith('auth_') ? code.slice('auth_'.length) : code)

/** What is said in the shape of OAuth 2.0, whatever version a client speaks. */
const OAUTH: Readonly<Record<string, string>> = {
  auth_unsupported_grant_type: 'unsupported_grant_type',
  auth_invalid_request: 'invalid_request',
  auth_id_token_refused: 'invalid request',
  auth_nonce_refused: 'invalid nonce',
}

const shows = ({ headers }: FastifyRequest): boolean => headers.apikey !== undefined || bearerOf(headers.authorization) !== undefined

/** What the gateway and the layers below say, in the dialect's words. */
function translated(error: SovraError, request: FastifyRequest): SovraError {
  switch (error.code) {
    case 'token_expired':
      return fail('auth_bad_jwt', {
        reason: 'invalid JWT: unable to parse or verify signature, token has invalid claims: token is expired',
      })
    case 'invalid_token':
      return fail('auth_bad_jwt', { reason: 'invalid JWT: unable to parse or verify signature, token is not valid' })
    case 'session_ended':
      return fail('auth_session_not_found')
    case 'unauthenticated':
    case 'keyless_refused':
      return fail('auth_no_authorization')
    case 'forbidden':
      // Whoever shows nothing is asked to; whoever shows too little is refused.
      return fail(shows(request) ? 'auth_not_admin' : 'auth_no_authorization')
    case 'not_found':
      return fail('auth_not_found')
    case 'rate_limited':
    case 'wake_budget_spent':
      return fail('auth_over_request_rate_limit')
    case 'invalid_json':
      return fail('auth_bad_json', { reason: 'it is not JSON' })
    case 'internal':
      return fail('auth_unexpected_failure', { reason: 'Unexpected failure, please check server logs for more information' })
    case 'database_error': {
      // Mostly a trigger of the project's own that refused. Its words are for its people, who find them in the log.
      const making =
        /\/(?:signup|otp|magiclink|invite|admin\/(?:users|generate_link))(?:\?|$)/.test(request.url) && request.method === 'POST'
      return fail('auth_unexpected_failure', { reason: making ? 'Database error saving new user' : 'Database error querying schema' })
    }
    default:
      return error
  }
}

const isNew = (header: unknown): boolean => typeof header === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(header) && header >= VERSION

/** Why, in words that hold nothing of a user: ours, or the code of what the database or the system said. */
function whyOf(cause: unknown): string {
  if (typeof cause === 'string') return cause
  if (isSovraError(cause)) return `${cause.message} ${cause.hint}`
  const { code } = cause as { code?: unknown }
  return typeof code === 'string' ? code : 'unknown'
}

/** The dialect tells the caller that a hook failed; whoever wrote it finds why in the log of the project. */
function noteHook(error: SovraError, request: FastifyRequest): void {
  if (!error.code.startsWith('auth_hook_') || error.cause === undefined) return
  const project = namedRef(request.raw)
  request.log.warn({ ...(project ? { project } : {}), request_id: request.id, why: whyOf(error.cause) }, 'a hook failed')
}

/** Both shapes of the dialect's errors: by the version that the client says it speaks. */
export function render(thrown: SovraError, request: FastifyRequest, reply: FastifyReply): unknown {
  const error = translated(thrown, request)
  noteHook(error, request)
  const code = wireCode(error.code)
  reply.code(error.status).header('content-type', 'application/json; charset=utf-8').header('x-sb-error-code', code)
  const oauth = OAUTH[error.code]
  const described = error.code === 'auth_unsupported_grant_type' ? '' : error.message
  if (oauth !== undefined) return reply.send(JSON.stringify({ error: oauth, error_description: described }))
  const weak = error.code === 'auth_weak_password' ? { weak_password: error.details } : {}
  if (isNew(request.headers[HEADER])) {
    reply.header(HEADER, VERSION)
    return reply.send(JSON.stringify({ code, message: error.message, ...weak }))
  }
  const id = error.status >= 500 ? { error_id: request.id } : {}
  return reply.send(JSON.stringify({ code: error.status, error_code: code, msg: error.message, ...id, ...weak }))
}
