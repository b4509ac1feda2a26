import { CustomProvider } from '@sovrabase/contract/providers'
import { fail } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import { later } from '../../base/later.ts'

/** Providers of a project's own, as its administrators write them. */
export type Custom = Readonly<Record<string, CustomProvider>>

const checkOf = () => later<typeof import('typebox/compile')>('typebox/compile').Compile(CustomProvider)
let check: ReturnType<typeof checkOf> | undefined
const IDENTIFIER = /^custom:[a-z0-9][a-z0-9_-]{0,62}$/
const NEEDED = { oidc: ['issuer'], oauth2: ['authorization_url', 'token_url', 'userinfo_url'] } as const
const WRITABLE = new Set(Object.keys(CustomProvider.properties).filter((name) => !['id', 'created_at', 'updated_at'].includes(name)))

const invalid = (reason: string) => fail('auth_validation_failed', { reason })

function checked(value: Readonly<Record<string, unknown>>): CustomProvider {
  check ??= checkOf()
  if (!check.Check(value)) {
    const [first] = check.Errors(value)
    throw invalid(`${(first?.instancePath ?? '').slice(1) || 'provider'}: ${first?.message ?? 'it is malformed'}`)
  }
  for (const name of NEEDED[value.provider_type])
    if (!value[name]) throw invalid(`${name} is required for ${value.provider_type} providers`)
  return value
}

const written = (body: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(body).filter(([name, value]) => WRITABLE.has(name) && value !== null))

export function withCustom(before: Custom, body: Readonly<Record<string, unknown>>, now: number): { all: Custom; identifier: string } {
  const { identifier } = body
  if (typeof identifier !== 'string' || !IDENTIFIER.test(identifier))
    throw invalid('identifier must begin with "custom:" and go on with lower-case letters, digits, - and _')
  if (Object.hasOwn(before, identifier)) throw fail('auth_conflict', { reason: 'A provider with this identifier exists' })
  const time = new Date(now).toISOString()
  const made = checked({ ...written(body), id: uuid(), created_at: time, updated_at: time })
  return { all: { ...before, [identifier]: made }, identifier }
}

const need = (before: Custom, identifier: string): CustomProvider => {
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
  const { client_secret: _, ...shown } = need(all, identifier)
  const defaults = { pkce_enabled: true, enabled: true, email_optional: false, skip_nonce_check: false }
  return { ...defaults, ...shown, identifier }
}
