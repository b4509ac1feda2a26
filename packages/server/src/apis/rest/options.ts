import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { SovraError } from '../../base/errors.ts'
import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import type { Plan } from './plan/types.ts'
import type { Database } from './run.ts'

/** Who asks: what the gateway's principal has. */
export interface RestPrincipal {
  readonly role: string
  /** 'anon': no credentials. */
  readonly kind: string
  readonly claimsJson: string
}

/** A share in an awake project, given back when the answer is made. */
export interface RestHold {
  readonly database: Database
  release(): void
}

export interface RestOptions {
  /** The project of a request, woken if need be; at once where it is awake. */
  open(request: FastifyRequest): RestHold | Promise<RestHold>
  principal(request: FastifyRequest): RestPrincipal
  /** The project's stored `rest` settings; the same object while they do not change. */
  settings(request: FastifyRequest): object | undefined
  /** The catalogue of the request's project, where that is awake: for what is refused on its way here. */
  known(request: FastifyRequest): Catalogue | undefined
  /** URL of the API as its clients write it: for the root document. */
  url(request: FastifyRequest): URL
  /** Whether the answer goes to an origin that is not the project's own. */
  shared(request: FastifyRequest): boolean
  /** Bytes of a body. */
  readonly bodyLimit: number
}

/** The REST dialect as an API of projects: mount it under `/rest/v1`. */
export interface RestApi {
  readonly routes: FastifyPluginAsync
  readonly bodyLimit: number
  readonly render: (error: SovraError, request: FastifyRequest, reply: FastifyReply) => unknown
}

/** What is known of a request that failed, for its hint. */
export interface Trace {
  plan: Plan | null
  catalogue: Catalogue | null
  schema: string
  /** Who asks by what the database says, once it is known. */
  caller?: RestPrincipal
  /** Of a batch: its request; null for the batch as a whole. */
  readonly index?: number | null
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a request to the data API. A property: an entry of a WeakMap for each request is dear to the collector. */
    trace: Trace | null
  }
}
