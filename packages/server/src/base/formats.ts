import { isIP } from 'node:net'
import { parseRange } from './addresses.ts'
import type { Formats } from './key-values.ts'

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i
const isName = (text: string): boolean => text.length <= 253 && text.split('.').every((label) => LABEL.test(label))

function isRange(text: string): boolean {
  try {
    parseRange(text)
    return true
  } catch {
    return false
  }
}

function isOrigin(text: string, schemes: readonly string[]): boolean {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return (
    schemes.includes(url.protocol) &&
    url.pathname === '/' &&
    url.search === '' &&
    url.hash === '' &&
    url.username === '' &&
    !text.includes('?')
  )
}

/** What the `format` words of the configuration mean: undefined when the text is good, else what is wanted. */
export const FORMATS: Formats = {
  range: (text) => (isRange(text) ? undefined : 'an address or a CIDR range such as 10.0.0.0/8'),
  host: (text) => (isIP(text) > 0 || isName(text) ? undefined : 'an address or a host name'),
  domain: (text) =>
    isName(text) && text.length > 0 && isIP(text) === 0 ? undefined : 'a domain such as example.org, without scheme and port',
  origin: (text) => (isOrigin(text, ['http:', 'https:']) ? undefined : 'a URL without path, such as https://api.example.org'),
  'origin-or-any': (text) =>
    text === '*' || isOrigin(text, ['http:', 'https:']) ? undefined : '* or an origin such as https://app.example.org',
  url: (text) =>
    URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol) && new URL(text).username === ''
      ? undefined
      : 'a URL such as https://collector.example.org:4318/v1/logs',
  proxy: (text) => (isOrigin(text, ['http:', 'https:']) ? undefined : 'the URL of an HTTP proxy, such as http://proxy.example.org:3128'),
  age: (text) => (/^age1[a-z0-9-]{50,4000}$/.test(text) ? undefined : 'a public key of age, age1…'),
  label: (text) => (/^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/.test(text) ? undefined : 'at most 32 letters a–z, digits and dashes'),
}
