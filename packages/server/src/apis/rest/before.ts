import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import type { Isolation } from '../../runtime/engines/postgres/wire/job.ts'
import { ident } from './plan/sql.ts'

interface Step {
  readonly sql: string
  readonly params: readonly string[]
}

/** What runs in a request's transaction before its statement, and how long that may take. */
export interface Preparation {
  readonly before: readonly Step[]
  /** ms: `alter role … set statement_timeout`. */
  readonly timeout: number | null
  /** `set default_transaction_isolation`, where it is not what it would be. */
  readonly isolation: Isolation | null
}

const UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of PostgreSQL's way to write a time; null for none or no limit. */
export function milliseconds(text: string | undefined): number | null {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*$/.exec(text ?? '')
  const value = found === null ? 0 : Number(found[1]) * (UNITS[found[2] ?? 'ms'] ?? 1)
  return value > 0 ? Math.max(1, Math.round(value)) : null
}

/** The settings of a role (which SET ROLE does not apply), those of the application, then the project's own check of each request. Pure. */
export function prepare(catalogue: Catalogue, role: string, app: Readonly<Record<string, string>>, preRequest: string | null): Preparation {
  const own = catalogue.roleSettings[role] ?? {}
  const settings = [
    ...Object.entries(own).filter(([name]) => name !== 'statement_timeout'),
    ...Object.entries(app).map(([name, value]) => [`app.settings.${name}`, value] as const),
  ]
  const before: Step[] = []
  if (settings.length > 0) {
    const calls = settings.map((_, i) => `set_config($${2 * i + 1}, $${2 * i + 2}, true) is null`)
    before.push({ sql: `select where ${calls.join(' or ')}`, params: settings.flat() })
  }
  if (preRequest !== null) before.push({ sql: `select ${preRequest.split('.').map(ident).join('.')}()`, params: [] })
  return { before, timeout: milliseconds(own.statement_timeout), isolation: isolationOf(own.default_transaction_isolation) }
}

const isolationOf = (text: string | undefined): Isolation | null => (text === 'repeatable read' || text === 'serializable' ? text : null)

/** What a function sets for itself has to be so before the transaction that calls it begins. Pure. */
export function hoisted(preparation: Preparation, settings: Readonly<Record<string, string>>): Preparation {
  return {
    before: preparation.before,
    timeout: milliseconds(settings.statement_timeout) ?? preparation.timeout,
    isolation: isolationOf(settings.default_transaction_isolation) ?? preparation.isolation,
  }
}
