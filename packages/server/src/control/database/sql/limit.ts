import { fail, isSovraError } from '../../../base/errors.ts'
import type { Session } from '../session.ts'

const CANCELED = 'sql_failed'

export interface Ends {
  /** Throws in their place what an end by us makes of an error. */
  of(error: unknown): unknown
  clear(): void
}

const isCancel = (error: unknown): boolean =>
  isSovraError(error, 'connection_lost') ||
  (isSovraError(error, CANCELED) && ['57014', '57P01'].includes((error.details as { sqlstate?: string } | undefined)?.sqlstate ?? ''))

/** Ends what a session runs after `ms`, or when `gone` aborts: PostgreSQL's own time-out can be set by the SQL itself. */
export function endAfter(session: Session, ms: number, gone: AbortSignal): Ends {
  let late = false
  const timer = setTimeout(() => {
    late = true
    session.cancel()
  }, ms)
  const leave = () => session.cancel()
  gone.addEventListener('abort', leave)
  return {
    of(error) {
      if (late && isCancel(error)) return fail('query_timed_out', { seconds: ms / 1000 }, { cause: error })
      return isCancel(error) && !isSovraError(error, 'connection_lost') ? fail('query_cancelled', {}, { cause: error }) : error
    },
    clear() {
      clearTimeout(timer)
      gone.removeEventListener('abort', leave)
    },
  }
}
