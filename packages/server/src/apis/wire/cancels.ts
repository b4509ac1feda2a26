import { randomBytes, randomInt, timingSafeEqual } from 'node:crypto'
import { fail } from '../../base/errors.ts'
import type { Endpoint } from '../../runtime/driver.ts'

/** What a cluster gave for a session, and where that cluster listens. */
export interface RealKey {
  readonly endpoint: Endpoint
  readonly pid: number
  readonly secret: Buffer
}

export interface IssuedKey {
  readonly pid: number
  readonly secret: Buffer
  forget(): void
}

const MAX_PID = 0x7fff_ffff
const LONG_SECRET = 32
const SHORT_SECRET = 4
const ATTEMPTS = 100

/** Cancel keys of this listener: clusters repeat each other's process ids, so a key of theirs would not say whose it is. */
export class Cancels {
  readonly #issued = new Map<number, { readonly secret: Buffer; readonly real: RealKey }>()

  /** As long as protocol 3.0 allows (4 bytes), or 32 where the cluster's own is longer (3.2). */
  issue(real: RealKey): IssuedKey {
    const secret = randomBytes(real.secret.length > SHORT_SECRET ? LONG_SECRET : SHORT_SECRET)
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const pid = randomInt(1, MAX_PID)
      if (this.#issued.has(pid)) continue
      this.#issued.set(pid, { secret, real })
      return { pid, secret, forget: () => void this.#issued.delete(pid) }
    }
    throw fail('internal', {}, { cause: 'no free cancel key' })
  }

  find(pid: number, secret: Buffer): RealKey | null {
    const issued = this.#issued.get(pid)
    return issued && issued.secret.length === secret.length && timingSafeEqual(issued.secret, secret) ? issued.real : null
  }

  get size(): number {
    return this.#issued.size
  }
}
