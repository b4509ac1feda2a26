import { decrypt } from 'xml-encryption'
import { fail } from '../../base/errors.ts'
import type { Realm } from '../auth/realm.ts'
import { ASSERTION, below, PROTOCOL, refused, rootOf } from './xml.ts'

export const CHARS = 524_288
const SUCCESS = 'urn:oasis:names:tc:SAML:2.0:status:Success'
export const SIGNED_BY = new Set([
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512',
  'http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1',
])
const DIGESTED_BY = new Set(['http://www.w3.org/2001/04/xmlenc#sha256', 'http://www.w3.org/2001/04/xmlenc#sha512'])

type XmlElement = ReturnType<typeof rootOf>

/** Of an answer, before anything in it is believed. */
export interface Answer {
  readonly xml: string
  readonly issuer: string
  /** Id of the request; null: nobody asked. */
  readonly inResponseTo: string | null
}

/** No weak algorithm, no signature anywhere but where one belongs, no id twice: nothing to wrap one assertion in another with. */
export function demandPlain(root: XmlElement): void {
  const elements = [root, ...below(root, '*', '*')]
  const ids = elements.flatMap((element) => ['ID', 'Id', 'id'].map((name) => element.getAttribute(name)).filter((id) => id))
  if (new Set(ids).size !== ids.length) throw refused('two of its elements have one id')
  for (const element of elements) {
    const { localName, parentNode } = element
    const algorithm = element.getAttribute('Algorithm') ?? ''
    const inside = (parentNode as XmlElement | null)?.localName ?? ''
    if (localName === 'Signature' && !['Response', 'Assertion', 'LogoutRequest'].includes(inside))
      throw refused('a signature is out of place')
    if (localName === 'SignatureMethod' && !SIGNED_BY.has(algorithm)) throw refused('its signature is of an algorithm that is not accepted')
    if (localName === 'DigestMethod' && inside === 'Reference' && !DIGESTED_BY.has(algorithm))
      throw refused('its digest is of an algorithm that is not accepted')
  }
}

/** One assertion in the whole document, in the place where one belongs: another one could be taken for the signed one. */
function onlyAssertion(root: XmlElement): XmlElement {
  const all = below(root, '*', '*').filter(({ localName }) => localName === 'Assertion' || localName === 'EncryptedAssertion')
  const [one] = all
  if (!one || all.length > 1) throw refused(one ? 'it has more than one assertion' : 'it has no assertion')
  if (one.parentNode !== root || one.namespaceURI !== ASSERTION) throw refused('its assertion is out of place')
  return one
}

function demandSuccess(root: XmlElement): void {
  const codes = below(root, PROTOCOL, 'StatusCode')
  const [code] = codes
  if (code?.getAttribute('Value') === SUCCESS) return
  const said = codes.map((each) =>
    (each.getAttribute('Value') ?? '')
      .replace(/^.*:/, '')
      .replace(/[^\w-]/g, '')
      .slice(0, 40),
  )
  throw refused(`the identity provider says ${said.join(', ') || 'no status'}`)
}

/** Looks at a SAMLResponse of the POST binding. Throws `auth_saml_assertion_invalid`. */
export function readAnswer(text: unknown): Answer {
  if (typeof text !== 'string' || text === '') throw fail('auth_validation_failed', { reason: 'SAMLResponse is missing' })
  if (text.length > CHARS || !/^[A-Za-z0-9+/=\s]+$/.test(text)) throw refused('it is not base64, or too long')
  const xml = Buffer.from(text, 'base64').toString('utf8')
  const root = rootOf(xml)
  if (root.localName !== 'Response' || root.namespaceURI !== PROTOCOL) throw refused('it is no response')
  demandSuccess(root)
  onlyAssertion(root)
  demandPlain(root)
  const issuer = below(root, ASSERTION, 'Issuer').find((element) => element.parentNode === root) ?? below(root, ASSERTION, 'Issuer')[0]
  const inResponseTo = root.getAttribute('InResponseTo') || null
  return { xml, issuer: (issuer?.textContent ?? '').trim(), inResponseTo }
}

/** For whom it is, as far as the envelope says: the assertion itself says it again, signed. */
export function demandDestination({ xml }: Answer, acs: string): void {
  const destination = rootOf(xml).getAttribute('Destination')
  if (destination && destination !== acs) throw refused('it is meant for another address')
}

const options = (key: string) => ({ key, disallowDecryptionWithInsecureAlgorithm: true, warnInsecureAlgorithm: false })

const opened = (encrypted: string, key: string): Promise<string> =>
  new Promise((done, failed) => decrypt(encrypted, options(key), (error, result) => (error ? failed(error) : done(String(result)))))

/** With the first of `keys` that opens it. */
export async function open(encrypted: string, keys: readonly string[]): Promise<{ text: string; key: string }> {
  let cause: unknown
  for (const key of keys)
    try {
      return { text: await opened(encrypted, key), key }
    } catch (error) {
      cause = error
    }
  throw cause
}

/**
 * What an encrypted assertion holds is held to the same rules; one answer for all that is wrong with it, since each other one tells of the
 * key. Answers the key that opens it; null: it is not encrypted.
 */
export async function demandPlainInside({ xml }: Answer, keys: readonly string[]): Promise<string | null> {
  const one = onlyAssertion(rootOf(xml))
  if (one.localName !== 'EncryptedAssertion') return null
  try {
    const { text, key } = await open(String(one), keys)
    const root = rootOf(text)
    if (root.localName !== 'Assertion' || below(root, '*', 'Assertion').length > 0) throw refused('its assertion is out of place')
    demandPlain(root)
    return key
  } catch (cause) {
    throw refused('its assertion cannot be opened', cause)
  }
}

export const within = (realm: Pick<Realm, 'now'>, text: unknown, skew: number): boolean =>
  typeof text === 'string' && Date.parse(text) + skew > realm.now()
