import { setTimeout as delay } from 'node:timers/promises'
import { Connection } from './connection.ts'
import { connectionLost } from './errors.ts'
import type { Setup } from './options.ts'
import { signIn } from './sign-in.ts'

const FIRST_PAUSE = 20
const LONGEST_PAUSE = 500
/** Starting up, too many clients; refused, reset, or the socket's backlog is full. A socket file that is not there means: stopped. */
const WORTH_A_RETRY = new Set(['57P03', '53300', 'ECONNREFUSED', 'ECONNRESET', 'EAGAIN'])

const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? '')

/** Opens connections of one kind, with growing pauses while the server is on its way. */
export class Opener {
  readonly #setup: Setup
  readonly #settings: Readonly<Record<string, string>>
  #closed = false

  constructor(setup: Setup, settings: Readonly<Record<string, string>>) {
    this.#setup = setup
    this.#settings = settings
  }

  /** Rejects with `connection_lost` (retriable) when there is none to be had within the connect time-out. */
  async open(onEnd: (connection: Connection) => void): Promise<Connection> {
    const { at, limits, metrics, now } = this.#setup
    const start = now()
    for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      if (this.#closed) throw connectionLost('the pool is closed', true)
      try {
        const signedIn = await signIn(at, this.#settings)
        metrics.connected++
        const connection = new Connection(signedIn, { statements: limits.statements, metrics, now, onEnd })
        if (this.#closed) connection.close()
        return connection
      } catch (error) {
        if (!WORTH_A_RETRY.has(codeOf(error)) || now() - start + pause > at.connectTimeout)
          throw connectionLost('no connection could be made', true, error)
        await delay(pause)
      }
    }
  }

  close(): void {
    this.#closed = true
  }
}
