import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Control } from '../context.ts'
import { mailRoutes } from './mail-routes.ts'
import { userRoutes } from './user-routes.ts'

/** Users of projects, as operators see them. */
export const authRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    for (const routes of [mailRoutes, userRoutes]) await app.register(routes(control))
  }
