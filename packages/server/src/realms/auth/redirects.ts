import { globOf } from './glob.ts'
import type { AuthRules } from './rules.ts'

/** Never followed, whatever a list says: they run or read something in the browser. */
const FORBIDDEN = new Set(['javascript:', 'data:', 'vbscript:', 'file:', 'blob:', 'about:'])
const MAX_CHARS = 4096
/** About a tenth of a second; 200 usual patterns take a hundredth of it. */
const MAX_EFFORT = 1_000_000

const parse = (text: string): URL | null => {
  try {
    return new URL(text)
  } catch {
    return null
  }
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Schemes of apps for telephones that are named by a package with `_`, which is no scheme of a URL. */
const PACKAGE = /^[a-z][a-z\d.+-]*_[a-z\d.+_-]*:\/\/[^/]/i

/** Whether a link may lead there. */
export function isAllowed(rules: Pick<AuthRules, 'redirect_urls'>, site: string, given: string): boolean {
  // Control characters and backslashes are read differently by everyone.
  if (given.length > MAX_CHARS || [...given].some((char) => char <= ' ' || char === '\\' || char === '\u007f')) return false
  const [text = ''] = given.split('#')
  const effort = { left: MAX_EFFORT }
  if (PACKAGE.test(given)) return rules.redirect_urls.some((pattern) => globOf(pattern).test(text, effort))
  const target = parse(given)
  // A name before the host is there to deceive.
  if (!target || FORBIDDEN.has(target.protocol) || target.username !== '' || target.password !== '') return false
  const own = parse(site)
  if (own) {
    if (target.origin !== 'null' && target.origin === own.origin) return true
    // In development the port changes.
    if (LOOPBACK.has(own.hostname) && own.hostname === target.hostname && /^https?:$/.test(target.protocol)) return true
  }
  const canonical = target.href.split('#')[0] ?? ''
  return rules.redirect_urls.some((pattern) => {
    const glob = globOf(pattern)
    return glob.test(text, effort) && (canonical === `${text}/` || glob.test(canonical, effort))
  })
}

/** Where a link leads: to what was asked for if that is allowed, else to the site. `site` is the project's URL where none is set. */
export function redirectOf(rules: Pick<AuthRules, 'redirect_urls' | 'site_url'>, url: string, given: string | null): string {
  const site = rules.site_url ?? url
  return given !== null && given !== '' && isAllowed(rules, site, given) ? given : site
}

/** The URL with more in its fragment (implicit flow) or query (PKCE). */
export function withParams(target: string, where: 'fragment' | 'query', params: Record<string, string>): string {
  if (PACKAGE.test(target)) {
    const [text = ''] = target.split('#')
    return `${text}${where === 'fragment' ? '#' : text.includes('?') ? '&' : '?'}${new URLSearchParams(params)}`
  }
  const url = new URL(target)
  if (where === 'query') {
    for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value)
    return url.href
  }
  url.hash = ''
  return `${url.href}#${new URLSearchParams(params)}`
}
