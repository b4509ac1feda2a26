import { fail } from '../../base/errors.ts'
import type { Realm } from './realm.ts'

const URLS = {
  hcaptcha: 'https://hcaptcha.com/siteverify',
  turnstile: 'https://challenges.cloudflare.com/turnstile/v0/siteverify',
}
const PATIENCE = 10_000
const TOKEN_CHARS = 8192

/** The token of a request's `gotrue_meta_security`. */
function tokenOf(body: Readonly<Record<string, unknown>>): string | null {
  const { captcha_token } = Object(body.gotrue_meta_security) as { captcha_token?: unknown }
  return typeof captcha_token === 'string' && captcha_token.trim() !== '' && captcha_token.length <= TOKEN_CHARS
    ? captcha_token.trim()
    : null
}

/**
 * Where the realm wants it: the doors that anybody may knock at ask a CAPTCHA service first. Administrators are not asked. Throws
 * `auth_captcha_failed`; `auth_captcha_unreachable` when the service says nothing, since nobody is let in unseen.
 */
export async function demandCaptcha(realm: Realm, body: Readonly<Record<string, unknown>>): Promise<void> {
  const { captcha } = realm.rules
  if (!captcha || realm.administers) return
  const response = tokenOf(body)
  if (response === null) throw fail('auth_captcha_failed', { reason: 'no captcha_token found' })
  const form = new URLSearchParams({ secret: captcha.secret, response, ...(realm.caller.ip === null ? {} : { remoteip: realm.caller.ip }) })
  let verdict: { success?: unknown; 'error-codes'?: unknown }
  try {
    const answer = await realm.fetch(captcha.url ?? URLS[captcha.provider], {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: form.toString(),
      timeout: PATIENCE,
      maxBytes: 65_536,
      redirects: 0,
    })
    verdict = Object(await answer.json())
  } catch (cause) {
    throw fail('auth_captcha_unreachable', {}, { cause })
  }
  if (verdict.success === true) return
  const codes = Array.isArray(verdict['error-codes']) ? verdict['error-codes'].filter((code) => typeof code === 'string') : []
  throw fail('auth_captcha_failed', { reason: codes.join(', ').slice(0, 200) || 'not solved' })
}
