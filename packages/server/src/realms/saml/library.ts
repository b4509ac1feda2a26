import type { SAML } from '@node-saml/node-saml'
import { isSovraError } from '../../base/errors.ts'
import type { Realm } from '../auth/realm.ts'
import type { SamlSession } from '../store/types.ts'
import { type Answer, demandDestination, demandPlainInside, within } from './answer.ts'
import type { Attribute, Subject } from './attributes.ts'
import type { IdpMetadata } from './metadata.ts'
import type { Service } from './service.ts'
import { refused } from './xml.ts'

/** What clocks may differ. */
const SKEW = 60_000
const UNSPECIFIED = 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified'
const BEARER = 'urn:oasis:names:tc:SAML:2.0:cm:bearer'

interface Use {
  readonly nameIdFormat?: string | null
  readonly requestId?: string
  /** PEM: opens what is encrypted. */
  readonly opener?: string
  /** Where requests and answers of single log-out go. */
  readonly logoutUrl?: string
}

/** The library is large: it is loaded by the first sign-in that needs it. */
async function toolOf(
  service: Service,
  idp: IdpMetadata,
  { nameIdFormat = null, requestId = '', opener = service.key, logoutUrl = '' }: Use,
): Promise<SAML> {
  const { SAML, ValidateInResponseTo } = await import('@node-saml/node-saml')
  return new SAML({
    callbackUrl: service.acs,
    issuer: service.entityId,
    audience: service.entityId,
    entryPoint: idp.signOnUrl,
    ...(logoutUrl === '' ? {} : { logoutUrl }),
    idpCert: [...idp.certificates],
    privateKey: service.key,
    publicCert: service.certificate,
    decryptionPvk: opener,
    signatureAlgorithm: 'sha256',
    digestAlgorithm: 'sha256',
    identifierFormat: nameIdFormat,
    disableRequestedAuthnContext: true,
    acceptedClockSkewMs: SKEW,
    // One of the two signatures is demanded by the library whatever these say; providers differ in which they make.
    wantAuthnResponseSigned: false,
    wantAssertionsSigned: false,
    // Requests are kept in the realm, where all nodes find them.
    validateInResponseTo: ValidateInResponseTo.never,
    generateUniqueId: () => requestId,
  })
}

/** The request as a URL of the redirect binding, signed. */
export async function requestUrl(
  service: Service,
  idp: IdpMetadata,
  asked: { id: string; relayState: string; nameIdFormat: string | null },
): Promise<string> {
  const tool = await toolOf(service, idp, { nameIdFormat: asked.nameIdFormat, requestId: asked.id })
  return tool.getAuthorizeUrlAsync(asked.relayState, undefined, {})
}

/** A request to sign somebody out there, signed, by the redirect binding. */
export async function logoutRequestUrl(
  service: Service,
  idp: IdpMetadata,
  asked: { id: string; relayState: string; to: string; session: Omit<SamlSession, 'sessionId' | 'providerId'> },
): Promise<string> {
  const { nameId, nameIdFormat, nameQualifier, spNameQualifier, sessionIndex } = asked.session
  const tool = await toolOf(service, idp, { requestId: asked.id, logoutUrl: asked.to })
  const whom = {
    issuer: idp.entityId,
    nameID: nameId,
    nameIDFormat: nameIdFormat ?? UNSPECIFIED,
    ...(nameQualifier === null ? {} : { nameQualifier }),
    ...(spNameQualifier === null ? {} : { spNameQualifier }),
    ...(sessionIndex === null ? {} : { sessionIndex }),
  }
  return tool.getLogoutUrlAsync(whom, asked.relayState, {})
}

/** Our answer to such a request of the provider. */
export async function logoutResponseUrl(
  service: Service,
  idp: IdpMetadata,
  { id, inResponseTo, relayState, to }: { id: string; inResponseTo: string; relayState: string; to: string },
): Promise<string> {
  const tool = await toolOf(service, idp, { requestId: id, logoutUrl: to })
  const request = { issuer: idp.entityId, nameID: '', nameIDFormat: '', ID: inResponseTo }
  return tool.getLogoutResponseUrlAsync(request, relayState, {}, true)
}

/** Proves a request of the POST binding: the signature is over the whole document. The library opens an encrypted name on its way. */
export async function provePosted(service: Service, idp: IdpMetadata, xml: string): Promise<boolean> {
  const SAMLRequest = Buffer.from(xml).toString('base64')
  for (const opener of service.openers)
    try {
      await (await toolOf(service, idp, { opener })).validatePostRequestAsync({ SAMLRequest })
      return true
    } catch {
      // Not signed by the provider, or encrypted for another of our keys.
    }
  return false
}

/** What an assertion says once it is proved. */
export interface Proved extends Subject {
  readonly id: string
  readonly nameQualifier: string | null
  readonly spNameQualifier: string | null
  /** Of the provider's own session; null: it says none. */
  readonly sessionIndex: string | null
  /** ms; null: the provider does not end sessions. */
  readonly sessionEnds: number | null
  /** ms from which the assertion is of no use to anybody. */
  readonly expires: number
}

interface Node {
  readonly _?: string
  readonly $?: Readonly<Record<string, string | undefined>>
  readonly [child: string]: unknown
}

const nodes = (parent: Node | undefined, name: string): readonly Node[] => {
  const found = parent?.[name]
  return Array.isArray(found) ? found.map((each) => (typeof each === 'object' && each !== null ? (each as Node) : { _: String(each) })) : []
}
const textOf = (node: Node | undefined): string => (typeof node?._ === 'string' ? node._.trim() : '')

/** In words of our own: the library's hold what the stranger sent. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : ''
  if (/audience/i.test(text)) return 'it is for another audience'
  if (/expired|not yet valid|too old/i.test(text)) return 'it is not valid at this time'
  if (/signature/i.test(text)) return 'its signature is not of the identity provider'
  if (/subject confirmation/i.test(text)) return 'its subject is not confirmed'
  return 'it cannot be verified'
}

export interface Expected {
  readonly service: Service
  readonly idp: IdpMetadata
  /** null: nobody asked, which the realm allows. */
  readonly requestId: string | null
}

/** That it was made for us, for this request, by this provider, and is of now (SAML profiles 2.0 §4.1.4.3). */
function demandOurs(realm: Realm, assertion: Node, { service, idp, requestId }: Expected): { expires: number } {
  if (textOf(nodes(assertion, 'Issuer')[0]) !== idp.entityId) throw refused('it is of another identity provider')
  const confirmed = nodes(nodes(assertion, 'Subject')[0], 'SubjectConfirmation').flatMap((confirmation) => {
    const data = nodes(confirmation, 'SubjectConfirmationData')[0]?.$
    return confirmation.$?.Method === BEARER && data ? [data] : []
  })
  const mine = confirmed.filter(({ Recipient }) => Recipient === service.acs)
  if (mine.length === 0) throw refused('it is for another recipient')
  const asked = mine.filter(({ InResponseTo }) => (InResponseTo || null) === requestId)
  if (asked.length === 0) throw refused('it does not answer the request')
  const alive = asked.find(({ NotOnOrAfter }) => within(realm, NotOnOrAfter, SKEW))
  if (!alive) throw refused('it is not valid at this time')
  if (nodes(assertion, 'AuthnStatement').length === 0) throw refused('it says nothing of a sign-in')
  return { expires: Date.parse(alive.NotOnOrAfter ?? '') + SKEW }
}

function attributesOf(assertion: Node): Attribute[] {
  const all = nodes(assertion, 'AttributeStatement').flatMap((statement) => nodes(statement, 'Attribute'))
  return all.map((attribute) => ({
    name: attribute.$?.Name ?? '',
    friendlyName: attribute.$?.FriendlyName ?? '',
    values: nodes(attribute, 'AttributeValue').map(textOf),
  }))
}

function sessionEnd(realm: Realm, assertion: Node): number | null {
  const said = nodes(assertion, 'AuthnStatement').map(({ $ }) => Date.parse($?.SessionNotOnOrAfter ?? ''))
  const ends = said.filter((ms) => Number.isFinite(ms))
  if (ends.some((ms) => ms + SKEW <= realm.now())) throw refused('its session has ended')
  return ends.length === 0 ? null : Math.min(...ends)
}

/** Proves an answer: by signatures through the library, and by all that the profile demands besides. Throws `auth_saml_assertion_invalid`. */
export async function prove(realm: Realm, answer: Answer, expected: Expected): Promise<Proved> {
  const { service, idp, requestId } = expected
  if (answer.inResponseTo !== requestId) throw refused('it does not answer the request')
  demandDestination(answer, service.acs)
  const opener = (await demandPlainInside(answer, service.openers)) ?? service.key
  const tool = await toolOf(service, idp, { opener })
  try {
    const { profile } = await tool.validatePostResponseAsync({ SAMLResponse: Buffer.from(answer.xml).toString('base64') })
    // The signed part alone, parsed once more by the library; nothing of the rest of the document is read from here on.
    const assertion = nodes({ all: [(profile?.getAssertion?.() as { Assertion?: unknown } | undefined)?.Assertion] }, 'all')[0]
    if (!assertion?.$?.ID) throw refused('it has no assertion')
    const { expires } = demandOurs(realm, assertion, expected)
    const nameId = nodes(nodes(assertion, 'Subject')[0], 'NameID')[0]
    return {
      id: assertion.$.ID,
      nameId: textOf(nameId),
      nameIdFormat: nameId?.$?.Format ?? '',
      nameQualifier: nameId?.$?.NameQualifier || null,
      spNameQualifier: nameId?.$?.SPNameQualifier || null,
      sessionIndex: nodes(assertion, 'AuthnStatement').map(({ $ }) => $?.SessionIndex)[0] || null,
      attributes: attributesOf(assertion),
      sessionEnds: sessionEnd(realm, assertion),
      expires,
    }
  } catch (error) {
    throw isSovraError(error) ? error : refused(reasonOf(error), error)
  }
}
