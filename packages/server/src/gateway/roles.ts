import { ACTIONS, type Action, type ControlAction, DATA_ACTIONS } from '@sovrabase/contract/actions'
import type { ErrorCode } from '@sovrabase/contract/errors'
import type { PlatformPrincipal, Principal, ProjectPrincipal, Resource } from './types.ts'

/** The built-in roles of members, bound to an organisation or to one project. */
export const ROLES = ['owner', 'admin', 'developer', 'viewer', 'billing'] as const
export type Role = (typeof ROLES)[number]
const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text)

/** What everyone with any role may know. */
const KNOWS: readonly ControlAction[] = ['organisation:read', 'project:read']

const VIEWS: readonly ControlAction[] = [
  ...KNOWS,
  'quota:read',
  'member:list',
  'member:read',
  'service:list',
  'service:read',
  'setting:read',
  'archive:read',
  'database:read',
  'project_event:list',
  'job:read',
]

const DEVELOPS: readonly ControlAction[] = [
  ...VIEWS,
  'project:create',
  'project:update',
  'project:sleep',
  'project:wake',
  'project:copy',
  'service:create',
  'service:update',
  'key:list',
  'key:reveal',
  'connection:reveal',
  'database:execute',
  'setting:update',
  'auth_outbox:read',
  'auth_mail:test',
  'project_log:read',
]

const ADMINISTERS: readonly ControlAction[] = [
  ...DEVELOPS,
  'organisation:update',
  'member:update',
  'member:remove',
  'invitation:create',
  'invitation:list',
  'invitation:revoke',
  'project:delete',
  'project:upgrade',
  'project:restore',
  'project:move',
  'project:receive',
  'project_backup:create',
  'service:delete',
  'key:create',
  'key:revoke',
  'key:rotate',
  'connection:rotate',
  'statement_log:update',
  'user_token:create',
  'auth_user:import',
  'auth_user:export',
  'event:list',
]

/** Which role may do which action. Viewer and billing never receive keys or connection strings. */
const MAY: Readonly<Record<Role, ReadonlySet<string>>> = {
  owner: new Set([...ADMINISTERS, 'organisation:delete', 'project:purge']),
  admin: new Set(ADMINISTERS),
  developer: new Set(DEVELOPS),
  viewer: new Set(VIEWS),
  billing: new Set([...KNOWS, 'quota:read']),
}

export const roleMay = (role: string, action: Action): boolean => isRole(role) && MAY[role].has(action)

/** hide: the caller may not even know that the thing exists, so the answer is the very same 404. */
type Decision = 'allow' | 'deny' | 'hide'

/** Of the organisation's own: a role that is bound to one project may do neither, however high it is. */
const OF_THE_WHOLE: ReadonlySet<string> = new Set<ControlAction>(['project:move', 'project:purge'])

/** A token that was given away for some purpose and time makes no other, which would outlive it. */
const NOT_BY_TOKEN: ReadonlySet<string> = new Set<ControlAction>(['token:create'])

/** Signs in as somebody else: for who owns the machine, who could do so anyhow. */
const LOCAL_ONLY: ReadonlySet<string> = new Set<ControlAction>(['admin_link:create', 'root_key:export', 'root_key:rotate'])

const ADMINISTERS_USERS = new Set(['service_role', 'supabase_admin'])
/** A third party says whose data somebody sees, never who the project's own users are. */
export const administersUsers = (principal: ProjectPrincipal | null): boolean =>
  principal !== null && principal.trust !== 'third' && ADMINISTERS_USERS.has(principal.role)
const DATA: ReadonlySet<string> = new Set(DATA_ACTIONS)

function decideUser(principal: ProjectPrincipal, action: Action, resource: Resource): Decision {
  if (resource.kind !== 'project' || resource.project !== principal.realm || !DATA.has(action)) return 'hide'
  if (action === 'auth:administer') return administersUsers(principal) ? 'allow' : 'deny'
  return 'allow'
}

function decideMember(principal: PlatformPrincipal, action: Action, resource: Resource): Decision {
  if (DATA.has(action)) return 'hide'
  if (principal.kind === 'local') return 'allow'
  if (LOCAL_ONLY.has(action) || (principal.kind === 'token' && NOT_BY_TOKEN.has(action))) return 'deny'
  if (resource.kind === 'self') return ACTIONS[action].on === 'self' ? 'allow' : 'deny'
  if (resource.kind === 'platform') return principal.admin ? 'allow' : 'deny'
  let known = false
  for (const { organisation, project, role } of principal.memberships) {
    if (organisation !== resource.organisation) continue
    if (project === null || (resource.kind === 'project' && project === resource.project)) {
      if (roleMay(role, action) && (project === null || !OF_THE_WHOLE.has(action))) return 'allow'
      known = true
    } else if (resource.kind === 'organisation') {
      // Bound to one project of it: may know its name, and nothing else of it.
      if (action === 'organisation:read') return 'allow'
      known = true
    }
  }
  return known ? 'deny' : 'hide'
}

/** How a denial is told: its hint says who may. */
export function refusalOf(principal: Principal, action: Action, resource: Resource): ErrorCode {
  if (principal.realm !== 'platform') return 'forbidden'
  if (LOCAL_ONLY.has(action)) return 'machine_only'
  if (NOT_BY_TOKEN.has(action) && (principal as PlatformPrincipal).kind === 'token') return 'session_needed'
  return resource.kind === 'platform' ? 'administrators_only' : 'forbidden'
}

/** The one decision. Later the policy engine stands in its place; the routes stay. */
export const decide = (principal: Principal, action: Action, resource: Resource): Decision =>
  principal.realm === 'platform'
    ? decideMember(principal as PlatformPrincipal, action, resource)
    : decideUser(principal as ProjectPrincipal, action, resource)
