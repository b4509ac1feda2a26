import { X509Certificate } from 'node:crypto'
import { fail } from '../../base/errors.ts'
import type { Realm } from '../auth/realm.ts'
import { demandSafe } from '../federated/safe-url.ts'
import { below, childrenOf, METADATA, rootOf, SIGNATURE, textOf } from './xml.ts'

const REDIRECT = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect'
const PATIENCE = 10_000
const BYTES = 1_048_576
const CERTIFICATES = 10

/** What is needed of an identity provider's metadata (SAML metadata 2.0 §2.4). */
export interface IdpMetadata {
  readonly entityId: string
  /** Where browsers go with a request. */
  readonly signOnUrl: string
  /** Where they go to be signed out there, and with our answer to a request of the provider; null: it speaks no single log-out that we do. */
  readonly logoutUrl: string | null
  readonly logoutResponseUrl: string | null
  /** PEM: any of them may have signed an answer. */
  readonly certificates: readonly string[]
  /** ms; null: not said. */
  readonly validUntil: number | null
}

const invalid = (reason: string, cause?: unknown) => fail('auth_validation_failed', { reason }, { cause })

function pemOf(text: string): string {
  const pem = `-----BEGIN CERTIFICATE-----\n${text.replace(/\s+/g, '').replace(/(.{64})/g, '$1\n')}\n-----END CERTIFICATE-----\n`
  try {
    return new X509Certificate(pem).toString()
  } catch (cause) {
    throw invalid('SAML Metadata contains a certificate that cannot be read', cause)
  }
}

type XmlElement = ReturnType<typeof rootOf>

function descriptorOf(xml: string): XmlElement {
  let root: XmlElement
  try {
    // Federations write comments into it; nothing is taken from them.
    root = rootOf(xml, { comments: true })
  } catch (cause) {
    throw invalid('SAML Metadata is not valid XML', cause)
  }
  const all = [root, ...below(root, METADATA, 'EntityDescriptor')].filter(
    ({ localName, namespaceURI }) => localName === 'EntityDescriptor' && namespaceURI === METADATA,
  )
  const idps = all.filter((entity) => childrenOf(entity, METADATA, 'IDPSSODescriptor').length > 0)
  if (idps.length === 0) throw invalid('SAML Metadata does not contain any IDPSSODescriptor')
  if (idps.length > 1) throw invalid('SAML Metadata contains multiple IDPSSODescriptors')
  return idps[0]!
}

function certificatesOf(idp: XmlElement): string[] {
  const keys = childrenOf(idp, METADATA, 'KeyDescriptor').filter((key) => key.getAttribute('use') !== 'encryption')
  const texts = keys.flatMap((key) => below(key, SIGNATURE, 'X509Certificate').map(textOf))
  if (texts.length === 0) throw invalid('SAML Metadata does not contain a certificate for signing')
  if (texts.length > CERTIFICATES) throw invalid('SAML Metadata contains too many certificates')
  return [...new Set(texts.map(pemOf))]
}

const isWeb = (url: string): boolean => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)

type Logout = Pick<IdpMetadata, 'logoutUrl' | 'logoutResponseUrl'>
function logoutOf(idp: XmlElement): Logout {
  const services = childrenOf(idp, METADATA, 'SingleLogoutService')
  const service = services.find((each) => each.getAttribute('Binding') === REDIRECT)
  const [url, answers] = ['Location', 'ResponseLocation'].map((name) => service?.getAttribute(name) ?? '') as [string, string]
  const logoutUrl = isWeb(url) ? url : null
  return { logoutUrl, logoutResponseUrl: isWeb(answers) ? answers : logoutUrl }
}

const timeOf = (text: string | null): number | null => (text && !Number.isNaN(Date.parse(text)) ? Date.parse(text) : null)

/** Throws `auth_validation_failed`. */
export function parseMetadata(xml: string): IdpMetadata {
  const entity = descriptorOf(xml)
  const entityId = (entity.getAttribute('entityID') ?? '').trim()
  if (entityId === '') throw invalid('SAML Metadata does not contain an EntityID')
  if (entityId.length > 1024) throw invalid('SAML Metadata contains an EntityID of more than 1024 characters')
  const descriptors = childrenOf(entity, METADATA, 'IDPSSODescriptor')
  const [idp] = descriptors
  if (!idp || descriptors.length > 1) throw invalid('SAML Metadata contains multiple IDPSSODescriptors')
  const services = childrenOf(idp, METADATA, 'SingleSignOnService')
  const signOnUrl = services.find((service) => service.getAttribute('Binding') === REDIRECT)?.getAttribute('Location') ?? ''
  if (!isWeb(signOnUrl)) throw invalid('SAML Metadata does not contain a SingleSignOnService with the HTTP-Redirect binding')
  const validUntil = timeOf(entity.getAttribute('validUntil')) ?? timeOf(idp.getAttribute('validUntil'))
  return { entityId, signOnUrl, ...logoutOf(idp), certificates: certificatesOf(idp), validUntil }
}

/** By the outbound rule. Throws `auth_saml_metadata_fetch_failed`, `auth_validation_failed`. */
export async function fetchMetadata({ fetch }: Pick<Realm, 'fetch'>, url: string): Promise<string> {
  demandSafe(url)
  try {
    const headers = { accept: 'application/samlmetadata+xml, application/xml;q=0.9, text/xml;q=0.8' }
    const answer = await fetch(url, { headers, timeout: PATIENCE, maxBytes: BYTES, redirects: 3 })
    const bytes = await answer.bytes()
    if (answer.status !== 200) throw fail('auth_saml_metadata_fetch_failed', { reason: `the status is ${answer.status}` })
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    // What lies behind the address is not told: it may be a service of the network here.
    throw fail('auth_saml_metadata_fetch_failed', { reason: 'the address cannot be read' }, { cause })
  }
}
