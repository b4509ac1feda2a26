import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Control } from '../context.ts'
import { acceptingRoutes } from './accepting.ts'
import { invitationRoutes } from './invitations.ts'
import { leavingRoutes } from './leaving.ts'
import { membershipRoutes } from './memberships.ts'

export const memberRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    for (const routes of [membershipRoutes, leavingRoutes, invitationRoutes, acceptingRoutes]) await app.register(routes(control))
  }
