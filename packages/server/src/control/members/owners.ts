import type { FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import { callerOf } from '../actor.ts'

/** Only an owner of the whole organisation (or this machine's owner) makes, changes and removes owners. */
export function refuseTooHigh(request: FastifyRequest, organisation: string, ...roles: string[]): void {
  const caller = callerOf(request)
  const owner =
    caller.kind === 'local' ||
    caller.memberships.some((bound) => bound.organisation === organisation && bound.project === null && bound.role === 'owner')
  if (!owner && roles.includes('owner')) throw fail('role_too_high', { role: 'owner' })
}
