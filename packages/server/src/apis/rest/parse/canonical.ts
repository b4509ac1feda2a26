/** All that a canonical query string holds as it is. */
const PLAIN = /^[\w.~-]*(?:=[\w.~-]*)?$/
const RESERVED = /[!'()*]/g

const plain = (text: string): string =>
  encodeURIComponent(text).replace(RESERVED, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

const ESCAPES = /(?:%[0-9A-Fa-f]{2})+/g

/** A name or value of a query string; what is no escape, or no UTF-8, stays as it is. */
export function decode(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text
  const spaced = text.replaceAll('+', ' ')
  try {
    return decodeURIComponent(spaced)
  } catch {
    return spaced.replace(ESCAPES, decodedOrNot)
  }
}

function decodedOrNot(escapes: string): string {
  try {
    return decodeURIComponent(escapes)
  } catch {
    return escapes
  }
}

/** Content-Location of what was read: the same for two requests that ask for the same with their parameters in another order. Pure. */
export function contentLocation(name: string, query: string): string {
  const path = `/${encodeURI(name)}`
  if (query === '') return path
  // The usual short request, already as it must be.
  if (PLAIN.test(query)) return `${path}?${query.includes('=') ? query : `${query}=`}`
  const pairs = query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const equals = pair.indexOf('=')
      return equals < 0 ? [decode(pair), ''] : [decode(pair.slice(0, equals)), decode(pair.slice(equals + 1))]
    })
    .sort(([a = ''], [b = '']) => (a < b ? -1 : a > b ? 1 : 0))
  return `${path}?${pairs.map(([key = '', value = '']) => `${plain(key)}=${plain(value)}`).join('&')}`
}
