/** They frame the message, guard its readers, or tell a proxy before us what to do: ours alone. */
const NEVER_SET = new Set([
  ...['connection', 'content-encoding', 'content-length', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['content-security-policy', 'x-content-type-options', 'sb-request-id', 'x-request-id', 'proxy-connection'],
  ...['x-sendfile', 'x-lighttpd-send-file', 'x-litespeed-location', 'x-reproxy-url'],
])
const OF_PROXIES = /^x-accel-/
/** What would reach other projects and the platform where the origin is theirs too. */
const NEVER_SHARED = /^(?:set-cookie|clear-site-data|service-worker-allowed|strict-transport-security|alt-svc|access-control-.*)$/
const COOKIE_DOMAIN = /;\s*domain\s*=[^;]*/gi
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** What would split the answer, or cannot be sent. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const NO_VALUE = /[\u0000-\u001f\u007f]|[^\u0000-\u00ff]/
/** Characters of all of them: clients and proxies take no more. */
const MOST = 32_768

export type OwnHeaders = Readonly<Record<string, string | string[]>>

export const isHeader = (name: string, value: unknown): value is string =>
  typeof value === 'string' && NAME.test(name) && value.length <= MOST && !NO_VALUE.test(value)

/**
 * What a project's functions may set, by lower-case name; `shared`: on an origin that is not the project's own. Null where they are too long. Pure;
 * all have passed `isHeader`.
 */
export function ownHeaders(given: readonly (readonly [name: string, value: string])[], shared: boolean): OwnHeaders | null {
  const headers: Record<string, string> = {}
  const cookies: string[] = []
  let length = 0
  for (const [written, value] of given) {
    const name = written.toLowerCase()
    length += name.length + value.length
    if (length > MOST) return null
    if (NEVER_SET.has(name) || OF_PROXIES.test(name) || (shared && NEVER_SHARED.test(name))) continue
    // A cookie for the whole domain would be one of its neighbours and of the platform.
    if (name === 'set-cookie') cookies.push(value.replace(COOKIE_DOMAIN, ''))
    else headers[name] = value
  }
  return cookies.length === 0 ? headers : { ...headers, 'set-cookie': cookies }
}
