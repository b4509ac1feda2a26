import type { CustomProvider, ProviderName, ProviderSettings } from '@sovrabase/contract/providers'
import { fail } from '../../base/errors.ts'
import type { AuthRules } from '../auth/rules.ts'
import { type OauthPreset, PRESETS, type Preset } from './presets.ts'
import { mapped, oidcProfile } from './profiles.ts'

/** A provider as a project has set it up. */
export interface Source {
  readonly name: string
  readonly preset: Preset
  readonly clientId: string
  readonly secret: string | null
  /** Of id_tokens that applications bring. */
  readonly audiences: readonly string[]
  readonly scopes: string
  readonly emailOptional: boolean
  readonly skipNonce: boolean
  /** Where the metadata is, if not where the issuer says. */
  readonly discovery: string | null
  readonly pkce: boolean
}

const joined = (...scopes: (string | undefined)[]): string =>
  [
    ...new Set(
      scopes
        .join(' ')
        .split(/[\s,]+/)
        .filter(Boolean),
    ),
  ].join(' ')

function ofName(name: ProviderName, given: ProviderSettings): Source {
  const preset = PRESETS[name](given.url)
  if (preset.kind === 'oidc' && preset.issuer === null) throw fail('auth_validation_failed', { reason: `${name} needs its url` })
  return {
    name,
    preset,
    clientId: given.client_id,
    secret: given.secret ?? null,
    audiences: [given.client_id, ...(given.client_ids ?? [])],
    scopes: joined(preset.scopes, given.scopes),
    emailOptional: given.email_optional ?? preset.emailOptional ?? false,
    skipNonce: given.skip_nonce_check ?? false,
    discovery: null,
    pkce: preset.kind === 'oidc' || preset.pkce,
  }
}

function presetOf(own: CustomProvider): Preset {
  const common = { scopes: '', auth: 'post' as const, params: own.authorization_params ?? {} }
  const custom = own.custom_claims_allowlist ?? []
  if (own.provider_type === 'oidc')
    return { kind: 'oidc', issuer: own.issuer ?? '', ...common, scopes: 'openid email profile', parse: oidcProfile({ custom }) }
  const oauth: OauthPreset = {
    kind: 'oauth2',
    authorize: own.authorization_url ?? '',
    token: own.token_url ?? '',
    account: own.userinfo_url ?? '',
    pkce: own.pkce_enabled ?? true,
    parse: mapped(own.attribute_mapping ?? {}, custom),
    ...common,
  }
  return oauth
}

function ofCustom(identifier: string, own: CustomProvider): Source {
  const preset = presetOf(own)
  return {
    name: identifier,
    preset,
    clientId: own.client_id,
    secret: own.client_secret,
    audiences: [own.client_id, ...(own.acceptable_client_ids ?? [])],
    scopes: joined(preset.scopes, (own.scopes ?? []).join(' ')),
    emailOptional: own.email_optional ?? false,
    skipNonce: own.skip_nonce_check ?? false,
    discovery: own.discovery_url ?? null,
    pkce: own.pkce_enabled ?? true,
  }
}

/** Throws `auth_validation_failed` where the project has no such provider, or has it off. */
export function sourceOf(rules: AuthRules, name: string): Source {
  const own = Object.hasOwn(rules.providers ?? {}, name) ? rules.providers?.[name as ProviderName] : undefined
  if (own && own.enabled !== false) return ofName(name as ProviderName, own)
  const custom = Object.hasOwn(rules.custom_providers ?? {}, name) ? rules.custom_providers?.[name] : undefined
  if (custom && custom.enabled !== false) return ofCustom(name, custom)
  const known = Object.hasOwn(PRESETS, name) || name.startsWith('custom:')
  throw fail('auth_validation_failed', {
    reason: known
      ? 'Unsupported provider: provider is not enabled'
      : `Unsupported provider: Provider ${name.slice(0, 64)} could not be found`,
  })
}

/** Of a provider that is off, as far as it is known; null: nobody knows it. */
export function issuerOf(rules: AuthRules, name: string): string | null {
  const custom = Object.hasOwn(rules.custom_providers ?? {}, name) ? rules.custom_providers?.[name] : undefined
  if (custom) return custom.issuer ?? name
  if (!Object.hasOwn(PRESETS, name)) return null
  const preset = PRESETS[name as ProviderName](rules.providers?.[name as ProviderName]?.url)
  return (preset.kind === 'oidc' ? preset.issuer : null) ?? name
}

export const isOn = (rules: AuthRules, name: ProviderName): boolean =>
  rules.providers?.[name] !== undefined && rules.providers[name].enabled !== false
