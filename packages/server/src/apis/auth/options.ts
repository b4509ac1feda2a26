import type { AuthSettings } from '@sovrabase/contract/auth'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Outbound } from '../../base/outbound.ts'
import type { ProjectContext, ProjectPrincipal } from '../../gateway/types.ts'
import type { LeakedList } from '../../realms/auth/leaked-list.ts'
import type { Realm } from '../../realms/auth/realm.ts'
import type { Hasher } from '../../realms/hashing.ts'
import type { RealmKey } from '../../realms/keys.ts'
import type { Languages } from '../../realms/mail/languages.ts'
import type { RealmStore } from '../../realms/store/types.ts'

/** What the gateway knows of a realm without asking its people. */
export type RealmContext = Pick<ProjectContext, 'ref' | 'url' | 'issuer' | 'keys' | 'settings'> & {
  /** Where its API is, if not at its issuer. */
  readonly api?: string
}

/** The people of a realm, for one request. */
export interface People extends Pick<Realm, 'ofSso' | 'isInvited' | 'welcome'> {
  transact<R>(fn: (store: RealmStore) => Promise<R>): Promise<R>
  /** Refuses the access tokens of these sessions on all nodes, until `until` (ms). */
  deny(sessionIds: readonly string[], until: number): Promise<void>
  /** `aud` of tokens; null: the user's own. */
  readonly audience: string | null
  readonly hashRefreshToken?: (text: string) => string
}

/** Section `auth` as a realm has stored it. */
export interface StoredSettings {
  read(request: FastifyRequest): Promise<AuthSettings>
  write(request: FastifyRequest, change: (before: AuthSettings) => AuthSettings): Promise<void>
}

export interface AuthOptions {
  readonly bodyLimit: number
  readonly version: string
  readonly hasher: Hasher
  readonly now: () => number
  project(request: FastifyRequest): RealmContext
  /** null on doors that are public by nature. */
  principal(request: FastifyRequest): Pick<ProjectPrincipal, 'kind' | 'claims' | 'sessionId' | 'trust'> | null
  people(request: FastifyRequest): People
  /** Whether the request's key administers users. */
  administers(request: FastifyRequest): boolean
  /** The living ones of single sign-on; the first is made at its first use. */
  samlKeys(request: FastifyRequest): Promise<readonly RealmKey[]>
  readonly fetch: Outbound['fetch']
  readonly languages: Languages
  readonly leaked?: LeakedList | undefined
  /** Where administrators of a realm may change its settings by its own API. */
  readonly settings?: StoredSettings
  /** Mails wait in the project's outbox. */
  poke(ref: string): void
}

export type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown
