/** A real SAML identity provider on loopback (samlify), and what it can be made to say. */

import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inflateRawSync } from 'node:zlib'
import * as samlify from 'samlify'
import { selfSigned } from '../packages/server/src/realms/saml/certificate.ts'

const REDIRECT = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect'
const MINUTE = 60_000
samlify.setSchemaValidator({ validate: async () => 'valid' })

export interface Saying {
  readonly nameId: string
  readonly attributes?: Readonly<Record<string, string | readonly string[]>>
  readonly format?: string
  /** Which of the two is signed; default: the assertion. */
  readonly signed?: 'assertion' | 'message' | 'none'
  readonly encrypted?: boolean
  readonly audience?: string
  readonly recipient?: string
  readonly destination?: string
  readonly inResponseTo?: string | null
  readonly issuer?: string
  /** ms from now. */
  readonly ends?: number
  readonly sessionEnds?: number
  readonly sessionIndex?: string
  readonly status?: string
  /** Changes the document before it is signed. */
  readonly edit?: (xml: string) => string
}

export interface TestIdp {
  readonly entityId: string
  readonly metadata: string
  readonly metadataUrl: string
  /** What the address of the metadata answers with. */
  served: string
  fetched: number
  /** Answers a request (its URL); null: nobody asked. */
  answer(service: Service, request: string | null, saying: Saying): Promise<{ SAMLResponse: string; RelayState: string }>
  /** Asks for the end of somebody's sessions: a URL, or a form's `SAMLRequest`. */
  askLogout(service: Service, wish: LogoutWish): Promise<string>
  /** Our request or answer in a URL that a browser was sent to; rejects where the signature is not ours. */
  readLogout(service: Service, url: string, kind: 'request' | 'response'): Promise<Record<string, unknown>>
  close(): Promise<void>
}

export interface LogoutWish {
  readonly nameId: string
  readonly sessionIndex?: string
  readonly by?: 'redirect' | 'post'
  readonly signed?: boolean
  readonly relayState?: string
  /** Changes the document before it is signed. */
  readonly edit?: (xml: string) => string
}

/** The service provider, by its own metadata. */
export interface Service {
  readonly metadata: string
  readonly acs: string
  readonly entityId: string
}

/** samlify encrypts for the only key that it finds. */
function forFirstKey(metadata: string): string {
  let found = 0
  return metadata.replace(/<KeyDescriptor use="encryption">[\s\S]*?<\/KeyDescriptor>/g, (one) => (found++ === 0 ? one : ''))
}

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;')

function attributeXml(attributes: Saying['attributes'] = {}): string {
  const all = Object.entries(attributes).map(([name, value]) => {
    const values = [value].flat().map((text) => `<saml:AttributeValue>${escaped(text)}</saml:AttributeValue>`)
    return `<saml:Attribute Name="${escaped(name)}">${values.join('')}</saml:Attribute>`
  })
  return all.length === 0 ? '' : `<saml:AttributeStatement>${all.join('')}</saml:AttributeStatement>`
}

function documentOf(service: Service, id: string | null, entityId: string, saying: Saying): string {
  const at = (ms: number) => new Date(Date.now() + ms).toISOString()
  const { ends = 5 * MINUTE, issuer = entityId, recipient = service.acs, audience = service.entityId } = saying
  const { status = 'Success', destination = service.acs, nameId, format = 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent' } = saying
  const asked = saying.inResponseTo === undefined ? id : saying.inResponseTo
  const reply = asked === null ? '' : ` InResponseTo="${asked}"`
  const session = saying.sessionEnds === undefined ? '' : ` SessionNotOnOrAfter="${at(saying.sessionEnds)}"`
  return `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_r${randomUUID()}" Version="2.0" IssueInstant="${at(0)}" Destination="${destination}"${reply}><saml:Issuer>${issuer}</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:${status}"/></samlp:Status><saml:Assertion ID="_a${randomUUID()}" Version="2.0" IssueInstant="${at(0)}"><saml:Issuer>${issuer}</saml:Issuer><saml:Subject><saml:NameID Format="${format}">${escaped(nameId)}</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="${at(ends)}" Recipient="${recipient}"${reply}/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="${at(ends - 10 * MINUTE)}" NotOnOrAfter="${at(ends)}"><saml:AudienceRestriction><saml:Audience>${audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="${at(0)}" SessionIndex="${saying.sessionIndex ?? 's1'}"${session}><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>${attributeXml(saying.attributes)}</saml:Assertion></samlp:Response>`
}

function logoutDocument(service: Service, entityId: string, { nameId, sessionIndex, edit = (xml) => xml }: LogoutWish): string {
  const slo = /SingleLogoutService[^>]*Location="([^"]+)"/.exec(service.metadata)?.[1] ?? ''
  const index = sessionIndex === undefined ? '' : `<samlp:SessionIndex>${sessionIndex}</samlp:SessionIndex>`
  return edit(
    `<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_l${randomUUID()}" Version="2.0" IssueInstant="${new Date().toISOString()}" Destination="${slo}"><saml:Issuer>${entityId}</saml:Issuer><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">${escaped(nameId)}</saml:NameID>${index}</samlp:LogoutRequest>`,
  )
}

/** What a request says, as its receiver reads it. */
export function requestOf(url: string): { id: string; relayState: string; xml: string } {
  const params = new URL(url).searchParams
  const xml = inflateRawSync(Buffer.from(params.get('SAMLRequest') ?? '', 'base64')).toString()
  return { id: /\sID="([^"]+)"/.exec(xml)?.[1] ?? '', relayState: params.get('RelayState') ?? '', xml }
}

export async function startIdp(name = 'idp'): Promise<TestIdp> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const server = createServer((_request, response) => {
    idp.fetched++
    response.writeHead(200, { 'content-type': 'application/samlmetadata+xml' }).end(idp.served)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const entityId = `${origin}/${name}`
  const settings = {
    entityID: entityId,
    privateKey: key,
    signingCert: selfSigned(key, { name, seed: name, now: Date.now() }),
    requestSignatureAlgorithm: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
    dataEncryptionAlgorithm: 'http://www.w3.org/2001/04/xmlenc#aes256-cbc',
    keyEncryptionAlgorithm: 'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p',
    wantAuthnRequestsSigned: true,
    singleLogoutService: [{ Binding: REDIRECT, Location: `${origin}/slo` }],
    singleSignOnService: [{ Binding: REDIRECT, Location: `${origin}/sso` }],
    loginResponseTemplate: { context: '', attributes: [] },
  }
  const { metadata } = { metadata: samlify.IdentityProvider(settings as never).getMetadata() }
  const idp: TestIdp = {
    entityId,
    metadata,
    metadataUrl: `${origin}/metadata`,
    served: metadata,
    fetched: 0,
    async answer(service, request, saying) {
      const { signed = 'assertion', encrypted = false, edit = (xml: string) => xml } = saying
      const asked = request === null ? { id: null, relayState: '' } : requestOf(request)
      const text = edit(documentOf(service, asked.id, entityId, saying))
      if (signed === 'none') return { SAMLResponse: Buffer.from(text).toString('base64'), RelayState: asked.relayState }
      const own = samlify.IdentityProvider({ ...settings, isAssertionEncrypted: encrypted } as never)
      const metadata = forFirstKey(service.metadata).replace(
        / WantAssertionsSigned="\w+"/,
        ` WantAssertionsSigned="${signed === 'assertion'}"`,
      )
      const sp = samlify.ServiceProvider({ metadata, wantMessageSigned: signed === 'message' } as never)
      const made = await own.createLoginResponse(
        sp,
        {} as never,
        'post',
        {} as never,
        () => ({ id: 'x', context: text }) as never,
        encrypted && signed === 'message',
      )
      return { SAMLResponse: (made as { context: string }).context, RelayState: asked.relayState }
    },
    async askLogout(service, wish) {
      const { by = 'redirect', signed = true, relayState = '' } = wish
      const sp = samlify.ServiceProvider({ metadata: forFirstKey(service.metadata), wantLogoutRequestSigned: signed } as never)
      const context = logoutDocument(service, entityId, wish)
      const own = samlify.IdentityProvider(settings as never)
      const made = own.createLogoutRequest(sp, by, {}, { relayState, customTagReplacement: () => ({ id: 'x', context }) } as never)
      return (made as { context: string }).context
    },
    async readLogout(service, url, kind) {
      const sp = samlify.ServiceProvider({ metadata: forFirstKey(service.metadata) } as never)
      const own = samlify.IdentityProvider({ ...settings, wantLogoutRequestSigned: true, wantLogoutResponseSigned: true } as never)
      const query = Object.fromEntries(new URL(url).searchParams)
      const octetString = (url.split('?')[1] ?? '').split('&Signature=')[0]
      const read = kind === 'request' ? own.parseLogoutRequest : own.parseLogoutResponse
      return (await read.call(own, sp, 'redirect', { query, octetString } as never)).extract as Record<string, unknown>
    },
    async close() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
  return idp
}
