import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Control } from '../context.ts'
import { organisationListRoutes } from './listing.ts'
import { organisationMailRoutes } from './mail.ts'
import { oneOrganisationRoutes } from './organisation.ts'
import { quotaRoutes } from './quotas.ts'

export const organisationRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    for (const routes of [organisationListRoutes, oneOrganisationRoutes, quotaRoutes, organisationMailRoutes])
      await app.register(routes(control))
  }
