import type { FastifyRequest } from 'fastify'
import { fail } from '../base/errors.ts'
import type { PlatformPrincipal } from '../gateway/types.ts'
import type { Actor } from '../metadata/change.ts'

/** Who asks; the authorise hook has let a platform principal through. */
export function callerOf(request: FastifyRequest): PlatformPrincipal {
  const { principal } = request
  if (!principal || !('admin' in principal)) throw fail('unauthenticated')
  return principal
}

/** For the events of what the caller does. */
export function actorOf(request: FastifyRequest): Actor {
  const { id, kind } = callerOf(request)
  return { id, kind, ip: request.ip, requestId: request.id }
}

/** Where a request comes from, for sessions. */
export const originOf = (request: FastifyRequest) => ({
  ip: request.ip,
  userAgent: request.headers['user-agent'] ?? null,
  requestId: request.id,
})

/** The organisation or project that the authorise hook has resolved. */
export function organisationOf(request: FastifyRequest): string {
  const { resource } = request
  if (resource?.kind === 'organisation' || resource?.kind === 'project') return resource.organisation
  throw fail('not_found')
}

export function projectRefOf(request: FastifyRequest): string {
  const { resource } = request
  if (resource?.kind === 'project') return resource.project
  throw fail('not_found')
}
