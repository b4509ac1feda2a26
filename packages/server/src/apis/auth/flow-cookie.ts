import type { FastifyRequest } from 'fastify'
import type { Realm } from '../../realms/auth/realm.ts'

const LIFE = 600
const NAME = 'sovra_flow_'
const NAME_DIGITS = 16

const nameOf = (hash: string): string => `${NAME}${hash.slice(0, NAME_DIGITS)}`

/**
 * Binds a flow to the browser that it began in; `path`: of the realm's API, where that comes back. Apple and SAML providers answer by a
 * POST of a page of theirs: the cookie must come along then, which browsers allow over TLS alone.
 */
export function flowCookie(realm: Realm, path: string, { hash, value }: { hash: string; value: string }): string {
  const site = realm.api.startsWith('https:') ? 'Secure; SameSite=None' : 'SameSite=Lax'
  return `${nameOf(hash)}=${value}; Path=${new URL(realm.api).pathname}${path}; Max-Age=${LIFE}; HttpOnly; ${site}`
}

export function flowCookieIn(request: FastifyRequest, hash: string): string | null {
  const name = `${nameOf(hash)}=`
  const found = (request.headers.cookie ?? '').split(/;\s*/).find((part) => part.startsWith(name))
  return found === undefined ? null : found.slice(name.length)
}
