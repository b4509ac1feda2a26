import type { SovraError } from '../../../../base/errors.ts'
import type { Connection } from './connection.ts'
import { connectionLost, overloaded, toSovraError } from './errors.ts'
import { Opener } from './opener.ts'
import type { Setup } from './options.ts'
import { sendCancel } from './sign-in.ts'

/** Who waits for a connection of its own. */
export interface Waiter {
  /** No longer interested: skipped when its turn comes. */
  readonly abandoned: boolean
  grant(connection: Connection): void
  fail(error: SovraError): void
}

interface Place {
  readonly waiter: Waiter
  readonly since: number
}

const CANCEL_AGAIN_AFTER = 50

/** The connections that one request at a time has for itself. */
export class Exclusive {
  readonly #setup: Setup
  readonly #opener: Opener
  readonly #all = new Set<Connection>()
  readonly #idle: Connection[] = []
  /** A cancel may still arrive there: not to be given away. */
  readonly #cancelling = new Map<Connection, Promise<void>>()
  #opening = 0
  #waiting: Place[] = []

  constructor(setup: Setup) {
    this.#setup = setup
    this.#opener = new Opener(setup, setup.exclusiveSettings)
  }

  get busy(): number {
    return this.#all.size - this.#idle.length
  }

  get waiting(): number {
    return this.#waiting.length
  }

  get connections(): ReadonlySet<Connection> {
    return this.#all
  }

  /** Grants an idle connection at once, else a new one or the next that is free; false when too many wait already. */
  acquire(waiter: Waiter): boolean {
    const { limits, now } = this.#setup
    const connection = this.#idle.pop()
    if (connection !== undefined) {
      waiter.grant(connection)
      return true
    }
    if (this.#waiting.length >= limits.waiting) return false
    this.#waiting.push({ waiter, since: now() })
    if (this.#all.size + this.#opening < limits.exclusive && this.#opening < this.#waiting.length) this.#open()
    return true
  }

  /** Takes a connection back; it is given on once no cancel can reach it any more. */
  release(connection: Connection): void {
    const cancelling = this.#cancelling.get(connection)
    if (cancelling !== undefined) {
      cancelling.then(() => this.release(connection))
      return
    }
    if (connection.ended) return
    if (connection.inTransaction || connection.outstanding > 0) {
      connection.destroy('its transaction was left open')
      return
    }
    const place = this.#next()
    if (place !== null) place.waiter.grant(connection)
    else this.#idle.push(connection)
  }

  /**
   * Cancels what runs on the connection until `finished()`. It is sent again while the statement runs, since a cancel that
   * arrives before its target has begun is ignored.
   */
  cancel(connection: Connection, finished: () => boolean): void {
    if (this.#cancelling.has(connection) || connection.ended || finished()) return
    this.#setup.metrics.cancelled++
    const ended = this.#cancelUntil(connection, finished).finally(() => this.#cancelling.delete(connection))
    this.#cancelling.set(connection, ended)
  }

  invalidate(): void {
    for (const connection of this.#all) connection.invalidate()
  }

  /** Closes what was not used since `before`, and refuses those who have waited too long. */
  trim(before: number): void {
    for (const connection of [...this.#idle]) if (connection.lastUsed < before) connection.close()
    const limit = this.#setup.now() - this.#setup.limits.waitTimeout
    while (this.#waiting.length > 0 && (this.#waiting[0]!.since < limit || this.#waiting[0]!.waiter.abandoned)) {
      const { waiter } = this.#waiting.shift()!
      if (!waiter.abandoned) waiter.fail(overloaded('no connection became free in time'))
    }
  }

  /** Ends all; what still runs is cancelled first, since a backend that computes does not see that its client is gone. */
  async close(): Promise<void> {
    this.#opener.close()
    for (const { waiter } of this.#waiting.splice(0)) if (!waiter.abandoned) waiter.fail(connectionLost('the pool is closed', true))
    const all = [...this.#all]
    const running = all.filter((connection) => connection.outstanding > 0)
    for (const connection of all) connection.close()
    await Promise.allSettled(running.map(({ pid, key }) => sendCancel(this.#setup.at, pid, key)))
  }

  async #cancelUntil(connection: Connection, finished: () => boolean): Promise<void> {
    try {
      while (!finished() && !connection.ended) {
        await sendCancel(this.#setup.at, connection.pid, connection.key)
        for (const end = Date.now() + CANCEL_AGAIN_AFTER; Date.now() < end && !finished(); )
          await new Promise((resolve) => setTimeout(resolve, 5))
      }
    } catch {
      connection.destroy('a cancel request failed')
    }
  }

  #open(): void {
    this.#opening++
    this.#opener
      .open((connection) => this.#gone(connection))
      .then(
        (connection) => {
          this.#opening--
          if (connection.ended) return
          this.#all.add(connection)
          this.release(connection)
        },
        (error: unknown) => {
          this.#opening--
          if (this.#opening > 0 || this.#all.size > 0) return
          for (const { waiter } of this.#waiting.splice(0)) if (!waiter.abandoned) waiter.fail(toSovraError(error))
        },
      )
  }

  #next(): Place | null {
    for (;;) {
      const place = this.#waiting.shift()
      if (place === undefined) return null
      if (!place.waiter.abandoned) return place
    }
  }

  #gone(connection: Connection): void {
    this.#all.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at >= 0) this.#idle.splice(at, 1)
    if (this.#waiting.length > 0 && this.#all.size + this.#opening < this.#setup.limits.exclusive) this.#open()
  }
}
