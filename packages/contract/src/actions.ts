/**
 * The one table of what can be done and what can have happened. Actions are `<thing>:<verb>`, events `<thing>.<past participle>`.
 * Every route names an action of this table; which role may do which is in the server's gateway/roles.ts.
 */

/** What an action is done on. `self`: the caller's own things, or a list that is filtered to what the caller may know. */
export type ResourceKind = 'platform' | 'self' | 'organisation' | 'project'

interface ActionEntry {
  readonly on: ResourceKind
  readonly says: string
}

/** Actions on the control API. */
const CONTROL = {
  'organisation:create': { on: 'platform', says: 'Create an organisation' },
  'organisation:list': { on: 'self', says: 'List the organisations that the caller belongs to' },
  'organisation:read': { on: 'organisation', says: 'Read an organisation' },
  'organisation:update': { on: 'organisation', says: 'Rename an organisation' },
  'organisation:delete': { on: 'organisation', says: 'Delete an organisation' },
  'quota:read': { on: 'organisation', says: 'Read limits and use' },
  'quota:update': { on: 'platform', says: 'Change the limits of an organisation' },

  'member:list': { on: 'organisation', says: 'List members and their roles' },
  'member:read': { on: 'organisation', says: 'Read a member' },
  'member:update': { on: 'organisation', says: 'Change the role of a member' },
  'member:remove': { on: 'organisation', says: 'Remove a member' },
  'member:leave': { on: 'self', says: 'Leave an organisation' },
  'invitation:create': { on: 'organisation', says: 'Invite a person by link' },
  'invitation:list': { on: 'organisation', says: 'List open invitations' },
  'invitation:revoke': { on: 'organisation', says: 'Revoke an invitation' },
  'invitation:accept': { on: 'self', says: 'Accept an invitation' },

  'project:create': { on: 'organisation', says: 'Create a project' },
  'project:list': { on: 'self', says: 'List the projects that the caller may know' },
  'project:read': { on: 'project', says: 'Read a project, its services and their status' },
  'project:update': { on: 'project', says: 'Rename or label a project' },
  'project:sleep': { on: 'project', says: 'Put a project to sleep' },
  'project:wake': { on: 'project', says: 'Wake a project' },
  'project:upgrade': { on: 'project', says: 'Move a project to a newer major of its database, confirm it or go back' },
  'project:copy': { on: 'project', says: 'Make another project from this one' },
  'project:move': { on: 'project', says: 'Move a project out of its organisation' },
  'project:receive': { on: 'organisation', says: 'Move a project into this organisation' },
  'project:delete': { on: 'project', says: 'Delete a project (recoverable for a while)' },
  'project:restore': { on: 'project', says: 'Restore a deleted project' },
  'project:purge': { on: 'project', says: 'Remove a deleted project at once, physically' },

  'service:list': { on: 'project', says: 'List services with spec and status' },
  'service:read': { on: 'project', says: 'Read a service' },
  'service:create': { on: 'project', says: 'Add a service' },
  'service:update': { on: 'project', says: 'Change the spec of a service' },
  'service:delete': { on: 'project', says: 'Remove a service' },

  'key:list': { on: 'project', says: 'List API keys, without their text' },
  'key:reveal': { on: 'project', says: 'Show the text of API keys and of the signing secret' },
  'key:create': { on: 'project', says: 'Make an API key' },
  'key:revoke': { on: 'project', says: 'Revoke an API key' },
  'key:rotate': { on: 'project', says: 'Rotate the signing secret or keys of a project' },
  'connection:reveal': { on: 'project', says: 'Show the connection string of a database' },
  'connection:rotate': { on: 'project', says: 'Change the password of a database' },
  'database:read': { on: 'project', says: 'Read the schema of a database: tables, types, migrations' },
  'database:execute': { on: 'project', says: 'Run SQL as the owner of the database' },
  'user_token:create': { on: 'project', says: 'Sign a user token for trying policies' },

  'setting:read': { on: 'project', says: 'Read settings' },
  'setting:update': { on: 'project', says: 'Change settings' },
  'auth_outbox:read': { on: 'project', says: 'Read mails to users that wait to be sent, with their links' },
  'auth_user:import': { on: 'project', says: 'Bring in users of another system' },
  'auth_user:export': { on: 'project', says: 'Take out users with the hashes of their passwords' },
  'auth_mail:test': { on: 'project', says: 'Send a test mail through the mail server of a project' },
  'platform_setting:read': { on: 'platform', says: 'Read settings of the platform' },
  'platform_setting:update': { on: 'platform', says: 'Change settings of the platform' },
  'platform:read': { on: 'platform', says: 'Read the state of the installation' },
  'log:read': { on: 'platform', says: 'Read the log of the server' },
  'project_log:read': { on: 'project', says: 'Read the log of a project and of its services' },
  'statement_log:update': { on: 'project', says: 'Log the statements of a database for a while' },
  'node:list': { on: 'platform', says: 'List server processes' },
  'region:list': { on: 'self', says: 'List regions' },
  'admin_link:create': { on: 'platform', says: 'Make a one-time link that signs an administrator in' },

  'event:list': { on: 'organisation', says: 'Read the audit log of an organisation' },
  'project_event:list': { on: 'project', says: 'Read the audit log of a project' },
  'job:read': { on: 'project', says: 'Read what must still happen' },

  'backup:create': { on: 'platform', says: 'Back up the installation, or some of its projects' },
  'backup:restore': { on: 'platform', says: 'Restore a project from a backup' },
  'backup_store:read': { on: 'platform', says: 'Read which S3 credentials backups use, without the secret' },
  'backup_store:update': { on: 'platform', says: 'Set the S3 credentials of backups' },
  'archive:read': { on: 'project', says: 'Read to which moments a project can be brought' },
  'root_key:export': { on: 'platform', says: 'Export the root key for the safe' },
  'root_key:read': { on: 'platform', says: 'Read which root key is in force' },
  'root_key:rotate': { on: 'platform', says: 'Make a new root key, or forget the former ones' },
  'project_backup:create': { on: 'project', says: 'Back up a project with its keys' },

  'token:create': { on: 'self', says: 'Make a personal access token' },
  'token:list': { on: 'self', says: 'List own personal access tokens' },
  'token:revoke': { on: 'self', says: 'Revoke an own personal access token' },
  'session:read': { on: 'self', says: 'Read who is signed in' },
  'session:list': { on: 'self', says: 'List own sessions' },
  'session:end': { on: 'self', says: 'Sign out' },
  'self:update': { on: 'self', says: 'Change own password or profile' },
} as const satisfies Record<string, ActionEntry>

/** Actions on the APIs of a project: decided for principals of its own realm; rows are guarded by PostgreSQL's RLS below. */
const DATA = {
  'rest:read': { on: 'project', says: 'Read rows' },
  'rest:write': { on: 'project', says: 'Write rows' },
  'rest:call': { on: 'project', says: 'Call a function of the database' },
  'rest:describe': { on: 'project', says: 'Read the root document' },
  'auth:use': { on: 'project', says: 'Sign in and manage the own account' },
  'auth:administer': { on: 'project', says: 'Administer users (service_role)' },
  'storage:use': { on: 'project', says: 'Use buckets and objects' },
  'realtime:use': { on: 'project', says: 'Join channels' },
  'function:call': { on: 'project', says: 'Call a function' },
} as const satisfies Record<string, ActionEntry>

export const ACTIONS = { ...CONTROL, ...DATA } as const

/** `public`: the route answers without asking who calls. */
export type Action = keyof typeof ACTIONS
export type ControlAction = keyof typeof CONTROL
export type DataAction = keyof typeof DATA
export const CONTROL_ACTIONS = Object.keys(CONTROL) as ControlAction[]
export const DATA_ACTIONS = Object.keys(DATA) as DataAction[]
export const isAction = (text: string): text is Action => Object.hasOwn(ACTIONS, text)

/** What has happened: rows of the events table, audit log and bus alike. They hold ids, action and actor, never secrets or people's data. */
export const EVENTS = {
  'organisation.created': 'An organisation was made',
  'organisation.updated': 'An organisation was renamed',
  'organisation.deleted': 'An organisation was deleted',
  'quota.updated': 'The limits of an organisation changed',
  'member.added': 'A person became a member',
  'member.updated': 'The role of a member changed',
  'member.removed': 'A member was removed or left',
  'invitation.created': 'A person was invited',
  'invitation.revoked': 'An invitation was revoked',
  'invitation.accepted': 'An invitation was accepted',
  'project.created': 'A project was made',
  'project.updated': 'A project was renamed or labelled',
  'project.moved': 'A project changed its organisation',
  'project.deleted': 'A project was deleted (recoverable)',
  'project.restored': 'A deleted project was restored',
  'project.purged': 'A project is physically gone',
  'service.created': 'A service was added',
  'service.updated': 'The spec of a service changed',
  'service.deleted': 'A service was removed',
  'service.ready': 'A service is as its spec wants it, for the first time or again',
  'service.failed': 'A service could not be made as its spec wants it',
  'service.woken': 'A service was started',
  'service.slept': 'A service was stopped and keeps its data',
  'service.crashed': 'A service ended unasked',
  'service.degraded': 'A service works but could not be brought to its newest version',
  'upgrade.started': 'A service is being moved to a newer major of its engine',
  'upgrade.finished': 'A service runs a newer major of its engine; the former directory is kept',
  'upgrade.failed': 'A service could not be moved and goes on with what it had',
  'upgrade.confirmed': 'The directory of the former major was given up',
  'upgrade.reverted': 'A service went back to the former major and to its data of then',
  'key.created': 'An API key was made',
  'key.revoked': 'An API key was revoked',
  'key.rotated': 'A signing key was rotated',
  'key.changed': 'Keys of a realm changed: caches of it are void',
  'key.revealed': 'The text of keys was shown',
  'connection.revealed': 'A connection string was shown',
  'connection.rotated': 'The password of a database changed',
  'user_token.created': 'A user token was signed by an operator',
  'database.executed': 'SQL was run through the control API',
  'statement_log.started': 'The statements of a database are logged from now on, for a while',
  'statement_log.ended': 'The statements of a database are logged no more',
  'database.changed': 'The schema of a database was changed through the control API',
  'sso_provider.changed': 'An identity provider of members was added, changed or removed',
  'settings.changed': 'Settings changed: caches of them are void',
  'token.created': 'A personal access token was made',
  'token.revoked': 'A personal access token was revoked',
  'session.created': 'A member signed in',
  'session.ended': 'A session was ended; its access tokens are refused',
  'user.created': 'A user of the platform realm was made',
  'user.updated': 'A user of the platform realm changed',
  'admin_link.created': 'A one-time link for an administrator was made',
  'admin_link.used': 'A one-time link was used',
  'platform.set_up': 'The first administrator was made',
  'backup.created': 'A backup was made and read to its end',
  'root_key.exported': 'The root key was shown, for the safe',
  'root_key.rotated': 'A new root key seals what is stored',
  'root_key.forgotten': 'Former root keys are gone',
  'root_key.recovered': 'The installation got a new root key without the lost one: passwords and keys are new',
  'project.recovered': 'A project was restored from a backup',
  'node.started': 'A server process started',
  'node.stopped': 'A server process ended',
} as const

export type EventName = keyof typeof EVENTS
