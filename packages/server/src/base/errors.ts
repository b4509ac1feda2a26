import { ERRORS, type ErrorCode } from '@sovrabase/contract/errors'

/** The one error class: built by `fail()` from the table in contract/errors.ts, rendered by each API in its own dialect. */
export class SovraError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly hint: string
  readonly details: unknown
  /** Response headers that belong to the error (Retry-After, WWW-Authenticate). */
  readonly headers: Record<string, string> | undefined

  constructor(code: ErrorCode, message: string, hint: string, options: FailOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SovraError'
    this.code = code
    this.status = ERRORS[code][0]
    this.hint = hint
    this.details = options.details
    this.headers = options.headers
  }
}

export interface FailOptions {
  details?: unknown
  cause?: unknown
  headers?: Record<string, string>
}

type Params = Record<string, string | number>

const fill = (text: string, params: Params): string => text.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole))

/** Makes (does not throw) the error of this code: `throw fail('not_found')`. */
export function fail(code: ErrorCode, params: Params = {}, options: FailOptions = {}): SovraError {
  const [, message, hint] = ERRORS[code]
  return new SovraError(code, fill(message, params), fill(hint, params), options)
}

export const isSovraError = (error: unknown, code?: ErrorCode): error is SovraError =>
  error instanceof SovraError && (code === undefined || error.code === code)
