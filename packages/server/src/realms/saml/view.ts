import type { SsoProvider } from '../store/types.ts'

/** As GoTrue answers it. */
export function providerView(provider: SsoProvider, { whole = true } = {}) {
  const { id, resourceId, disabled, entityId, metadataXml, metadataUrl, mapping, nameIdFormat, domains } = provider
  const keys = Object.keys(mapping).length === 0 ? {} : { keys: mapping }
  return {
    id,
    ...(resourceId === null ? {} : { resource_id: resourceId }),
    disabled,
    saml: {
      entity_id: entityId,
      // A list with the metadata of all would be of megabytes.
      ...(whole ? { metadata_xml: metadataXml } : {}),
      ...(metadataUrl === null ? {} : { metadata_url: metadataUrl }),
      attribute_mapping: keys,
      ...(nameIdFormat === null ? {} : { name_id_format: nameIdFormat }),
    },
    domains: domains.map((domain) => ({ domain })),
    created_at: new Date(provider.createdAt).toISOString(),
    updated_at: new Date(provider.updatedAt).toISOString(),
  }
}
