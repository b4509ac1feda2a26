import { ERRORS, type ErrorCode } from '@sovrabase/contract/errors'
import { type Params, wordingOf } from '@sovrabase/contract/wording'

/** The one error class: built by `fail()` from the table in contract/errors.ts, rendered by each API in its own dialect. */
export class SovraError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly hint: string
  readonly details: unknown
  /** Response headers that belong to the error (Retry-After, WWW-Authenticate). */
  readonly headers: Record<string, string> | undefined
  /** What its words are made with, for another language. */
  readonly params: Params

  constructor(code: ErrorCode, message: string, hint: string, options: MadeOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SovraError'
    this.code = code
    this.status = ERRORS[code][0]
    this.hint = hint
    this.details = options.details
    this.headers = options.headers
    this.params = options.params ?? {}
  }
}

export interface FailOptions {
  details?: unknown
  cause?: unknown
  headers?: Record<string, string>
}

interface MadeOptions extends FailOptions {
  params?: Params
}

/** Makes (does not throw) the error of this code: `throw fail('not_found')`. */
export function fail(code: ErrorCode, params: Params = {}, options: FailOptions = {}): SovraError {
  const { message, hint } = wordingOf(code, params)
  return new SovraError(code, message, hint, { ...options, params })
}

export const isSovraError = (error: unknown, code?: ErrorCode): error is SovraError =>
  error instanceof SovraError && (code === undefined || error.code === code)
