import type { Kysely } from 'kysely'
import { insertIfAbsent } from '../../base/db/insert.ts'
import { fail } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, type Fields, fromRow, rowOf } from './fields.ts'
import type { RelayState, SsoPatch, SsoProvider, SsoStore } from './types.ts'

type Head = Pick<SsoProvider, 'id' | 'resourceId' | 'disabled' | 'createdAt' | 'updatedAt'>
type Saml = Pick<SsoProvider, 'entityId' | 'metadataXml' | 'metadataUrl' | 'mapping' | 'nameIdFormat' | 'fetchedAt'>

const HEAD: Fields<Head> = {
  id: ['id', 'text'],
  resourceId: ['resource_id', 'text'],
  disabled: ['disabled', 'bool'],
  createdAt: ['created_at', 'time'],
  updatedAt: ['updated_at', 'time'],
}

const SAML: Fields<Saml> = {
  entityId: ['entity_id', 'text'],
  metadataXml: ['metadata_xml', 'text'],
  metadataUrl: ['metadata_url', 'text'],
  mapping: ['attribute_mapping', 'json'],
  nameIdFormat: ['name_id_format', 'text'],
  fetchedAt: ['updated_at', 'time'],
}

const RELAY: Fields<RelayState> = {
  id: ['id', 'text'],
  providerId: ['sso_provider_id', 'text'],
  requestId: ['request_id', 'text'],
  redirectTo: ['redirect_to', 'text'],
  createdAt: ['created_at', 'time'],
  flowId: ['flow_state_id', 'text'],
}

type Providers = Omit<SsoStore, 'insertRelayState' | 'takeRelayState'>

async function read(db: Kysely<Tables>, ids: readonly string[]): Promise<SsoProvider[]> {
  if (ids.length === 0) return []
  const [heads, samls, domains] = await Promise.all([
    db
      .selectFrom('auth_sso_providers')
      .selectAll()
      .where('id', 'in', [...ids])
      .orderBy('created_at')
      .orderBy('id')
      .execute(),
    db
      .selectFrom('auth_saml_providers')
      .selectAll()
      .where('sso_provider_id', 'in', [...ids])
      .execute(),
    db
      .selectFrom('auth_sso_domains')
      .selectAll()
      .where('sso_provider_id', 'in', [...ids])
      .orderBy('domain')
      .execute(),
  ])
  return heads.flatMap((head) => {
    const saml = samls.find((row) => row.sso_provider_id === head.id)
    const own = domains.filter((row) => row.sso_provider_id === head.id).map(({ domain }) => domain)
    return saml ? [{ ...fromRow(HEAD, head), ...fromRow(SAML, saml), domains: own }] : []
  })
}

const taken = () => fail('auth_conflict', { reason: 'An SSO provider with this id or resource_id exists' })

/** Throws `auth_sso_domain_already_exists`. */
async function setDomains(db: Kysely<Tables>, id: string, domains: readonly string[], at: number): Promise<void> {
  await db.deleteFrom('auth_sso_domains').where('sso_provider_id', '=', id).execute()
  for (const domain of domains) {
    const row = { id: uuid(), sso_provider_id: id, domain, created_at: at, updated_at: at }
    if (!(await insertIfAbsent(db, 'auth_sso_domains', row))) throw fail('auth_sso_domain_already_exists', { domain })
  }
}

export const ssoProviders = (db: Kysely<Tables>, codec: Codec): Providers => {
  const one = async (id: string | undefined) => (id === undefined ? null : ((await read(db, [id]))[0] ?? null))

  return {
    async insertSso(provider) {
      if (!(await insertIfAbsent(db, 'auth_sso_providers', rowOf(HEAD, provider, codec)))) throw taken()
      const saml = { ...(rowOf(SAML, provider, codec) as object), id: uuid(), sso_provider_id: provider.id }
      const row = { ...saml, created_at: codec.at(provider.createdAt) }
      if (!(await insertIfAbsent(db, 'auth_saml_providers', row as never)))
        throw fail('auth_saml_idp_already_exists', { entity: provider.entityId })
      await setDomains(db, provider.id, provider.domains, codec.at(provider.createdAt))
    },
    ssoById: one,
    async ssoByEntity(entityId) {
      const row = await db.selectFrom('auth_saml_providers').select('sso_provider_id').where('entity_id', '=', entityId).executeTakeFirst()
      return one(row?.sso_provider_id)
    },
    async ssoByDomain(domain) {
      const row = await db.selectFrom('auth_sso_domains').select('sso_provider_id').where('domain', '=', domain).executeTakeFirst()
      return one(row?.sso_provider_id)
    },
    async allSso() {
      return read(
        db,
        (await db.selectFrom('auth_sso_providers').select('id').execute()).map(({ id }) => id),
      )
    },
    async updateSso(id, { domains, ...patch }: SsoPatch, now) {
      const { resourceId = null } = patch
      const same = db.selectFrom('auth_sso_providers').select('id').where('resource_id', '=', resourceId).where('id', '!=', id)
      if (resourceId !== null && (await same.executeTakeFirst())) throw taken()
      const head = rowOf<Head>(HEAD, { ...patch, updatedAt: now }, codec)
      await db.updateTable('auth_sso_providers').set(head).where('id', '=', id).execute()
      const saml = rowOf<Saml>(SAML, patch, codec)
      if (Object.keys(saml).length > 0) await db.updateTable('auth_saml_providers').set(saml).where('sso_provider_id', '=', id).execute()
      if (domains) await setDomains(db, id, domains, codec.at(now))
    },
    async deleteSso(id) {
      await db.deleteFrom('auth_sso_providers').where('id', '=', id).execute()
    },
  }
}

export const relayStates = (db: Kysely<Tables>, codec: Codec): Omit<SsoStore, keyof Providers> => ({
  async insertRelayState(state) {
    const row = { ...(rowOf(RELAY, state, codec) as object), updated_at: codec.at(state.createdAt) }
    await db
      .insertInto('auth_saml_relay_states')
      .values(row as never)
      .execute()
  },
  async takeRelayState(id) {
    const row = await db.selectFrom('auth_saml_relay_states').selectAll().where('id', '=', id).executeTakeFirst()
    if (!row) return null
    const removed = await db.deleteFrom('auth_saml_relay_states').where('id', '=', id).executeTakeFirst()
    return removed.numDeletedRows > 0n ? fromRow(RELAY, row) : null
  },
})
