import type { Service } from './service.ts'

const BINDING = 'urn:oasis:names:tc:SAML:2.0:bindings:'
/** What we open. */
const CIPHERS = [
  'http://www.w3.org/2009/xmlenc11#aes256-gcm',
  'http://www.w3.org/2009/xmlenc11#aes128-gcm',
  'http://www.w3.org/2001/04/xmlenc#aes256-cbc',
  'http://www.w3.org/2001/04/xmlenc#aes128-cbc',
]

const escaped = (text: string): string => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
const bare = (pem: string): string => pem.replace(/-----[^-]+-----|\s/g, '')

const keyOf = (use: string, pem: string, methods = ''): string =>
  `    <KeyDescriptor use="${use}"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>${bare(pem)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>${methods}</KeyDescriptor>`

/**
 * Our metadata (SAML metadata 2.0 §2.4.4). The key that signs now stands first, those that come next behind it, each to sign and to
 * encrypt for: so both are known before one follows the other. The library's own writes one key alone.
 */
export function serviceMetadata({ entityId, acs, slo, certificates }: Service): string {
  const methods = CIPHERS.map((cipher) => `<EncryptionMethod Algorithm="${cipher}"/>`).join('')
  const lines = [
    '<?xml version="1.0"?>',
    `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="${escaped(entityId)}" ID="_${entityId.replace(/[^\w.-]/g, '_')}">`,
    '  <SPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol" AuthnRequestsSigned="true" WantAssertionsSigned="true">',
    ...certificates.map((pem) => keyOf('signing', pem)),
    ...certificates.map((pem) => keyOf('encryption', pem, methods)),
    ...['HTTP-Redirect', 'HTTP-POST'].map((way) => `    <SingleLogoutService Binding="${BINDING}${way}" Location="${escaped(slo)}"/>`),
    `    <AssertionConsumerService index="1" isDefault="true" Binding="${BINDING}HTTP-POST" Location="${escaped(acs)}"/>`,
    '  </SPSSODescriptor>',
    '</EntityDescriptor>',
  ]
  return `${lines.join('\n')}\n`
}
