import { fail } from '../../base/errors.ts'
import type { Realm } from '../auth/realm.ts'
import type { RealmKey } from '../keys.ts'
import { selfSigned } from './certificate.ts'

/** Ourselves as identity providers know us: a service provider of SAML 2.0. */
export interface Service {
  readonly entityId: string
  /** Assertion consumer service: where answers are sent. */
  readonly acs: string
  /** PEM: signs requests, opens encrypted assertions. */
  readonly key: string
  readonly certificate: string
}

export const isSamlOn = ({ rules }: Pick<Realm, 'rules'>): boolean => rules.saml?.enabled === true

/** Throws `auth_saml_provider_disabled`. The certificate of a key is always the same. */
export function serviceOf(realm: Realm, { key, kid, createdAt }: RealmKey): Service {
  if (!isSamlOn(realm)) throw fail('auth_saml_provider_disabled')
  const { api } = realm
  const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString()
  const certificate = selfSigned(pem, { name: 'Single sign-on', seed: kid, now: createdAt })
  return { entityId: `${api}/sso/saml/metadata`, acs: `${api}/sso/saml/acs`, key: pem, certificate }
}
