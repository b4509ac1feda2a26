import { SovraError } from './errors.ts'

/** An error as logs show it. */
export interface ErrorLine {
  readonly type: string
  readonly code?: string
  readonly message?: string
  readonly stack?: string
  readonly cause?: ErrorLine
}

const MAX_CAUSES = 4
const SQLSTATE = /^[0-9A-Z]{5}$/

interface Described {
  readonly code?: unknown
  readonly severity?: unknown
  readonly sqlState?: unknown
}

/**
 * PostgreSQL and MySQL quote values in their messages ("invalid input syntax for type integer: "…"), JSON.parse quotes its input: of these
 * only the code and the place in our sources are told.
 */
function quotesValues(error: Error & Described): boolean {
  if (error instanceof SyntaxError) return true
  if (typeof error.sqlState === 'string') return true
  return typeof error.code === 'string' && SQLSTATE.test(error.code) && typeof error.severity === 'string'
}

/** The stack without its first lines, which repeat the message. */
function frames(error: Error): string | undefined {
  const stack = error.stack
  if (!stack) return undefined
  const start = stack.search(/\n\s+at /)
  return start < 0 ? undefined : stack.slice(start + 1)
}

/** Type, code, message and frames, and no other property: drivers hang statements, parameters and packets on their errors. */
export function describeError(value: unknown, depth = 0): ErrorLine {
  if (!(value instanceof Error)) return { type: value === null ? 'null' : typeof value }
  const error = value as Error & Described
  const line: { -readonly [K in keyof ErrorLine]: ErrorLine[K] } = { type: error.name }
  if (typeof error.code === 'string') line.code = error.code
  else if (typeof error.sqlState === 'string') line.code = error.sqlState
  if (!quotesValues(error)) line.message = error.message
  // What the table foresees needs no stack, except where something unforeseen is behind it.
  if (!(error instanceof SovraError) || error.status >= 500) {
    const stack = frames(error)
    if (stack !== undefined) line.stack = stack
  }
  if (error.cause !== undefined && depth < MAX_CAUSES) line.cause = describeError(error.cause, depth + 1)
  return line
}
