import type { ErrorCode } from '@sovrabase/contract/errors'
import type { FastifyContextConfig, FastifyInstance } from 'fastify'
import { fail } from '../../base/errors.ts'

const USE: FastifyContextConfig = { action: 'auth:use', resource: 'project' }
const PUBLIC: FastifyContextConfig = { action: 'public' }
const ADMINISTER: FastifyContextConfig = { action: 'auth:administer', resource: 'project' }

/** Ways in that are off: each says so in the words that clients know. */
const CLOSED: readonly [method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE', url: string, code: ErrorCode, config: FastifyContextConfig][] =
  [
    ['GET', '/.well-known/oauth-authorization-server', 'auth_oauth_server_disabled', PUBLIC],
    ['GET', '/oauth/authorize', 'auth_oauth_server_disabled', PUBLIC],
    ['POST', '/oauth/token', 'auth_oauth_server_disabled', PUBLIC],
    ['POST', '/oauth/clients/register', 'auth_oauth_server_disabled', PUBLIC],
    ['GET', '/oauth/userinfo', 'auth_oauth_server_disabled', USE],
    ['GET', '/oauth/authorizations/:id', 'auth_oauth_server_disabled', USE],
    ['POST', '/oauth/authorizations/:id/consent', 'auth_oauth_server_disabled', USE],
    ['GET', '/user/oauth/grants', 'auth_oauth_server_disabled', USE],
    ['DELETE', '/user/oauth/grants', 'auth_oauth_server_disabled', USE],
    ['GET', '/admin/oauth/clients', 'auth_oauth_server_disabled', ADMINISTER],
    ['POST', '/admin/oauth/clients', 'auth_oauth_server_disabled', ADMINISTER],
    ['GET', '/admin/oauth/clients/:id', 'auth_oauth_server_disabled', ADMINISTER],
    ['PUT', '/admin/oauth/clients/:id', 'auth_oauth_server_disabled', ADMINISTER],
    ['DELETE', '/admin/oauth/clients/:id', 'auth_oauth_server_disabled', ADMINISTER],
    ['POST', '/admin/oauth/clients/:id/regenerate_secret', 'auth_oauth_server_disabled', ADMINISTER],
  ]

export function closedRoutes(app: FastifyInstance): void {
  for (const [method, url, code, config] of CLOSED) {
    app.route({
      method,
      url,
      config,
      handler: async () => {
        throw fail(code)
      },
    })
  }
}
