import type {
  FastifyContextConfig,
  FastifyInstance,
  FastifyPluginAsync,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
} from 'fastify'
import type { Kysely } from 'kysely'
import type { Vault } from '../base/crypto.ts'
import { fail, type SovraError } from '../base/errors.ts'
import { logError, toSovraError } from '../base/http-errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Outbound } from '../base/outbound.ts'
import type { Tables } from '../metadata/tables.ts'
import { type Denied, PLATFORM } from '../realms/denied.ts'
import type { PlatformRealm } from '../realms/platform.ts'
import { authenticateHook, makeProjectAuthenticator, type ProjectAuthenticator } from './authenticate.ts'
import { type Authoriser, authoriseHook, authoriseProjectHook, demandAction, makeAuthoriser } from './authorise.ts'
import { corsHook } from './cors.ts'
import { commonHeaders } from './headers.ts'
import { type Limits, makeLimits } from './limits.ts'
import { type GatewayMetrics, makeGatewayMetrics } from './metrics.ts'
import { makePlatformAuthenticator, type PlatformAuthenticator, platformHook } from './platform-authenticate.ts'
import { makeResolver, PLATFORM_AUTH, type Resolver, resolveHook } from './resolve.ts'
import { makeThirdParties } from './third-party.ts'
import type { EventSource } from './types.ts'
import type { Addressing } from './urls.ts'

export interface GatewayOptions {
  readonly db: Kysely<Tables>
  readonly vault: Vault
  readonly events: EventSource
  readonly realm: PlatformRealm
  readonly denied: Denied
  readonly metrics: Metrics
  readonly addressing: Addressing
  /** api.allow_keyless in force. */
  readonly allowKeyless: boolean
  /** api.cors.allowed_origins */
  readonly allowedOrigins: readonly string[]
  /** limits.rates.project_requests */
  readonly projectRequests: number
  /** limits.rates.wakes */
  readonly wakes: number
  /** See realms/local-token.ts; null: none. */
  readonly localToken: string | null
  /** The outbound rule: to keys of issuers that a project trusts. */
  readonly fetch: Outbound['fetch']
  readonly now?: () => number
}

/** The path that every request takes: resolve → authenticate → limits → authorise. */
export interface Gateway {
  readonly addressing: Addressing
  readonly projects: Resolver
  readonly authenticator: ProjectAuthenticator
  readonly members: PlatformAuthenticator
  readonly authoriser: Authoriser
  readonly limits: Limits
  readonly metrics: GatewayMetrics
  readonly denied: Denied
  /** Adds the hooks; before any route is registered. Fastify itself needs `rewriteUrl: makeRewrite(addressing)`. */
  install(app: FastifyInstance): void
}

type Hook = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void

const ofProject = (request: FastifyRequest): boolean => request.routeOptions.config.project === true

/** One hook for a route's realm: an API of a project, or else the platform. Nothing lies between, so nothing is unguarded. */
const byRealm =
  (project: Hook, platform: Hook): Hook =>
  (request, reply, done) =>
    request.is404 ? done() : ofProject(request) ? project(request, reply, done) : platform(request, reply, done)

/** With a base domain, the platform answers on its own host alone (and to this machine itself), its pages and forms too; /health anywhere. */
function hostHook({ baseDomain, publicUrl }: Addressing): Hook | null {
  if (baseDomain === null) return null
  return (request, _reply, done) => {
    const { action, quiet } = request.routeOptions.config
    if (request.is404 || ofProject(request) || (action === 'public' && quiet === true)) return done()
    const host = request.headers.host?.toLowerCase()
    const local =
      /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?$/.test(host ?? '') &&
      /^(?:::ffff:)?127\.|^::1$/.test(request.socket.remoteAddress ?? '')
    done(local || host === new URL(publicUrl()).host ? undefined : fail('not_found'))
  }
}

export function makeGateway(options: GatewayOptions): Gateway {
  const { db, vault, events, realm, denied, addressing, localToken, allowKeyless, now = Date.now } = options
  const projects = makeResolver({ db, vault, denied, addressing, allowKeyless, now }, events)
  const authenticator = makeProjectAuthenticator(makeThirdParties(options.fetch, now), now)
  const members = makePlatformAuthenticator({ db, realm, denied, events, localToken, now })
  const authoriser = makeAuthoriser(db)
  const metrics = makeGatewayMetrics(options.metrics)
  const limits = makeLimits({ projectRequests: options.projectRequests, wakes: options.wakes, now, refused: metrics.refused })
  events.on(['session.ended'], ({ subject, project_ref, after }) => {
    const { expires_at } = JSON.parse(after ?? '{}') as { expires_at?: number }
    if (subject !== null && expires_at !== undefined) denied.heard(project_ref ?? PLATFORM, subject, expires_at)
  })

  return {
    addressing,
    projects,
    authenticator,
    members,
    authoriser,
    limits,
    metrics,
    denied,
    install(app) {
      app.decorateRequest('project', null)
      app.decorateRequest('principal', null)
      app.decorateRequest('resource', null)
      app.addHook('onRoute', demandAction)
      app.addHook('onRequest', commonHeaders)
      app.addHook('onRequest', corsHook(options.allowedOrigins))
      app.addHook('onRequest', resolveHook(projects))
      const onHost = hostHook(addressing)
      if (onHost) app.addHook('onRequest', onHost)
      app.addHook('onRequest', byRealm(authenticateHook(authenticator), platformHook(members)))
      if (limits.hook)
        app.addHook(
          'onRequest',
          byRealm(limits.hook, (_request, _reply, done) => done()),
        )
      app.addHook('preHandler', byRealm(authoriseProjectHook(authoriser), authoriseHook(authoriser)))
      app.addHook('onResponse', metrics.hook)
    },
  }
}

/** An API of projects: routes registered once as `/rest/v1/…`, reached by path and by host. */
interface ProjectApi {
  /** Its routes, without the prefix. */
  readonly routes: FastifyPluginAsync
  /** Bytes of a body. */
  readonly bodyLimit: number
  /** Sends an error in its dialect: its own, and the gateway's (401, 404, 413, 429) alike. Headers of the error are set already. */
  readonly render: (error: SovraError, request: FastifyRequest, reply: FastifyReply) => unknown
}

export const mountProjectApi = (app: FastifyInstance, prefix: string, api: ProjectApi): void => mount(app, prefix, api, { project: true })

/**
 * An API of projects that the platform has too, for its members. Whoever calls it is asked for by the API itself: members' tokens are not
 * those of a project.
 */
export const mountPlatformApi = (app: FastifyInstance, api: ProjectApi): void => mount(app, PLATFORM_AUTH, api, { action: 'public' })

function mount(app: FastifyInstance, prefix: string, api: ProjectApi, config: FastifyContextConfig): void {
  const scoped: FastifyPluginAsync = async (scope) => {
    scope.addHook('onRoute', (route) => {
      route.config = { ...route.config, ...config }
      route.bodyLimit ??= api.bodyLimit
    })
    scope.setErrorHandler((thrown, request, reply) => {
      const error = toSovraError(thrown, request)
      logError(error, request)
      if (error.headers) reply.headers(error.headers)
      return api.render(error, request, reply)
    })
    scope.setNotFoundHandler((request, reply) => {
      const error = app.missing(request)
      if (error.headers) reply.headers(error.headers)
      return api.render(error, request, reply)
    })
    await scope.register(api.routes)
  }
  app.register(scoped, { prefix })
}
