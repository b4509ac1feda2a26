import { expiringMap } from '../../base/cache.ts'
import { fail } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import { ADMINISTRATOR, entryOf, type Realm } from '../auth/realm.ts'
import { isSafe } from '../federated/safe-url.ts'
import type { Json, RealmStore, SsoPatch, SsoProvider } from '../store/types.ts'
import type { Mapping } from './attributes.ts'
import { fetchMetadata, parseMetadata } from './metadata.ts'

/** Identity providers of a realm, as its administrators write them. */
type Body = Readonly<Record<string, unknown>>

/** Of a realm, as much as keeping them needs. */
export interface Keeper extends Pick<Realm, 'transact' | 'fetch' | 'now'> {
  readonly caller: Pick<Realm['caller'], 'ip'>
}

const record = (realm: Keeper, store: RealmStore, action: string, { id, entityId }: SsoProvider): Promise<void> =>
  store.audit(entryOf(realm, action, ADMINISTRATOR, { provider_id: id, entity_id: entityId }))

const FORMATS = [
  'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
  'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress',
  'urn:oasis:names:tc:SAML:2.0:nameid-format:transient',
  'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified',
]
const XML_CHARS = 1_048_576
const DOMAINS = 200
const CLAIMS = 100
const DOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/

const invalid = (reason: string) => fail('auth_validation_failed', { reason })
const text = (value: unknown): string => (typeof value === 'string' ? value.trim() : '')
const isObject = (value: unknown): value is Body => typeof value === 'object' && value !== null && !Array.isArray(value)

function domainsOf(value: unknown): string[] | undefined {
  if (value === undefined || value === null) return undefined
  if (!Array.isArray(value) || value.length > DOMAINS) throw invalid('domains must be a list')
  const domains = value.map((each) => text(each).toLowerCase())
  const wrong = domains.find((domain) => !DOMAIN.test(domain))
  if (wrong !== undefined) throw invalid(`domains: '${wrong.slice(0, 100)}' is not the name of a domain`)
  return [...new Set(domains)]
}

const isName = (value: unknown): boolean => typeof value === 'string' && value.length <= 512

/** `{ keys: { claim: { name, names, default, array } } }`, and nothing else in it. */
function mappingOf(value: unknown): Mapping | undefined {
  if (value === undefined || value === null) return undefined
  const keys = isObject(value) ? (value.keys ?? {}) : null
  if (!isObject(keys) || Object.keys(keys).length > CLAIMS) throw invalid('attribute_mapping must be an object with keys')
  for (const [claim, rule] of Object.entries(keys)) {
    const { name, names, array } = isObject(rule) ? rule : {}
    const good =
      isObject(rule) &&
      (name === undefined || isName(name)) &&
      (names === undefined || (Array.isArray(names) && names.length <= 20 && names.every(isName))) &&
      (array === undefined || typeof array === 'boolean')
    if (!good || JSON.stringify(rule).length > 8192) throw invalid(`attribute_mapping: '${claim.slice(0, 100)}' is malformed`)
  }
  return keys as Mapping
}

function formatOf(value: unknown): string | null {
  const format = text(value)
  if (format !== '' && !FORMATS.includes(format)) throw invalid(`name_id_format must be unspecified or one of ${FORMATS.join(', ')}`)
  return format === '' ? null : format
}

/** As text, or from its address; null: nothing is said of it. */
async function metadataOf(realm: Keeper, body: Body): Promise<{ xml: string; url: string | null } | null> {
  const [xml, url] = [text(body.metadata_xml), text(body.metadata_url)]
  if (xml !== '' && url !== '') throw invalid('Only one of metadata_xml or metadata_url needs to be set')
  if (url !== '' && !URL.canParse(url)) throw invalid('metadata_url is not a valid URL')
  if (url !== '' && !isSafe(url)) throw invalid('metadata_url is not a HTTPS URL')
  // Said before anybody is asked.
  formatOf(body.name_id_format)
  if (url !== '') return { xml: await fetchMetadata(realm, url), url }
  if (xml.length > XML_CHARS) throw invalid('metadata_xml is too long')
  return xml === '' ? null : { xml, url: null }
}

const disabledOf = (value: unknown): boolean | undefined => {
  if (value !== undefined && value !== null && typeof value !== 'boolean') throw invalid('disabled must be true or false')
  return value ?? undefined
}

function resourceOf(value: unknown): string | null | undefined {
  if (value === undefined) return undefined
  if (text(value).length > 255) throw invalid('resource_id is too long')
  return text(value) === '' ? null : text(value)
}

export async function createProvider(realm: Keeper, body: Body): Promise<SsoProvider> {
  if (body.type !== 'saml') throw invalid("Only 'saml' supported for SSO provider type")
  const given = await metadataOf(realm, body)
  if (!given) throw invalid('Either metadata_xml or metadata_url must be set')
  const { entityId, validUntil } = parseMetadata(given.xml)
  const now = realm.now()
  if (validUntil !== null && validUntil <= now) throw invalid('SAML Metadata is not valid any more (validUntil)')
  const provider: SsoProvider = {
    // Brought along where a project is moved here: its users are of `sso:<id>`.
    id: typeof body.id === 'string' && isUuid(body.id) ? body.id.toLowerCase() : uuid(),
    resourceId: resourceOf(body.resource_id) ?? null,
    disabled: disabledOf(body.disabled) ?? false,
    entityId,
    metadataXml: given.xml,
    metadataUrl: given.url,
    mapping: (mappingOf(body.attribute_mapping) ?? {}) as Json,
    nameIdFormat: formatOf(body.name_id_format),
    fetchedAt: now,
    domains: domainsOf(body.domains) ?? [],
    createdAt: now,
    updatedAt: now,
  }
  await realm.transact(async (store) => {
    await store.insertSso(provider)
    await record(realm, store, 'sso_provider_created', provider)
  })
  return provider
}

/** By id, or `resource_` and the id that somebody else has given it. Throws `auth_sso_provider_not_found`. */
async function find(store: RealmStore, id: string): Promise<SsoProvider> {
  const named = id.startsWith('resource_')
    ? (await store.allSso()).find(({ resourceId }) => resourceId === id.slice('resource_'.length))
    : null
  const found = named ?? (isUuid(id) ? await store.ssoById(id) : null)
  if (!found) throw fail('auth_sso_provider_not_found', { reason: 'SSO Identity Provider not found' })
  return found
}

export const listProviders = (realm: Keeper): Promise<SsoProvider[]> => realm.transact((store) => store.allSso())
export const readProvider = (realm: Keeper, id: string): Promise<SsoProvider> => realm.transact((store) => find(store, id))

/** What is not said stays. */
export async function changeProvider(realm: Keeper, id: string, body: Body): Promise<SsoProvider> {
  const given = await metadataOf(realm, body)
  const entity = given ? parseMetadata(given.xml).entityId : null
  const [domains, mapping, disabled, resourceId] = [
    domainsOf(body.domains),
    mappingOf(body.attribute_mapping),
    disabledOf(body.disabled),
    resourceOf(body.resource_id),
  ]
  const patch: SsoPatch = {
    ...(given ? { metadataXml: given.xml, metadataUrl: given.url, fetchedAt: realm.now() } : {}),
    ...(domains ? { domains } : {}),
    ...(mapping ? { mapping: mapping as Json } : {}),
    ...(disabled === undefined ? {} : { disabled }),
    ...(resourceId === undefined ? {} : { resourceId }),
    ...(body.name_id_format === undefined ? {} : { nameIdFormat: formatOf(body.name_id_format) }),
  }
  return realm.transact(async (store) => {
    const before = await find(store, id)
    if (entity !== null && entity !== before.entityId)
      throw fail('auth_saml_entity_id_mismatch', { expected: before.entityId, given: entity.slice(0, 200) })
    await store.updateSso(before.id, patch, realm.now())
    await record(realm, store, 'sso_provider_updated', before)
    return find(store, before.id)
  })
}

/** Its people stay, and cannot come in by it any more. */
export const removeProvider = (realm: Keeper, id: string): Promise<SsoProvider> =>
  realm.transact(async (store) => {
    const found = await find(store, id)
    await store.deleteSso(found.id)
    await record(realm, store, 'sso_provider_deleted', found)
    return found
  })

/** Metadata of an address is read anew after this; so a provider may change its keys. */
const METADATA_LIFE = 24 * 3_600_000

/** Those whose address was asked in vain of late. */
const asked = expiringMap<true>(1000)

/** With metadata that is of now, as far as its address answers: what is known goes on to be good. */
export async function withFreshMetadata(realm: Keeper, provider: SsoProvider, tried = asked): Promise<SsoProvider> {
  const { metadataUrl, fetchedAt, id } = provider
  const now = realm.now()
  if (metadataUrl === null || tried.get(id)) return provider
  const { validUntil } = parseMetadata(provider.metadataXml)
  if (now < fetchedAt + METADATA_LIFE && (validUntil === null || now < validUntil)) return provider
  tried.set(id, true, now + RETRY)
  try {
    const metadataXml = await fetchMetadata(realm, metadataUrl)
    if (parseMetadata(metadataXml).entityId !== provider.entityId) return provider
    await realm.transact((store) => store.updateSso(id, { metadataXml, fetchedAt: now }, now))
    return { ...provider, metadataXml, fetchedAt: now }
  } catch {
    return provider
  }
}
/** ms until an address that did not answer is asked again. */
const RETRY = 600_000
