import { DOMParser } from '@xmldom/xmldom'
import { fail } from '../../base/errors.ts'

export const refused = (reason: string, cause?: unknown) => fail('auth_saml_assertion_invalid', { reason }, { cause })

export const PROTOCOL = 'urn:oasis:names:tc:SAML:2.0:protocol'
export const ASSERTION = 'urn:oasis:names:tc:SAML:2.0:assertion'
export const METADATA = 'urn:oasis:names:tc:SAML:2.0:metadata'
export const SIGNATURE = 'http://www.w3.org/2000/09/xmldsig#'

/** In one go, however many are begun and not ended. */
function withoutComments(text: string): string {
  let kept = ''
  for (let at = 0; ; ) {
    const begin = text.indexOf('<!--', at)
    const end = begin < 0 ? -1 : text.indexOf('-->', begin + 4)
    if (end < 0) return kept + text.slice(at)
    kept += text.slice(at, begin)
    at = end + 3
  }
}

/**
 * The root of a document. Nothing that an XML reader would fetch, expand or skip over is taken: no document type, entity, comment, CDATA
 * section or processing instruction. Throws `auth_saml_assertion_invalid`.
 */
export function rootOf(text: string, { comments = false } = {}): Element {
  const [, rest = ''] = /^\uFEFF?\s*(?:<\?xml\s[^<>]*\?>)?([\s\S]*)$/.exec(text) ?? []
  const kept = comments ? withoutComments(rest) : rest
  if (kept.includes('<!') || kept.includes('<?')) throw refused('it has a document type, a comment or the like')
  const refuse = (reason: string) => {
    throw refused('it cannot be read', reason.slice(0, 200))
  }
  const parser = new DOMParser({ errorHandler: { warning: refuse, error: refuse, fatalError: refuse }, locator: {} })
  const root = parser.parseFromString(kept, 'text/xml')?.documentElement
  if (!root) throw refused('it is no XML')
  return root
}

/** Elements below (not `at` itself), of a namespace; `*`: of any. */
export const below = (at: Element, namespace: string, name: string): Element[] => Array.from(at.getElementsByTagNameNS(namespace, name))

export const childrenOf = (at: Element, namespace: string, name: string): Element[] =>
  below(at, namespace, name).filter((element) => element.parentNode === at)

export const textOf = (element: Element | undefined): string => (element?.textContent ?? '').trim()
