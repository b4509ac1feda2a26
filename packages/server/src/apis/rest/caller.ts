import type { FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import { claimAt } from './claim-path.ts'
import type { RestOptions, RestPrincipal } from './options.ts'
import type { RestSettings } from './settings.ts'

/** As the reference: a token that names nobody is for everybody. */
function isMeant(aud: unknown, wanted: string): boolean {
  if (aud === undefined || aud === null) return true
  return Array.isArray(aud) ? aud.length === 0 || aud.includes(wanted) : aud === wanted
}

function roleIn(claims: unknown, path: RestSettings['roleClaim']): string | null {
  const role = path === null ? undefined : claimAt(claims, path)
  if (role === undefined) return null
  if (typeof role !== 'string' || role === '' || role === 'none' || role.length > 63)
    throw fail('invalid_token', { reason: 'its role is none' })
  return role
}

const BEARER = 'bearer'

const as = (principal: RestPrincipal, role: string, claims: object): RestPrincipal => ({
  role,
  kind: principal.kind,
  claimsJson: JSON.stringify({ ...claims, role }),
})

/**
 * Who asks, by what the database says of it: `db_anon_role` for who sends no credential, `jwt_aud` and `jwt_role_claim_key` for tokens of people.
 * Keys are the project's own and stay as they are. PostgreSQL refuses a role that `authenticator` has not. Throws invalid_token.
 */
export function callerOf(options: RestOptions, request: FastifyRequest, settings: RestSettings): RestPrincipal {
  // The gateway takes a scheme without a token for no credential; clients of the dialect are told that theirs was lost on the way.
  if (request.headers.authorization?.length === BEARER.length && request.headers.authorization.toLowerCase() === BEARER)
    throw fail('invalid_token', { reason: 'it is empty' })
  return asSaid(options.principal(request), settings)
}

function asSaid(principal: RestPrincipal, { anonRole, audience, roleClaim }: RestSettings): RestPrincipal {
  if (principal.kind === 'anon') return anonRole === null ? principal : as(principal, anonRole, {})
  if (principal.kind !== 'user' || (audience === null && roleClaim === null)) return principal
  const claims = JSON.parse(principal.claimsJson) as Record<string, unknown>
  if (audience !== null && !isMeant(claims.aud, audience)) throw fail('invalid_token', { reason: 'its audience is another' })
  if (roleClaim === null) return principal
  return as(principal, roleIn(claims, roleClaim) ?? anonRole ?? 'anon', claims)
}
