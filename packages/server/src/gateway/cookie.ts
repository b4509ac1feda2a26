import type { FastifyReply, FastifyRequest } from 'fastify'
import { fail } from '../base/errors.ts'

/** The member's session in a browser: HttpOnly, of this host only, and of the control API's path, so that it never rides to /p/*. */
const SESSION_COOKIE = 'sovra_session'
const COOKIE_PATH = '/v1'
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
const VALUE = /(?:^|;\s*)sovra_session=([\w.~+/=-]+)/

export const sessionCookie = (header: string | undefined): string | undefined =>
  header === undefined ? undefined : VALUE.exec(header)?.[1]

function hostOf(origin: string): string | null {
  try {
    return new URL(origin).host
  } catch {
    return null
  }
}

/**
 * The cookie alone proves nothing about who wrote the request: one that changes state must come from a page of this very host. `SameSite`
 * does not tell a project's page on this site from ours. Throws `csrf_refused`.
 */
export function checkOrigin(request: FastifyRequest): void {
  if (SAFE.has(request.method)) return
  const { origin } = request.headers
  if (origin === undefined || hostOf(origin) !== request.host.toLowerCase()) throw fail('csrf_refused')
}

/**
 * A form that signs in must be of this site, else another could sign people in as somebody else. Who sends no Origin is no browser: all of
 * them send one with a POST. Throws `csrf_refused`.
 */
export function checkForm(request: FastifyRequest): void {
  const { origin } = request.headers
  if (origin !== undefined && hostOf(origin) !== request.host.toLowerCase()) throw fail('csrf_refused')
}

/** Sets (token) or clears (null) the session cookie. `secure`: the platform's URL is https. */
export function setSessionCookie(reply: FastifyReply, token: string | null, options: { secure: boolean; maxAge?: number }): void {
  const age = token === null ? 0 : options.maxAge
  const parts = [`${SESSION_COOKIE}=${token ?? ''}`, `Path=${COOKIE_PATH}`, 'HttpOnly', 'SameSite=Strict']
  if (age !== undefined) parts.push(`Max-Age=${Math.floor(age)}`)
  if (options.secure) parts.push('Secure')
  reply.header('set-cookie', parts.join('; '))
}
