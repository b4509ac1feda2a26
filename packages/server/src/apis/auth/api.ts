import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { SovraError } from '../../base/errors.ts'
import { adminRoutes } from './admin-routes.ts'
import { closedRoutes } from './closed-routes.ts'
import { customProviderRoutes } from './custom-provider-routes.ts'
import { factorRoutes } from './factor-routes.ts'
import { federatedRoutes } from './federated-routes.ts'
import { readsJson } from './input.ts'
import { linkRoutes } from './link-routes.ts'
import type { AuthOptions } from './options.ts'
import { passkeyAdminRoutes, passkeyRoutes } from './passkey-routes.ts'
import { publicRoutes } from './public-routes.ts'
import { render } from './render.ts'
import { samlLogoutRoutes } from './saml-logout-routes.ts'
import { samlRoutes } from './saml-routes.ts'
import { signInRoutes } from './sign-in-routes.ts'
import { ssoAdminRoutes } from './sso-admin-routes.ts'
import { userRoutes } from './user-routes.ts'

/** The auth dialect as an API of projects: mount it under `/auth/v1`. */
export interface AuthApi {
  readonly routes: FastifyPluginAsync
  readonly bodyLimit: number
  readonly render: (error: SovraError, request: FastifyRequest, reply: FastifyReply) => unknown
}

/** `administered`: its users are administered by keys, in this dialect. */
export function authApi(options: AuthOptions, { administered = true } = {}): AuthApi {
  const routes: FastifyPluginAsync = async (app) => {
    readsJson(app)
    publicRoutes(app, options)
    signInRoutes(app, options)
    linkRoutes(app, options)
    userRoutes(app, options)
    federatedRoutes(app, options)
    samlRoutes(app, options)
    samlLogoutRoutes(app, options)
    if (administered) closedRoutes(app)
    if (options.settings) customProviderRoutes(app, { settings: options.settings, now: options.now })
    await app.register(async (scope) => factorRoutes(scope, options))
    await app.register(async (scope) => passkeyRoutes(scope, options))
    if (administered) passkeyAdminRoutes(app, options)
    if (administered) ssoAdminRoutes(app, options)
    if (administered) await app.register(async (scope) => adminRoutes(scope, options))
  }
  return { routes, bodyLimit: options.bodyLimit, render }
}
