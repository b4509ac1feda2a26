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
}
