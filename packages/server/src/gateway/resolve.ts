import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { type LoadingCache, loadingCache } from '../base/cache.ts'
import { fail } from '../base/errors.ts'
import { isProjectRef } from '../base/ids.ts'
import { type ContextReading, readContext } from './context.ts'
import type { EventSource, ProjectContext } from './types.ts'
import type { Addressing } from './urls.ts'

const REF = Symbol('project ref')
const BY_PATH = Symbol('by path')
const AUTH = '/auth/v1'
/** Routes of the platform's own auth API lie beside those of projects, which have the same path. */
const PLATFORM_PREFIX = '/-platform'
export const PLATFORM_AUTH = PLATFORM_PREFIX + AUTH
const REF_CHARS = 20
const PATH_START = '/p/'
const PATH_CHARS = PATH_START.length + REF_CHARS
const SLASH = 47
const QUESTION = 63

/** `undefined`: the platform was asked. '': a place where a project would be, but is none. */
type WithRef = IncomingMessage & { [REF]?: string; [BY_PATH]?: true }

/** The ref that a request names, by host or by path; undefined: the platform. */
export const namedRef = (raw: IncomingMessage): string | undefined => (raw as WithRef)[REF]

/** Whether the answer is of an origin that projects share with each other and the platform: named by path, not by a host of its own. */
export const onSharedOrigin = (raw: IncomingMessage): boolean => (raw as WithRef)[BY_PATH] === true

function refOfHost(host: string, suffix: string): string | undefined {
  const colon = host.indexOf(':')
  const name = (colon < 0 ? host : host.slice(0, colon)).toLowerCase()
  if (!name.endsWith(suffix)) return undefined
  const label = name.slice(0, -suffix.length)
  return isProjectRef(label) ? label : ''
}

/**
 * For Fastify's `rewriteUrl`: remembers the project that the request names and strips `/p/<ref>`, so that each route is registered once.
 * Only the Host header counts, never X-Forwarded-Host: a proxy in front passes the host on.
 */
export function makeRewrite(at: Addressing): (raw: IncomingMessage) => string {
  const suffix = at.baseDomain === null ? null : `.${at.baseDomain}`
  return (raw) => {
    const url = raw.url ?? '/'
    if (suffix !== null) {
      const ref = refOfHost(raw.headers.host ?? '', suffix)
      // The platform's own host may lie below the base domain too, beside those of projects.
      const platform = ref === '' && raw.headers.host?.toLowerCase() === new URL(at.publicUrl()).host
      if (ref !== undefined && !platform) {
        ;(raw as WithRef)[REF] = ref
        return url
      }
    }
    if (!url.startsWith(PATH_START)) return url.startsWith(AUTH) ? PLATFORM_PREFIX + url : url
    ;(raw as WithRef)[BY_PATH] = true
    const end = url.charCodeAt(PATH_CHARS)
    const ref = url.slice(PATH_START.length, PATH_CHARS)
    const whole = Number.isNaN(end) || end === SLASH || end === QUESTION
    ;(raw as WithRef)[REF] = at.pathForm && whole && isProjectRef(ref) ? ref : ''
    const rest = whole ? url.slice(PATH_CHARS) : url
    return rest.charCodeAt(0) === SLASH ? rest : `/${rest}`
  }
}

/** What drops a project's context. */
const DROPPING = [
  'project.created',
  'project.updated',
  'project.moved',
  'project.deleted',
  'project.restored',
  'project.purged',
  'service.created',
  'service.updated',
  'service.deleted',
  'service.ready',
  'key.changed',
  'settings.changed',
] as const

const CONTEXTS = 20_000
const UNKNOWN_BELIEVED = 5_000

export interface Resolver {
  /** At once when known. undefined: unknown or deleted. Rejects with `metadata_unavailable` on a miss while metadata is away. */
  get(ref: string): ProjectContext | undefined | Promise<ProjectContext | undefined>
  drop(ref: string): void
  readonly size: number
}

/** Metadata is read on a miss only; known projects are served on while it is away. */
export function makeResolver(reading: ContextReading, events: EventSource): Resolver {
  const load = (ref: string) => readContext(reading, ref)
  const cache: LoadingCache<ProjectContext> = loadingCache({ max: CONTEXTS, missTtl: UNKNOWN_BELIEVED, load, now: reading.now })
  events.on(DROPPING, (event) => {
    if (event.project_ref !== null) cache.drop(event.project_ref)
    else if (event.name === 'settings.changed') cache.clear()
  })
  return {
    get: (ref) => cache.get(ref),
    drop: (ref) => cache.drop(ref),
    get size() {
      return cache.size
    },
  }
}

/** onRequest: the project of a request; routes of projects are 404 without one, routes of the platform with one. */
export function resolveHook(resolver: Resolver) {
  return (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction) => {
    const ref = namedRef(request.raw)
    if (request.is404) return done()
    const wanted = request.routeOptions.config.project === true
    if (!wanted) return ref === undefined ? done() : done(fail('not_found'))
    if (ref === undefined || ref === '') return done(fail('not_found'))
    const found = resolver.get(ref)
    if (found instanceof Promise) {
      found.then((context) => settle(request, context, done), done)
      return
    }
    settle(request, found, done)
  }
}

function settle(request: FastifyRequest, context: ProjectContext | undefined, done: HookHandlerDoneFunction) {
  if (!context) return done(fail('not_found'))
  request.project = context
  done()
}

/** The project of a request to one of its APIs. */
export function projectOf(request: FastifyRequest): ProjectContext {
  if (!request.project) throw fail('internal', {}, { cause: 'a route outside mountProjectApi() asked for its project' })
  return request.project
}
