import { AUTH_DEFAULTS, type AuthRates, type AuthSettings, RATE_DEFAULTS } from '@sovrabase/contract/auth'
import { inRange, parseAddress, parseRange } from '../../base/addresses.ts'
import { plainAddress } from '../../base/proxies.ts'
import type { Keeping } from '../store/types.ts'

type Defaults = typeof AUTH_DEFAULTS
type Widened = { readonly [K in keyof Defaults]: Exclude<AuthSettings[K], undefined> }

/** Settings in force. */
export interface AuthRules extends Widened {
  readonly rates: AuthRates
  readonly templates?: AuthSettings['templates']
  readonly captcha?: AuthSettings['captcha']
  readonly hooks?: AuthSettings['hooks']
  readonly sms?: AuthSettings['sms']
  readonly sms_template?: AuthSettings['sms_template']
  readonly passkeys?: AuthSettings['passkeys']
  readonly saml?: AuthSettings['saml']
  readonly providers?: AuthSettings['providers']
  readonly custom_providers?: AuthSettings['custom_providers']
  /** Whether an address has no rate of its own. */
  readonly unlimited: (ip: string | null) => boolean
}

/** How long the realm keeps what grows in it, as it says itself. */
export const keepingOf = ({ audit_retention, session_inactivity }: AuthRules): Keeping => ({
  audit: audit_retention === 0 ? null : audit_retention * 1000,
  inactivity: session_inactivity === null ? null : session_inactivity * 1000,
})

const known = new WeakMap<object, AuthRules>()
const NOTHING = {}

function isUnlimited(ranges: readonly string[]): (ip: string | null) => boolean {
  const parsed = ranges.flatMap((range) => {
    try {
      return [parseRange(range)]
    } catch {
      // What is no range is nobody's: the rates hold.
      return []
    }
  })
  return (ip) => {
    const address = ip === null || parsed.length === 0 ? null : parseAddress(plainAddress(ip))
    return address !== null && parsed.some((range) => inRange(address, range))
  }
}

/** `section`: the stored settings; the same object gives the same rules. */
export function rulesOf(section: AuthSettings | undefined): AuthRules {
  const own = section ?? NOTHING
  const before = known.get(own)
  if (before) return before
  const { rates, unlimited_addresses = [] } = own as AuthSettings
  const rules: AuthRules = { ...AUTH_DEFAULTS, ...own, rates: { ...RATE_DEFAULTS, ...rates }, unlimited: isUnlimited(unlimited_addresses) }
  known.set(own, rules)
  return rules
}
