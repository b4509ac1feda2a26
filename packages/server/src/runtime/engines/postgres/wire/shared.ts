import type { Connection } from './connection.ts'
import { connectionLost, toSovraError } from './errors.ts'
import type { Job } from './job.ts'
import { Opener } from './opener.ts'
import type { Setup } from './options.ts'

/** A connection whose head has run for this many ms is avoided. */
const STALLED_AFTER = 20
const STALLED = 1_000_000

/** The connections that quick reads share. */
export class Shared {
  readonly #setup: Setup
  readonly #opener: Opener
  #live: Connection[] = []
  #opening = 0
  #waiting: Job[] = []

  constructor(setup: Setup) {
    this.#setup = setup
    this.#opener = new Opener(setup, setup.sharedSettings)
  }

  get outstanding(): number {
    let sum = this.#waiting.length
    for (const connection of this.#live) sum += connection.outstanding
    return sum
  }

  get connections(): readonly Connection[] {
    return this.#live
  }

  /** Sends the job on the least busy connection; false when all are full. */
  dispatch(job: Job): boolean {
    let best: Connection | null = null
    let least = Number.POSITIVE_INFINITY
    const { limits, now } = this.#setup
    for (const connection of this.#live) {
      let load = connection.outstanding
      if (load > 0 && now() - connection.headSince > STALLED_AFTER) load += STALLED
      if (load < least) {
        best = connection
        least = load
      }
    }
    if (least >= limits.growAt && this.#live.length + this.#opening < limits.shared) this.#grow()
    if (best === null) {
      if (this.#waiting.length >= limits.waiting) return false
      this.#waiting.push(job)
      return true
    }
    if (least % STALLED >= limits.outstanding) return false
    job.connection = best
    best.send(job)
    return true
  }

  invalidate(): void {
    for (const connection of this.#live) connection.invalidate()
  }

  /** Closes what was not used since `before`, but one. */
  trim(before: number): void {
    for (const connection of this.#live.slice(1)) if (connection.outstanding === 0 && connection.lastUsed < before) connection.close()
  }

  close(): void {
    this.#opener.close()
    for (const connection of [...this.#live]) connection.close()
    for (const job of this.#waiting.splice(0)) job.fail(connectionLost('the pool is closed', true))
  }

  #grow(): void {
    this.#opening++
    this.#opener
      .open((connection) => this.#gone(connection))
      .then(
        (connection) => {
          this.#opening--
          if (!connection.ended) this.#live.push(connection)
          this.#serve()
        },
        (error: unknown) => {
          this.#opening--
          if (this.#live.length > 0 || this.#opening > 0) return
          for (const job of this.#waiting.splice(0)) job.fail(toSovraError(error))
        },
      )
  }

  #serve(): void {
    for (const job of this.#waiting.splice(0)) job.owner.start(job)
  }

  #gone(connection: Connection): void {
    this.#live = this.#live.filter((other) => other !== connection)
  }
}
