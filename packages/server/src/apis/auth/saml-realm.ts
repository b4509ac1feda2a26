import type { FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import type { Realm } from '../../realms/auth/realm.ts'
import { isSamlOn } from '../../realms/saml/service.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'

/** The realm of a request, where it speaks SAML. Throws `auth_saml_provider_disabled`. */
export function openRealm(options: AuthOptions, request: FastifyRequest): Realm {
  const realm = realmOf(options, request)
  if (!isSamlOn(realm)) throw fail('auth_saml_provider_disabled')
  return realm
}
