import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Control } from '../context.ts'
import { apiKeyRoutes } from './api-keys.ts'
import { connectionRoutes } from './connection.ts'
import { samlKeyRoutes } from './saml.ts'
import { keySecretRoutes } from './secrets.ts'
import { signingKeyRoutes } from './signing.ts'
import { userTokenRoutes } from './user-tokens.ts'

export const keyRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    for (const routes of [apiKeyRoutes, keySecretRoutes, connectionRoutes, signingKeyRoutes, samlKeyRoutes, userTokenRoutes])
      await app.register(routes(control))
  }
