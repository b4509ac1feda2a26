import { fail } from '../../base/errors.ts'
import { later } from '../../base/later.ts'
import type { Realm } from '../auth/realm.ts'

/** For whom credentials of WebAuthn are made: in place of a password, and as a second factor. */
export interface Site {
  readonly id: string
  readonly name: string
  readonly origins: string[]
}

export function siteOf({ rules, url }: Pick<Realm, 'rules' | 'url'>): Site {
  const { passkeys } = rules
  const site = new URL(rules.site_url ?? url)
  return {
    id: passkeys?.rp_id ?? site.hostname,
    name: passkeys?.rp_name ?? site.hostname,
    origins: [...(passkeys?.origins ?? [site.origin])],
  }
}

/** The library takes a third of a second and 25 MB to load: the first ceremony loads it. */
export const webauthn = () => later<typeof import('@simplewebauthn/server')>('@simplewebauthn/server')

export const isAnswer = (value: unknown): value is { id: string; response: object } => {
  const { id, response, type } = Object(value) as Record<string, unknown>
  return typeof id === 'string' && typeof response === 'object' && response !== null && type === 'public-key'
}

export const unverified = (cause?: unknown) => fail('auth_webauthn_verification_failed', {}, { cause })
