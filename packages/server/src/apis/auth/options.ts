import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Outbound } from '../../base/outbound.ts'
import type { ProjectContext, ProjectPrincipal } from '../../gateway/types.ts'
import type { Hasher } from '../../realms/hashing.ts'
import type { Cluster } from '../../runtime/engines/postgres/cluster.ts'

/** A share in an awake project, given back when the work is done. */
interface Share {
  readonly cluster: Cluster
  release(): void
}

export interface AuthOptions {
  readonly bodyLimit: number
  readonly version: string
  readonly hasher: Hasher
  readonly now: () => number
  project(request: FastifyRequest): ProjectContext
  /** null on doors that are public by nature. */
  principal(request: FastifyRequest): ProjectPrincipal | null
  /** The project of a request, woken if need be. */
  open(request: FastifyRequest): Share | Promise<Share>
  /** Refuses the access tokens of these sessions of a project on all nodes, until `until` (ms). */
  deny(ref: string, sessionIds: readonly string[], until: number): Promise<void>
  /** Whether the request's key administers users. */
  administers(request: FastifyRequest): boolean
  readonly fetch: Outbound['fetch']
  /** Mails wait in the project's outbox. */
  poke(ref: string): void
}

export type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown
