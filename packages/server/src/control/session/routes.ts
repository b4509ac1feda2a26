import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Control } from '../context.ts'
import { passwordRoutes } from './password.ts'
import { memberSessionRoutes } from './session.ts'
import { tokenRoutes } from './tokens.ts'

export const sessionRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    for (const routes of [memberSessionRoutes, passwordRoutes, tokenRoutes]) await app.register(routes(control))
  }
