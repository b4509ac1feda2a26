import { fail } from '../../base/errors.ts'
import type { Realm } from '../auth/realm.ts'
import { currentKey, type RealmKey } from '../keys.ts'
import { selfSigned } from './certificate.ts'
import { ofSaml } from './keys.ts'

/** Ourselves as identity providers know us: a service provider of SAML 2.0. */
export interface Service {
  readonly entityId: string
  /** Assertion consumer service: where answers are sent. */
  readonly acs: string
  /** Where requests to sign out, and answers to ours, are sent. */
  readonly slo: string
  /** PEM: signs requests. */
  readonly key: string
  readonly certificate: string
  /** As our metadata has them: of the key that signs now, and of those that come next. */
  readonly certificates: readonly string[]
  /** PEM, any of which may open an encrypted assertion: former keys too, since providers remember metadata. */
  readonly openers: readonly string[]
}

export const isSamlOn = ({ rules }: Pick<Realm, 'rules'>): boolean => rules.saml?.enabled === true

const pemOf = ({ key }: RealmKey): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

/** The certificate of a key is always the same. */
const certificateOf = (key: RealmKey): string => selfSigned(pemOf(key), { name: 'Single sign-on', seed: key.kid, now: key.createdAt })

/** `keys`: of the realm, with one of single sign-on that is current. Throws `auth_saml_provider_disabled`. */
export function serviceOf(realm: Realm, keys: readonly RealmKey[]): Service {
  if (!isSamlOn(realm)) throw fail('auth_saml_provider_disabled')
  const { api } = realm
  const current = currentKey(keys, 'saml')
  const own = ofSaml(keys)
  const certificate = certificateOf(current)
  return {
    entityId: `${api}/sso/saml/metadata`,
    acs: `${api}/sso/saml/acs`,
    slo: `${api}/sso/saml/slo`,
    key: pemOf(current),
    certificate,
    certificates: [certificate, ...own.filter(({ state }) => state === 'next').map(certificateOf)],
    openers: [current, ...own.filter((key) => key !== current)].map(pemOf),
  }
}
