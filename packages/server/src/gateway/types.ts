import type { Action } from '@sovrabase/contract/actions'
import type { ThirdParty } from '@sovrabase/contract/auth'
import type { FastifyRequest } from 'fastify'
import type { Bus } from '../base/events.ts'
import type { KnownApiKey } from '../realms/api-keys.ts'
import type { RealmKey } from '../realms/keys.ts'
import type { Claims, VerificationSet } from '../realms/tokens.ts'

/** A service as the gateway needs it: where, never in which state. */
interface ServiceSummary {
  readonly id: string
  readonly name: string
  readonly engine: string
  readonly region: string
  readonly node: string | null
}

/** All that a request needs of its project, read once and kept until an event drops it. Immutable. */
export interface ProjectContext {
  readonly ref: string
  /** Organisation id. */
  readonly organisation: string
  readonly name: string
  readonly region: string
  /** Canonical URL, without a slash at its end. */
  readonly url: string
  /** `iss` of tokens that we sign. */
  readonly issuer: string
  readonly services: readonly ServiceSummary[]
  readonly keys: readonly RealmKey[]
  readonly verification: VerificationSet
  /** Issuers besides the project that it trusts, by their `iss`. */
  readonly thirdParties: ReadonlyMap<string, ThirdParty>
  /** By SHA-256 (hex) of the key's text. */
  readonly apiKeys: ReadonlyMap<string, KnownApiKey>
  /** Stored settings by section, as they are: each API lays its defaults below. */
  readonly settings: Readonly<Record<string, unknown>>
  readonly allowKeyless: boolean
  /** Ended sessions whose tokens are still within their time: session id → ms. Living: the one thing here that changes. */
  readonly denied: ReadonlyMap<string, number>
  /** Names this reading of the project: what is cached with it dies with it. */
  readonly tag: string
  /** Who a keyless request is. */
  readonly anonymous: ProjectPrincipal
}

/** Who asks an API of a project. */
export interface ProjectPrincipal {
  /** The project's ref. */
  readonly realm: string
  /** user: a token; key: an API key alone; anon: neither. */
  readonly kind: 'user' | 'key' | 'anon'
  /** Role in the cluster. */
  readonly role: string
  readonly claims: Claims
  readonly claimsJson: string
  readonly sessionId: string | null
  /** third: the word of an issuer that the project trusts, whose people are not those of the project. */
  readonly trust?: 'third'
  /** ms; null: no end of its own. */
  readonly exp: number | null
}

export interface Membership {
  /** Organisation id. */
  readonly organisation: string
  /** Ref; null: the whole organisation. */
  readonly project: string | null
  readonly role: string
}

/** Who asks the control API. */
export interface PlatformPrincipal {
  readonly realm: 'platform'
  /** member: a session; token: a personal access token; local: the owner of this machine's installation. */
  readonly kind: 'member' | 'token' | 'local'
  /** User id; 'local' for local. */
  readonly id: string
  readonly email: string | null
  /** Administers the installation. */
  readonly admin: boolean
  readonly memberships: readonly Membership[]
  readonly sessionId: string | null
  /** Id of the access token. */
  readonly tokenId: string | null
}

export type Principal = ProjectPrincipal | PlatformPrincipal

export type Resource =
  | { readonly kind: 'platform' }
  | { readonly kind: 'self' }
  | { readonly kind: 'organisation'; readonly organisation: string }
  | { readonly kind: 'project'; readonly organisation: string; readonly project: string }

/** A thing as a request names it: an organisation by id or name, a project by ref. */
export type ResourceName =
  | { readonly kind: 'platform' }
  | { readonly kind: 'self' }
  | { readonly kind: 'organisation'; readonly organisation: string }
  | { readonly kind: 'project'; readonly project: string }

/**
 * What a route is about. 'organisation' reads `:organisation`, 'project' reads `:ref` (on an API of a project: that project);
 * a function names the thing where it stands in the body.
 */
export type RouteResource = Resource['kind'] | ((request: FastifyRequest) => ResourceName)

/** Where the gateway hears of changes. */
export type EventSource = Pick<Bus, 'on'>

declare module 'fastify' {
  interface FastifyContextConfig {
    /** From contract/actions.ts; 'public': the route answers without asking who calls. */
    action?: Action | 'public'
    resource?: RouteResource
    /** Set by mountProjectApi(): a route of a project's API. */
    project?: boolean
  }
  interface FastifyRequest {
    /** On an API of a project; see projectOf(). */
    project: ProjectContext | null
    /** null on public routes. */
    principal: Principal | null
    /** What the action is done on, once authorised. */
    resource: Resource | null
  }
}
