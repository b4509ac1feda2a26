import { ACTIONS, type Action, isAction } from '@sovrabase/contract/actions'
import type { AuthSettings } from '@sovrabase/contract/auth'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, RouteOptions } from 'fastify'
import type { Kysely } from 'kysely'
import { fail } from '../base/errors.ts'
import { isUuid } from '../base/ids.ts'
import type { Tables } from '../metadata/tables.ts'
import { projectOf } from './resolve.ts'
import { administersUsers, decide, refusalOf } from './roles.ts'
import type { Principal, ProjectContext, ProjectPrincipal, Resource, ResourceName, RouteResource } from './types.ts'

/** onRoute: a route that does not say what it does, and on what, stops the boot. */
export function demandAction(route: RouteOptions): void {
  const { action, resource } = route.config ?? {}
  const refuse = (what: string): Error => fail('route_undeclared', { method: String(route.method), url: route.url, what })
  if (action === undefined) throw refuse('which action it is')
  if (action === 'public') return
  if (!isAction(action)) throw refuse('an action of the table')
  if (resource === undefined) throw refuse('what its action is done on')
  if (typeof resource === 'string' && resource !== ACTIONS[action].on) throw refuse(`a resource that fits ${action}`)
}

export interface Authoriser {
  /** Throws `forbidden` (or what names better who may), or `not_found` where the caller may not know of it. For a second thing that a request touches. */
  demand(principal: Principal, action: Action, resource: Resource): void
  /** The thing of that name; null: there is none. Deleted projects are found: they can be restored. */
  locate(name: ResourceName): Promise<Resource | null>
  /** locate and demand in one: `not_found` either way where there is none. */
  demandOn(principal: Principal, action: Action, name: ResourceName): Promise<Resource>
}

const PLATFORM: Resource = { kind: 'platform' }
const SELF: Resource = { kind: 'self' }

export function makeAuthoriser(db: Kysely<Tables>): Authoriser {
  async function locate(name: ResourceName): Promise<Resource | null> {
    if (name.kind === 'platform') return PLATFORM
    if (name.kind === 'self') return SELF
    if (name.kind === 'organisation') {
      const row = await db
        .selectFrom('organisations')
        .select('id')
        .where(isUuid(name.organisation) ? 'id' : 'name', '=', name.organisation)
        .where('deleted_at', 'is', null)
        .executeTakeFirst()
      return row ? { kind: 'organisation', organisation: row.id } : null
    }
    const row = await db
      .selectFrom('projects')
      .select('organisation_id')
      .where('ref', '=', name.project)
      .where('state', '!=', 'purged')
      .executeTakeFirst()
    return row ? { kind: 'project', organisation: row.organisation_id, project: name.project } : null
  }

  function demand(principal: Principal, action: Action, resource: Resource): void {
    const decision = decide(principal, action, resource)
    if (decision === 'hide') throw fail('not_found')
    if (decision === 'deny') throw fail(refusalOf(principal, action, resource), { action })
  }

  return {
    demand,
    locate,
    async demandOn(principal, action, name) {
      const resource = await locate(name)
      if (!resource) throw fail('not_found')
      demand(principal, action, resource)
      return resource
    },
  }
}

function nameOf(request: FastifyRequest, resource: RouteResource): ResourceName {
  if (typeof resource === 'function') return resource(request)
  const params = request.params as Readonly<Record<string, string | undefined>>
  if (resource === 'organisation') return { kind: 'organisation', organisation: params.organisation ?? '' }
  if (resource === 'project') return { kind: 'project', project: params.ref ?? '' }
  return { kind: resource }
}

/** preHandler of the platform's routes: finds the thing, decides, keeps it as `request.resource`. */
export function authoriseHook(authoriser: Authoriser) {
  return (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction) => {
    const { action, resource } = request.routeOptions.config
    if (request.is404 || action === 'public') return done()
    const { principal } = request
    if (principal === null || action === undefined || resource === undefined) return done(fail('unauthenticated'))
    authoriser.demandOn(principal, action, nameOf(request, resource)).then((found) => {
      request.resource = found
      done()
    }, done)
  }
}

/** Where a project demands a second factor, a user shows it at /auth/v1 before anything else is theirs. Throws `mfa_required`. */
function demandFactor({ settings }: ProjectContext, principal: Principal, action: Action): void {
  const { mfa_enforced: rule = 'off' } = (settings.auth ?? {}) as AuthSettings
  if (rule === 'off' || action === 'auth:use' || principal.realm === 'platform') return
  const { kind, claims, trust } = principal as ProjectPrincipal
  if (kind !== 'user' || trust === 'third' || claims.aal === 'aal2' || administersUsers(principal as ProjectPrincipal)) return
  if (rule === 'all' || claims.mfa_due === true) throw fail('mfa_required')
}

/** preHandler of projects' APIs: no I/O, the thing is the project itself. */
export function authoriseProjectHook(authoriser: Authoriser) {
  return (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction) => {
    const { action } = request.routeOptions.config
    if (request.is404 || action === 'public') return done()
    const { principal } = request
    if (principal === null || action === undefined) return done(fail('unauthenticated'))
    const project = projectOf(request)
    const { ref, organisation } = project
    const resource: Resource = { kind: 'project', organisation, project: ref }
    try {
      demandFactor(project, principal, action)
      authoriser.demand(principal, action, resource)
    } catch (error) {
      return done(error as Error)
    }
    request.resource = resource
    done()
  }
}
