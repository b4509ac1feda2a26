import type { AuthSettings, ThirdParty } from '@sovrabase/contract/auth'
import type { Kysely } from 'kysely'
import type { Vault } from '../base/crypto.ts'
import { readOwnSettings } from '../metadata/settings.ts'
import type { Tables } from '../metadata/tables.ts'
import { readApiKeySet } from '../realms/api-keys.ts'
import type { Denied } from '../realms/denied.ts'
import { readRealmKeys, verificationSet } from '../realms/keys.ts'
import type { ProjectContext, ProjectPrincipal } from './types.ts'
import { type Addressing, issuersOf, projectUrl } from './urls.ts'

export interface ContextReading {
  readonly db: Kysely<Tables>
  readonly vault: Vault
  readonly denied: Denied
  readonly addressing: Addressing
  /** Where the project says nothing. */
  readonly allowKeyless: boolean
  readonly now: () => number
}

let readings = 0

const anonymous = (ref: string): ProjectPrincipal => ({
  realm: ref,
  kind: 'anon',
  role: 'anon',
  claims: { role: 'anon' },
  claimsJson: '{"role":"anon"}',
  sessionId: null,
  exp: null,
})

function keylessSetting(settings: Readonly<Record<string, unknown>>): boolean | undefined {
  const rest = settings.rest as { allow_keyless?: unknown } | undefined
  return typeof rest?.allow_keyless === 'boolean' ? rest.allow_keyless : undefined
}

/** Never the project itself: whoever could say where its keys are would be it. */
function thirdPartiesOf({ third_party = [] }: AuthSettings = {}, issuers: readonly string[]): ReadonlyMap<string, ThirdParty> {
  const trusted = third_party.filter(({ enabled, issuer }) => enabled !== false && !issuers.includes(issuer))
  return new Map(trusted.map((each) => [each.issuer, each]))
}

/** Reads a living project; undefined: there is none (unknown or deleted, told apart by nobody). */
export async function readContext(reading: ContextReading, ref: string): Promise<ProjectContext | undefined> {
  const { db, vault, denied, addressing, allowKeyless, now } = reading
  const project = await db
    .selectFrom('projects')
    .select(['ref', 'organisation_id', 'name', 'region'])
    .where('ref', '=', ref)
    .where('state', '=', 'active')
    .executeTakeFirst()
  if (!project) return undefined
  const [services, keys, apiKeys, settings] = await Promise.all([
    db
      .selectFrom('services')
      .select(['id', 'name', 'engine', 'region', 'node'])
      .where('project_ref', '=', ref)
      .where('wanted', '=', 'active')
      .execute(),
    readRealmKeys(db, vault, ref, now()),
    readApiKeySet(db, ref),
    readOwnSettings(db, ref, vault),
  ])
  const issuers = issuersOf(addressing, ref)
  return {
    ref,
    organisation: project.organisation_id,
    name: project.name,
    region: project.region,
    url: projectUrl(addressing, ref),
    issuer: issuers[0]!,
    services,
    keys,
    verification: verificationSet(keys, issuers),
    thirdParties: thirdPartiesOf(settings.auth as AuthSettings | undefined, issuers),
    apiKeys,
    settings,
    allowKeyless: keylessSetting(settings) ?? allowKeyless,
    denied: denied.of(ref),
    tag: `${(readings++).toString(36)}:`,
    anonymous: anonymous(ref),
  }
}
