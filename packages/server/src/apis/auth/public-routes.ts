import type { AuthSettings } from '@sovrabase/contract/auth'
import { type CustomProvider, PROVIDERS } from '@sovrabase/contract/providers'
import type { FastifyInstance } from 'fastify'
import { rulesOf } from '../../realms/auth/rules.ts'
import { isOn } from '../../realms/federated/source.ts'
import { jwks } from '../../realms/keys.ts'
import type { AuthOptions } from './options.ts'
import { apiOf } from './realm.ts'

/** Read by everyone, from what the gateway has of a project already: nothing here wakes one. */
const PUBLIC = { config: { action: 'public' } } as const

const customs = (all: Readonly<Record<string, CustomProvider>> = {}) =>
  Object.fromEntries(Object.entries(all).map(([name, { enabled }]) => [name, enabled !== false]))

export function publicRoutes(app: FastifyInstance, options: AuthOptions): void {
  app.get('/health', PUBLIC, async () => ({ name: 'Sovrabase Auth', version: options.version, description: 'Users of a project' }))

  app.get('/settings', PUBLIC, async (request) => {
    const rules = rulesOf(options.project(request).settings.auth as AuthSettings | undefined)
    return {
      external: {
        ...Object.fromEntries(PROVIDERS.map((name) => [name, isOn(rules, name)])),
        ...customs(rules.custom_providers),
        anonymous_users: rules.anonymous_users,
        email: rules.email_enabled,
        phone: rules.phone_enabled,
      },
      disable_signup: rules.disable_signup,
      mailer_autoconfirm: rules.email_autoconfirm,
      phone_autoconfirm: rules.phone_autoconfirm,
      sms_provider: rules.sms?.provider ?? '',
      saml_enabled: rules.saml?.enabled === true,
      passkeys_enabled: rules.passkeys?.enabled === true,
    }
  })

  app.get('/.well-known/jwks.json', PUBLIC, async (request, reply) => {
    reply.header('cache-control', 'public, max-age=600')
    return jwks(options.project(request).keys)
  })

  app.get('/.well-known/openid-configuration', PUBLIC, async (request, reply) => {
    const project = options.project(request)
    const { issuer, keys } = project
    const api = apiOf(project)
    reply.header('cache-control', 'public, max-age=600')
    return {
      issuer,
      jwks_uri: `${api}/.well-known/jwks.json`,
      authorization_endpoint: `${api}/authorize`,
      token_endpoint: `${api}/token`,
      userinfo_endpoint: `${api}/user`,
      response_types_supported: ['code', 'token'],
      subject_types_supported: ['public'],
      code_challenge_methods_supported: ['S256', 'plain'],
      id_token_signing_alg_values_supported: [...new Set(jwks(keys).keys.map(({ alg }) => alg))],
      claims_supported: ['aud', 'exp', 'iat', 'iss', 'sub', 'email', 'phone', 'role', 'aal', 'amr', 'session_id', 'is_anonymous'],
    }
  })
}
