import { fail } from '../../base/errors.ts'

/** Whether it is a URL that may be asked. */
export function isSafe(address: string): boolean {
  try {
    demandSafe(address)
    return true
  } catch {
    return false
  }
}

/** Without TLS on this machine alone: whoever is on the way could be anybody. True: it is without. Throws `auth_validation_failed`. */
export function demandSafe(address: string): boolean {
  const url = URL.canParse(address) ? new URL(address) : null
  if (!url) throw fail('auth_validation_failed', { reason: 'the address of the provider is not a URL' })
  if (url.protocol === 'https:') return false
  if (url.protocol === 'http:' && /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname)) return true
  throw fail('auth_validation_failed', { reason: 'the provider is not asked without TLS' })
}
