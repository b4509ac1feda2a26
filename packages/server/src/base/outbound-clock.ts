import { fail, isSovraError } from './errors.ts'
import { reasonOf } from './outbound-connect.ts'

/** Bounds of one call to an address that people have set. */
export interface OutboundLimits {
  /** ms until a connection stands, TLS included. */
  readonly connect: number
  /** ms until the answer's headers. */
  readonly headers: number
  /** ms between two pieces of a body. */
  readonly idle: number
  /** ms for the whole call, redirects and body included. */
  readonly total: number
  /** Bytes of an answer's body, after decompression. */
  readonly bytes: number
  readonly headerBytes: number
  readonly redirects: number
  /** Connections to one origin. */
  readonly connections: number
}

export const OUTBOUND_LIMITS: OutboundLimits = {
  connect: 5_000,
  headers: 10_000,
  idle: 10_000,
  total: 30_000,
  bytes: 10 * 1024 * 1024,
  headerBytes: 32 * 1024,
  redirects: 5,
  connections: 32,
}

/** A deadline whose abort carries `outbound_timeout`; the caller's own signal ends it as well. */
export class Clock {
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #caller: AbortSignal | undefined
  readonly #cancel: () => void
  readonly signal = this.#controller.signal

  constructor(host: string, ms: number, phase: string, caller?: AbortSignal) {
    this.#timer = setTimeout(() => this.#controller.abort(fail('outbound_timeout', { host, ms, phase })), ms)
    this.#timer.unref()
    this.#caller = caller
    this.#cancel = () => this.#controller.abort(fail('outbound_failed', { host, reason: 'it was cancelled' }, { cause: caller?.reason }))
    if (caller?.aborted) this.#cancel()
    caller?.addEventListener('abort', this.#cancel)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#caller?.removeEventListener('abort', this.#cancel)
  }
}

/** Any failure as one of the four errors of this module. */
export function known(error: unknown, host: string, limits: OutboundLimits, clock: Clock): Error {
  if (clock.signal.aborted) return clock.signal.reason as Error
  if (isSovraError(error)) return error
  const code = error instanceof Error && 'code' in error ? error.code : ''
  const late = (ms: number, phase: string) => fail('outbound_timeout', { host, ms, phase }, { cause: error })
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return late(limits.headers, 'headers')
  if (code === 'UND_ERR_BODY_TIMEOUT') return late(limits.idle, 'body')
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return fail('outbound_too_large', { host, bytes: limits.headerBytes }, { cause: error })
  return fail('outbound_failed', { host, reason: reasonOf(error) }, { cause: error })
}
