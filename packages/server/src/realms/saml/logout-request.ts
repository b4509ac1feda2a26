import { constants, verify } from 'node:crypto'
import { inflateRawSync } from 'node:zlib'
import { fail, isSovraError } from '../../base/errors.ts'
import { CHARS, demandPlain, open, SIGNED_BY } from './answer.ts'
import { ASSERTION, below, childrenOf, PROTOCOL, rootOf, textOf } from './xml.ts'

/** How a request came: by a signed query, or as a form whose document is signed. */
export type Came =
  | { readonly by: 'redirect'; readonly query: string }
  | { readonly by: 'post'; readonly samlRequest: string; readonly relayState: string }

/** A request of a provider to end somebody's sessions, before anything in it is believed. */
export interface LogoutRequest {
  readonly xml: string
  readonly id: string
  readonly issuer: string
  readonly destination: string
  /** ms; NaN: not said. */
  readonly issuedAt: number
  /** ms; null: not said. */
  readonly expires: number | null
  readonly relayState: string
  /** null: the document itself is signed. */
  readonly signed: SignedQuery | null
}

interface SignedQuery {
  readonly text: string
  readonly algorithm: string
  readonly signature: Buffer
}

const BYTES = 65_536
const NAMES = ['SAMLRequest', 'RelayState', 'SigAlg', 'Signature'] as const

export const refusedLogout = (reason: string, cause?: unknown) => fail('auth_saml_logout_invalid', { reason }, { cause })

/** What XML and its rules refuse is said of a log-out here. */
function asLogout<R>(read: () => R): R {
  try {
    return read()
  } catch (error) {
    if (!isSovraError(error, 'auth_saml_assertion_invalid')) throw error
    throw refusedLogout(String(error.params.reason), error)
  }
}

/**
 * The parameters as they came (SAML bindings 2.0 §3.4.4.1): the signature is over the very bytes. Each is there once, so that nobody
 * reads another one than the signed.
 */
function partsOf(query: string): Readonly<Record<(typeof NAMES)[number], string | undefined>> {
  const parts = query.split('&').map((part) => [part.split('=', 1)[0] ?? '', part] as const)
  const named = NAMES.map((name) => {
    const found = parts.filter(([key]) => decodeURIComponent(key) === name)
    if (found.length > 1 || found.some(([key]) => key !== name)) throw refusedLogout('its parameters are not those of the binding')
    return [name, found[0]?.[1]] as const
  })
  if (parts.some(([key]) => key === 'SAMLResponse' || key === 'SAMLEncoding'))
    throw refusedLogout('its parameters are not those of the binding')
  return Object.fromEntries(named) as Record<(typeof NAMES)[number], string | undefined>
}

const decoded = (part: string | undefined): string => decodeURIComponent((part ?? '').replace(/^[^=]*=/, '').replaceAll('+', ' '))

function signedOf(query: string): { xml: string; relayState: string; signed: SignedQuery } {
  const { SAMLRequest: request, RelayState: relay, SigAlg: named, Signature: signature } = partsOf(query)
  if (!request || !named || !signature) throw refusedLogout('it is not signed')
  const algorithm = decoded(named)
  if (!SIGNED_BY.has(algorithm)) throw refusedLogout('its signature is of an algorithm that is not accepted')
  const text = [request, ...(relay === undefined ? [] : [relay]), named].join('&')
  const xml = inflateRawSync(Buffer.from(decoded(request), 'base64'), { maxOutputLength: BYTES }).toString('utf8')
  return { xml, relayState: decoded(relay), signed: { text, algorithm, signature: Buffer.from(decoded(signature), 'base64') } }
}

function textIn(came: Came): { xml: string; relayState: string; signed: SignedQuery | null } {
  if (came.by === 'post') {
    const { samlRequest, relayState } = came
    if (samlRequest.length > CHARS) throw refusedLogout('it is too long')
    return { xml: Buffer.from(samlRequest, 'base64').toString('utf8'), relayState, signed: null }
  }
  try {
    return signedOf(came.query)
  } catch (error) {
    throw isSovraError(error) ? error : refusedLogout('it cannot be read', error)
  }
}

const timeOf = (text: string | null): number => Date.parse(text ?? '')

/** Throws `auth_saml_logout_invalid`. */
export function readLogoutRequest(came: Came): LogoutRequest {
  const { xml, relayState, signed } = textIn(came)
  return asLogout(() => {
    const root = rootOf(xml)
    if (root.localName !== 'LogoutRequest' || root.namespaceURI !== PROTOCOL) throw refusedLogout('it is no request to log out')
    demandPlain(root)
    const id = root.getAttribute('ID') ?? ''
    if (id === '') throw refusedLogout('it has no id')
    const expires = root.getAttribute('NotOnOrAfter')
    return {
      xml,
      id,
      issuer: textOf(childrenOf(root, ASSERTION, 'Issuer')[0]),
      destination: root.getAttribute('Destination') ?? '',
      issuedAt: timeOf(root.getAttribute('IssueInstant')),
      expires: expires ? timeOf(expires) : null,
      relayState,
      signed,
    }
  })
}

/** Whether one of these certificates (PEM) has signed the query. */
export const provesQuery = ({ text, algorithm, signature }: SignedQuery, certificates: readonly string[]): boolean => {
  const hash = algorithm.endsWith('rsa-sha512') ? 'sha512' : 'sha256'
  const pss = algorithm.endsWith('MGF1') ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {}
  return certificates.some((key) => verify(hash, Buffer.from(text), { key, ...pss }, signature))
}

export interface Whom {
  readonly nameId: string
  /** Of the provider's own sessions; none: all of them. */
  readonly sessionIndexes: readonly string[]
}

/** Of a request that was proved. Names may be encrypted for us. */
export async function whomOf({ xml }: LogoutRequest, openers: readonly string[]): Promise<Whom> {
  const root = asLogout(() => rootOf(xml))
  const [encrypted] = childrenOf(root, ASSERTION, 'EncryptedID')
  let name = childrenOf(root, ASSERTION, 'NameID')[0]
  if (encrypted)
    try {
      const inside = rootOf((await open(String(encrypted), openers)).text)
      name = inside.localName === 'NameID' ? inside : below(inside, ASSERTION, 'NameID')[0]
    } catch (cause) {
      throw refusedLogout('its name cannot be opened', cause)
    }
  const nameId = textOf(name)
  if (nameId === '') throw refusedLogout('it names nobody')
  return { nameId, sessionIndexes: childrenOf(root, PROTOCOL, 'SessionIndex').map(textOf) }
}
