import type { TSchema } from 'typebox'
import type { Endpoint, Workload } from './driver.ts'
import type { Service } from './services.ts'

/** *What* runs. One folder below engines/; added by `node.engine()`. Says how as pure data: a Workload. */
export interface Engine<Spec = unknown> {
  /** "postgres" */
  readonly name: string
  /** What the manifest may say of it: validation, docs, dashboard form. */
  readonly spec: TSchema
  /** Pure: binary or image, arguments, files, volume, probe, limits. */
  workload(service: Service<Spec>): Workload
  /** Resolves once the engine at the endpoint answers; rejects with SovraError `engine_not_ready` past its limit. */
  ready(at: Endpoint, service: Service<Spec>): Promise<void>
  /** Roles, schemas, users, system migrations; idempotent, called on every wake. */
  prepare(at: Endpoint, service: Service<Spec>): Promise<void>
  /** Names of the secrets that a service of this engine needs, made once at its creation (random, encrypted in metadata). */
  readonly secrets: readonly string[]
  /** What the runtime holds open while the service is awake (pools, catalogue); closed before it sleeps, or at its crash. */
  attach?(at: Endpoint, service: Service<Spec>): Promise<Attachment>
}

/** An engine's live connections to one run of a service. */
export interface Attachment {
  /** ms since the epoch of the last statement seen on connections that do not pass through the server's own holds; 0: none known. */
  lastActivity?(): number
  close(): Promise<void>
}
