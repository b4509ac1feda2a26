import type { TSchema } from 'typebox'
import type { Tar } from '../base/archive/tar-apart.ts'
import type { Endpoint, RefitProgram, Workload } from './driver.ts'
import type { History } from './history.ts'
import type { Service } from './services.ts'

/** *What* runs. One folder below engines/; added by `node.engine()`. Says how as pure data: a Workload. */
export interface Engine<Spec = unknown> {
  /** "postgres" */
  readonly name: string
  /** Of the programs that the driver starts from now on, as `Attachment.engineVersion` says it of what runs. */
  readonly version?: string
  /** Of its newest system schema, as `Attachment.systemVersion` says it of what runs. */
  readonly systemVersion?: number
  /** What the manifest may say of it: validation, docs, dashboard form. */
  readonly spec: TSchema
  /** Why a spec that fits the schema could not run, or would be nothing of what it says; undefined: it can. */
  refuses?(spec: Spec): string | undefined
  /** Pure: binary or image, arguments, files, volume, probe, limits. */
  workload(service: Service<Spec>): Workload
  /** Resolves once the engine at the endpoint answers; rejects with SovraError `engine_not_ready` past its limit. */
  ready(at: Endpoint, service: Service<Spec>): Promise<void>
  /** Roles, schemas, users, system migrations; idempotent, called on every wake. */
  prepare(at: Endpoint, service: Service<Spec>): Promise<void>
  /** First start of a copy: its roles get this service's own secrets; idempotent, before `prepare`. */
  adopt?(at: Endpoint, service: Service<Spec>, copied: Copied): Promise<void>
  /** The data of a running service as a tar of its volume, while it goes on serving. Without it a service stops while it is copied. */
  base?(at: Endpoint, service: Service<Spec>): Tar
  /** To a newer major than the one that wrote a volume. */
  readonly upgrade?: EngineUpgrade<Spec>
  /** For archives that reach back to any moment. */
  readonly history?: History
  /** Names of the secrets that a service of this engine needs, made once at its creation (random, encrypted in metadata). */
  readonly secrets: readonly string[]
  /** What the runtime holds open while the service is awake (pools, catalogue); closed before it sleeps, or at its crash. */
  attach?(at: Endpoint, service: Service<Spec>): Promise<Attachment>
  /** The service and its data are gone: what the engine keeps of it beside them goes too. Idempotent. */
  forget?(id: string): Promise<void>
}

/** How a stopped volume of a former major is made one of this engine's, in a volume of its own (`Driver.refit`). */
export interface EngineUpgrade<Spec = unknown> {
  /** Of what wrote that version ("17.11"): `able`, `current` (there is nothing newer) or `tools` (its programs are not here). */
  can(version: string): 'able' | 'current' | 'tools'
  /** Files at the top of the volume that is worked on. */
  readonly files: Readonly<Record<string, string>>
  /** In their order; afterwards the data is in the directory `new`. */
  steps(version: string): readonly UpgradeStep[]
  /** At its first start, which nobody else knows of: what is left to do, and whether it is whole. Idempotent. */
  finish(at: Endpoint, service: Service<Spec>): Promise<void>
}

export interface UpgradeStep {
  readonly name: string
  readonly program: RefitProgram
  /** Not needed where this program prints that. */
  readonly unless?: { readonly program: RefitProgram; readonly says: RegExp }
}

/** What the first start of a volume that was copied from another service must do beside `prepare`. */
export interface Copied {
  /** Secrets of the service that it was copied from: the copy still has them. */
  readonly secrets: Readonly<Record<string, string>>
  /** False: empty all of people's tables, keep the structure. */
  readonly data: boolean
}

/** An engine's live connections to one run of a service. */
export interface Attachment {
  /**
   * ms since the epoch of the last statement on connections that the server did not open itself (sessions of the wire protocol);
   * now for one that still runs; 0 when there is none. Asked before a service is put to sleep.
   */
  lastActivity?(): Promise<number>
  /**
   * What must be held against people while it is awake: statements that run over their limit, a full quota. Called every few seconds. `quiet`: only
   * for its disk, nobody was there since the last time.
   */
  enforce?(seen: { readonly disk: number | undefined; readonly quiet?: boolean }): Promise<void>
  /** A connection of the wire protocol has ended: what it did that tells nobody may be looked at. */
  left?(): void
  /** Writes the text of each statement of people to the log of the service, or no more; lasts this run at most. */
  logStatements?(on: boolean): Promise<void>
  /** Versions seen at `prepare`. */
  readonly engineVersion?: string
  readonly systemVersion?: number
  /** Set when the service runs, but something of it could not be brought forward: it is then marked degraded. */
  readonly degraded?: { readonly code: string; readonly message: string }
  close(): Promise<void>
}
