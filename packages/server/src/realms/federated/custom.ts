import { CustomProvider } from '@sovrabase/contract/providers'
import { fail } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import { later } from '../../base/later.ts'
import { demandSafe } from './safe-url.ts'

/** Providers of a project's own, as its administrators write them. */
export type Custom = Readonly<Record<string, CustomProvider>>

const checkOf = () => later<typeof import('typebox/compile')>('typebox/compile').Compile(CustomProvider)
let check: ReturnType<typeof checkOf> | undefined
const IDENTIFIER = /^custom:[a-z0-9][a-z0-9_-]{0,62}$/
const NEEDED = { oidc: ['issuer'], oauth2: ['authorization_url', 'token_url', 'userinfo_url'] } as const
const KINDS = { oidc: 'OIDC', oauth2: 'OAuth2' } as const
const ADDRESSES = ['issuer', 'discovery_url', 'authorization_url', 'token_url', 'userinfo_url', 'jwks_uri'] as const
/** Parameters of a request that are ours to say. */
const RESERVED = [
  ...['client_id', 'client_secret', 'redirect_uri', 'response_type', 'response_mode', 'state', 'nonce'],
  ...['code_challenge', 'code_challenge_method', 'code_verifier'],
]
/** What no provider says of a user here. */
const PROTECTED = [
  ...['id', 'aud', 'role', 'app_metadata', 'created_at', 'updated_at', 'confirmed_at', 'email_confirmed_at', 'phone_confirmed_at'],
  ...['banned_until', 'is_super_admin'],
]
const WRITABLE = new Set(Object.keys(CustomProvider.properties).filter((name) => !['id', 'created_at', 'updated_at'].includes(name)))

const invalid = (reason: string) => fail('auth_validation_failed', { reason })

function checked(value: Readonly<Record<string, unknown>>): CustomProvider {
  const { provider_type: type, authorization_params: params, attribute_mapping: mapping } = value
  if (type !== 'oidc' && type !== 'oauth2') throw invalid("provider_type must be either 'oauth2' or 'oidc'")
  for (const name of ['name', 'client_id', 'client_secret'])
    if (value[name] === undefined || value[name] === '') throw invalid(`${name} is required`)
  check ??= checkOf()
  if (!check.Check(value)) {
    const [first] = check.Errors(value)
    throw invalid(`${(first?.instancePath ?? '').slice(1) || 'provider'}: ${first?.message ?? 'it is malformed'}`)
  }
  for (const name of NEEDED[type]) if (!value[name]) throw invalid(`${name} is required for ${KINDS[type]} providers`)
  const reserved = Object.keys(Object(params)).find((name) => RESERVED.includes(name))
  if (reserved !== undefined) throw invalid(`Cannot override reserved OAuth parameter: ${reserved}`)
  const guarded = Object.keys(Object(mapping)).find((name) => PROTECTED.includes(name))
  if (guarded !== undefined) throw invalid(`Cannot map to protected system field: ${guarded}`)
  for (const name of ADDRESSES) if (value[name] !== undefined) demandSafe(value[name])
  return value
}

/** Throws `auth_validation_failed`. */
function identifierOf(value: unknown): string {
  if (typeof value !== 'string' || value === '') throw invalid('identifier is required')
  if (!value.startsWith('custom:')) throw invalid(`identifier must start with 'custom:' prefix, e.g. 'custom:${value.slice(0, 63)}'`)
  if (!IDENTIFIER.test(value)) throw invalid('identifier must go on with lower-case letters, digits, - and _ after custom:')
  return value
}

/** `?type=`. Throws `auth_validation_failed`. */
export function kindOf(value: string | null): 'oidc' | 'oauth2' | null {
  if (value === null || value === '' || value === 'oidc' || value === 'oauth2') return value || null
  throw invalid("type must be either 'oauth2' or 'oidc'")
}

const written = (body: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(body).filter(([name, value]) => WRITABLE.has(name) && value !== null))

export function withCustom(before: Custom, body: Readonly<Record<string, unknown>>, now: number): { all: Custom; identifier: string } {
  const time = new Date(now).toISOString()
  const { identifier: _, ...given } = body
  const { provider_type: type } = given
  if (type !== 'oidc' && type !== 'oauth2') throw invalid("provider_type must be either 'oauth2' or 'oidc'")
  const identifier = identifierOf(body.identifier)
  const made = checked({ ...written(given), id: uuid(), created_at: time, updated_at: time })
  if (Object.hasOwn(before, identifier)) throw fail('auth_custom_provider_exists')
  return { all: { ...before, [identifier]: made }, identifier }
}

const need = (before: Custom, identifier: string): CustomProvider => {
  if (!identifier.startsWith('custom:'))
    throw invalid(`identifier must start with 'custom:' prefix, e.g. 'custom:${identifier.slice(0, 63)}'`)
  const found = Object.hasOwn(before, identifier) ? before[identifier] : undefined
  if (!found) throw fail('auth_custom_provider_not_found')
  return found
}

export function changedCustom(before: Custom, identifier: string, body: Readonly<Record<string, unknown>>, now: number): Custom {
  const { provider_type: _, ...changes } = written(body)
  const next = checked({ ...need(before, identifier), ...changes, updated_at: new Date(now).toISOString() })
  return { ...before, [identifier]: next }
}

export function withoutCustom(before: Custom, identifier: string): Custom {
  need(before, identifier)
  const { [identifier]: _, ...left } = before
  return left
}

/** Never the secret. */
export function customView(all: Custom, identifier: string) {
  const { client_secret: _, scopes = [], ...shown } = need(all, identifier)
  const switches = { pkce_enabled: true, enabled: true, email_optional: false, skip_nonce_check: false }
  const lists = { acceptable_client_ids: [], custom_claims_allowlist: [], attribute_mapping: {}, authorization_params: {} }
  const asked = shown.provider_type === 'oidc' && !scopes.includes('openid') ? ['openid', ...scopes] : scopes
  return { ...switches, ...lists, ...shown, scopes: asked, identifier }
}
