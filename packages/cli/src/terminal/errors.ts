import { ERRORS, type ErrorCode } from '@sovrabase/contract/errors'
import { languageOf, type Params, wordingOf } from '@sovrabase/contract/wording'

/** What the CLI ends with. 2: used wrongly, or configured wrongly. */
export const EXIT = { ok: 0, failed: 1, usage: 2, alreadyRunning: 3, notFound: 4, notSignedIn: 5, unreachable: 6 } as const

/** Ours whose exit code does not follow from the status. */
const EXITS: Partial<Record<string, number>> = {
  already_running: EXIT.alreadyRunning,
  server_not_running: EXIT.unreachable,
  server_unreachable: EXIT.unreachable,
  usage_wrong: EXIT.usage,
  invalid_request: EXIT.usage,
  organisation_needed: EXIT.usage,
  name_ambiguous: EXIT.usage,
  config_invalid: EXIT.usage,
  config_unreadable: EXIT.usage,
}
const STATUSES: Partial<Record<number, number>> = { 401: EXIT.notSignedIn, 404: EXIT.notFound }

export interface Shown {
  readonly code: string
  readonly message: string
  readonly hint?: string
  readonly details?: unknown
  readonly request_id?: string
}

/** An error as people and scripts get it: the server's envelope, or one of our own. */
export class CliError extends Error {
  readonly shown: Shown
  readonly exit: number
  /** What people read below the message; scripts have it in `details`. */
  readonly lines: readonly string[]

  constructor(shown: Shown, status: number, options: { cause?: unknown; lines?: readonly string[] } = {}) {
    const { cause, lines = [] } = options
    super(shown.message, cause === undefined ? undefined : { cause })
    this.name = 'CliError'
    this.shown = shown
    this.lines = lines
    this.exit = EXITS[shown.code] ?? STATUSES[status] ?? EXIT.failed
  }
}

/** Of the words for people; codes are the same in all. */
export const LANGUAGE = languageOf(process.env)

/** Makes (does not throw) an error of the common table. */
export function stop(
  code: ErrorCode,
  params: Record<string, string | number> = {},
  options: { details?: unknown; cause?: unknown; lines?: readonly string[] } = {},
): CliError {
  const { message, hint } = wordingOf(code, params, LANGUAGE)
  const shown: Shown = { code, message, ...(hint === '' ? {} : { hint }) }
  return new CliError(options.details === undefined ? shown : { ...shown, details: options.details }, ERRORS[code][0], options)
}

/** Anything thrown as a CliError: those of the server package (config, secrets) have code, status and hint too. */
export function known(error: unknown): CliError {
  if (error instanceof CliError) return error
  if (error instanceof Error && 'code' in error && 'hint' in error && 'status' in error) {
    const code = String(error.code)
    const params = 'params' in error ? (error.params as Params) : undefined
    const { message, hint } =
      params && Object.hasOwn(ERRORS, code) ? wordingOf(code as ErrorCode, params, LANGUAGE) : (error as Error & { hint: string })
    return new CliError({ code, message, hint }, Number(error.status), { cause: error })
  }
  return new CliError({ code: 'internal', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 500, {
    cause: error,
  })
}
