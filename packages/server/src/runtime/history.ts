import type { Readable } from 'node:stream'
import type { Endpoint, Workload } from './driver.ts'
import type { Service } from './services.ts'

/** A place in an engine's log of changes: it only grows. */
export type Position = bigint

export interface FollowOptions {
  /** True: what was followed before is of no use: begin anew, from here. */
  readonly fresh: boolean
  /** The log's bytes in their order, from `at` on. Answers false where no more shall come until `resume`. */
  write(at: Position, bytes: Buffer): boolean
  /** The engine waits for the word that all it sent is safe: it is about to end, or wants to know that somebody listens. */
  asked(): void
}

/** A running engine's log on its way to us. The engine keeps what is not confirmed, also while it sleeps. */
export interface Following {
  /** A branch of the log: after a restore it is another one. */
  readonly timeline: number
  /** Where it began. */
  readonly from: Position
  /** All before it is safe. */
  confirm(position: Position): void
  resume(): void
  /** Resolves when the engine sent its last byte and knows that it is safe; rejects where the connection broke. */
  readonly ended: Promise<void>
  close(): void
}

export interface HistoryBase {
  readonly tar: Readable
  /** Once the tar is read to its end. */
  readonly made: Promise<BaseMade>
}

export interface BaseMade {
  readonly timeline: number
  /** The log from here on makes it whole. */
  readonly start: Position
  /** From here on it is consistent. */
  readonly stop: Position
  /** Bytes of a file of the log. */
  readonly segment: number
  /** What a later one needs to hold only what changed since; null where none was asked for. */
  readonly manifest: Buffer | null
}

/** How far a recovery came: at its target; at the end of the log that it was given. */
export type Recovered = 'target' | 'end'

/** What an archive needs of an engine: its log, copies that the log can be applied to, and how that is done. */
export interface History {
  /** `history_lost`: what was not confirmed is gone; follow afresh and take a base. */
  follow(at: Endpoint, service: Service, options: FollowOptions): Promise<Following>
  /** All that is committed by now lies before it. */
  position(at: Endpoint, service: Service): Promise<Position>
  /** Nobody follows any more: nothing is kept for it. */
  forget(at: Endpoint, service: Service): Promise<void>
  /** A copy of the running data. `manifest`: whether later ones may build on it. `parent`: its manifest, for what changed since only. */
  base(at: Endpoint, service: Service, options: { manifest: boolean; parent: Buffer | null }): Promise<HistoryBase>
  /** Path below the volume of the log's file that holds this position. */
  file(timeline: number, position: Position, segment: number): string
  /** A start that applies the log in the volume, up to this time (ms) or to its end. */
  recovery(service: Service, time: number | null): Workload
  /** Waits until that is done; with `finish` the data is then a service of its own, as a fresh copy of the template is. */
  recover(at: Endpoint, options: { time: number | null; finish: boolean }): Promise<Recovered>
}
