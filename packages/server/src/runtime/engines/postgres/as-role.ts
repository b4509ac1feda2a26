import type { Readable } from 'node:stream'
import { fail } from '../../../base/errors.ts'
import type { SYSTEM_ROLES } from './names.ts'
import type { Preamble, RunOptions, Statement } from './wire/job.ts'
import type { PipelinePool } from './wire/pool.ts'
import type { Param } from './wire/protocol.ts'
import type { Result } from './wire/result.ts'
import type { StreamOptions } from './wire/stream.ts'
import type { Transaction } from './wire/transaction.ts'

/** For whom a statement runs. All texts are ready: nothing is made into JSON on the way of a request. */
export interface Identity {
  /** The database role. */
  readonly role: string
  /** `request.jwt.claims`: the verified claims as JSON. */
  readonly claimsJson: string
  /** As PostgreSQL writes it, identifiers quoted where they must be: `public, extensions`. */
  readonly searchPath: string
  /** `request.headers`: a JSON object of lower-case names. */
  readonly headersJson?: string
  /** `request.cookies`: a JSON object. */
  readonly cookiesJson?: string
  /** `request.method` */
  readonly method?: string
  /** `request.path` */
  readonly path?: string
  /** Time zone of the request, where it asks for one. */
  readonly timezone?: string
  /** Further settings of the transaction, as `realtime.topic`. */
  readonly settings?: readonly (readonly [name: string, value: string])[]
}

/** Roles that no request gets, whatever is granted: ours, PostgreSQL's, the owners', and `none`, which would mean the sign-in role itself. */
const NEVER = /^(none|public|authenticator|postgres|dashboard_user|(pg|sovrabase|supabase)_.*)?$/i
const SETTING_NAME = /^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+$/i

const HEADERS = 1
const COOKIES = 2
const METHOD = 4
const PATH = 8
const SEARCH_PATH = 16
const TIMEZONE = 32

/** One text for each set of settings, so that it is prepared once a connection. It returns no row: nothing is echoed. */
const texts = new Map<number, string>()

function textOf(names: readonly string[]): string {
  return `select where ${names.map((name, i) => `set_config(${name}, $${i + 1}, true) is null`).join(' or ')}`
}

function textFor(mask: number): string {
  let text = texts.get(mask)
  if (text === undefined) {
    const names = [`'role'`, `'request.jwt.claims'`]
    if (mask & HEADERS) names.push(`'request.headers'`)
    if (mask & COOKIES) names.push(`'request.cookies'`)
    if (mask & METHOD) names.push(`'request.method'`)
    if (mask & PATH) names.push(`'request.path'`)
    if (mask & SEARCH_PATH) names.push(`'search_path'`)
    if (mask & TIMEZONE) names.push(`'timezone'`)
    text = textOf(names)
    texts.set(mask, text)
  }
  return text
}

/** Role and claims as the first statement of a transaction. Throws `role_not_allowed` for a role that no request may have. */
function preambleOf(pool: PipelinePool, identity: Identity): Preamble {
  const { role, searchPath, headersJson, cookiesJson, method, path, timezone } = identity
  if (NEVER.test(role)) throw fail('role_not_allowed')
  const params: Param[] = [role, identity.claimsJson]
  let mask = 0
  if (headersJson !== undefined) {
    mask |= HEADERS
    params.push(headersJson)
  }
  if (cookiesJson !== undefined) {
    mask |= COOKIES
    params.push(cookiesJson)
  }
  if (method !== undefined) {
    mask |= METHOD
    params.push(method)
  }
  if (path !== undefined) {
    mask |= PATH
    params.push(path)
  }
  if (searchPath !== pool.searchPath) {
    mask |= SEARCH_PATH
    params.push(searchPath)
  }
  if (timezone !== undefined) {
    mask |= TIMEZONE
    params.push(timezone)
  }
  const scope = `${role}\0${searchPath}`
  const sql = identity.settings === undefined ? textFor(mask) : withSettings(textFor(mask), params, identity.settings)
  return { step: { sql, params, scope: '' }, scope }
}

/** Names are parameters too; only names with a dot: a caller cannot override role, time-outs or the like. */
function withSettings(text: string, params: Param[], settings: readonly (readonly [string, string])[]): string {
  let sql = text
  for (const [name, value] of settings) {
    if (!SETTING_NAME.test(name)) throw fail('invalid_request', { reason: 'a setting has no valid name' })
    params.push(name, value)
    sql += ` or set_config($${params.length - 1}, $${params.length}, true) is null`
  }
  return sql
}

/**
 * Runs one statement under a role and its claims, in a transaction of its own and one round trip. See `PipelinePool.run` for its errors;
 * `role_not_allowed` is thrown at once.
 */
export function asRole(pool: PipelinePool, identity: Identity, statement: Statement, options?: RunOptions): Promise<Result> {
  return pool.run(preambleOf(pool, identity), statement, options)
}

/** The same with the rows as a stream of bytes: for large results. See `PipelinePool.stream`. */
export async function asRoleStream(
  pool: PipelinePool,
  identity: Identity,
  statement: Statement,
  options?: RunOptions & StreamOptions,
): Promise<Readable> {
  return pool.stream(preambleOf(pool, identity), statement, options)
}

/** Several statements under a role and its claims, with a look at each result before COMMIT. See `PipelinePool.transaction`. */
export async function asRoleTransaction<R>(
  pool: PipelinePool,
  identity: Identity,
  fn: (tx: Transaction) => Promise<R>,
  options?: RunOptions,
): Promise<R> {
  return pool.transaction(preambleOf(pool, identity), fn, options)
}

const BECOME = textOf([
  ...["'role'", "'request.jwt.claims'", "'request.headers'", "'request.cookies'", "'request.method'", "'request.path'"],
  ...["'search_path'", "'timezone'", "'response.headers'", "'response.status'"],
])
const GATEWAY_ITSELF: Preamble = {
  step: { sql: `select where set_config('role', 'none', true) is null`, params: [], scope: '' },
  scope: '\0batch',
}

/** Within `asGateway`: from here on the transaction is the identity's, with nothing left of a former one. */
export function become(identity: Identity): Statement {
  if (NEVER.test(identity.role)) throw fail('role_not_allowed')
  const { role, claimsJson, headersJson = '', cookiesJson = '', method = '', path = '', searchPath, timezone = null } = identity
  return { sql: BECOME, params: [role, claimsJson, headersJson, cookiesJson, method, path, searchPath, timezone, '', ''] }
}

/** Within `asGateway`: back to the gateway's own role. */
export const BECOME_GATEWAY: Statement = { sql: GATEWAY_ITSELF.step.sql, params: [] }

/**
 * A transaction that begins as the gateway's own sign-in role, which reads and writes no table of people: for one that keeps something of
 * the server's beside what it does as somebody (`become`).
 */
export async function asGateway<R>(pool: PipelinePool, fn: (tx: Transaction) => Promise<R>, options?: RunOptions): Promise<R> {
  return pool.transaction(GATEWAY_ITSELF, fn, options)
}

/**
 * A transaction as the owner of one of the system schemas, for the server's own work: no claims, the given search path, and row-level
 * security does not apply to what the role owns.
 */
export async function asSystem<R>(
  pool: PipelinePool,
  role: (typeof SYSTEM_ROLES)[number],
  searchPath: string,
  fn: (tx: Transaction) => Promise<R>,
  options?: RunOptions,
): Promise<R> {
  const step = { sql: textFor(SEARCH_PATH), params: [role, '', searchPath], scope: '' }
  return pool.transaction({ step, scope: `${role}\0${searchPath}` }, fn, options)
}
