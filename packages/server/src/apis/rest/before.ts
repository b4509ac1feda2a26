import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import type { Isolation } from '../../runtime/engines/postgres/wire/job.ts'
import { ident } from './plan/sql.ts'
import type { RestSettings } from './settings.ts'

interface Step {
  readonly sql: string
  readonly params: readonly string[]
}

/** What runs in a request's transaction before its statement, and how long that may take. */
export interface Preparation {
  readonly before: readonly Step[]
  /** ms: `alter role … set statement_timeout`, or what the function that is called sets for itself. */
  readonly timeout: number | null
  /** `set default_transaction_isolation`, where it is not what it would be. */
  readonly isolation: Isolation | null
}

/** What a role or a function sets, by name. */
type Settings = Readonly<Record<string, string>>

const UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of PostgreSQL's way to write a time; null for none or no limit. */
export function milliseconds(text: string | undefined): number | null {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*$/.exec(text ?? '')
  const value = found === null ? 0 : Number(found[1]) * (UNITS[found[2] ?? 'ms'] ?? 1)
  return value > 0 ? Math.max(1, Math.round(value)) : null
}

export interface PreparedFor {
  readonly role: string
  /** What the function that is called sets for itself and lifts into its transaction: `hoistedOf`. */
  readonly routine: Settings | null
  /** The request says its time zone itself. */
  readonly zoned: boolean
}

/**
 * The settings of the role that signs in and of the role that the request has (SET ROLE applies neither), those that its function lifts, those of
 * the application, then the project's own check of each request. Pure.
 */
export function prepare(catalogue: Catalogue, rest: RestSettings, { role, routine, zoned }: PreparedFor): Preparation {
  const { roleSettings } = catalogue
  const own: Settings = { ...roleSettings.authenticator, ...roleSettings[role], ...routine }
  const settings = [
    ...Object.entries(own).filter(([name]) => name !== 'statement_timeout' && !(zoned && name.toLowerCase() === 'timezone')),
    ...Object.entries(rest.appSettings).map(([name, value]) => [`app.settings.${name}`, value] as const),
  ]
  const before: Step[] = []
  if (settings.length > 0) {
    const calls = settings.map((_, i) => `set_config($${2 * i + 1}, $${2 * i + 2}, true) is null`)
    before.push({ sql: `select where ${calls.join(' or ')}`, params: settings.flat() })
  }
  if (rest.preRequest !== null) before.push({ sql: `select ${rest.preRequest.split('.').map(ident).join('.')}()`, params: [] })
  return { before, timeout: milliseconds(own.statement_timeout), isolation: isolationOf(own.default_transaction_isolation) }
}

function isolationOf(text = ''): Isolation | null {
  const level = text.toLowerCase()
  return level === 'repeatable read' || level === 'serializable' ? level : null
}

/**
 * Of what a function sets for itself, what its project lifts into the transaction that calls it: a time-out that is set inside counts for
 * the next statement only. The isolation always is, since no transaction can change it later. Null for nothing. Pure.
 */
export function hoistedOf(settings: Settings | null, names: ReadonlySet<string>): Settings | null {
  const lifted = Object.entries(settings ?? {}).filter(
    ([name]) => names.has(name.toLowerCase()) || name === 'default_transaction_isolation',
  )
  return lifted.length === 0 ? null : Object.fromEntries(lifted)
}
