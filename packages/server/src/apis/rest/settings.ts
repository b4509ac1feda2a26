import { type ClaimPath, parseClaimPath } from './claim-path.ts'

/** What the dialect lets a project set: its `rest` section, and over it `alter role authenticator set pgrst.…`. */
export interface RestSettings {
  /** Exposed schemas, the default first. */
  readonly schemas: readonly string[]
  /** Added to the search path after the request's schema. */
  readonly extraSearchPath: readonly string[]
  /** Rows of an answer at most; null: no limit. */
  readonly maxRows: number | null
  readonly aggregates: boolean
  /** Answers to Accept: application/vnd.pgrst.plan. */
  readonly plans: boolean
  /** Function without arguments that runs before each request: may refuse it. */
  readonly preRequest: string | null
  /** `app.settings.<name>` of each request. */
  readonly appSettings: Readonly<Record<string, string>>
  /** `Prefer: tx=…` is obeyed. */
  readonly transactionEnd: boolean
  /** What is written is undone, unless `Prefer: tx=commit` may say otherwise. */
  readonly rollback: boolean
  /** Lower-case names of what a function may set for the transaction that calls it. */
  readonly hoisted: ReadonlySet<string>
  /** What the root document shows: what the caller may use, all, or nothing. */
  readonly openApi: 'follow-privileges' | 'ignore-privileges' | 'disabled'
  /** The root document says how to sign in. */
  readonly openApiSecurity: boolean
  /** Function without arguments that answers instead of the root document. */
  readonly rootSpec: string | null
  /** Answers tell how long their parts took. */
  readonly serverTiming: boolean
  /** Lower-case name of the header of a request that its answer repeats. */
  readonly traceHeader: string | null
  /** Errors say their code and message only. */
  readonly minimalErrors: boolean
  /** Who a request without a credential is; null: `anon`. */
  readonly anonRole: string | null
  /** Whom tokens must be meant for; null: not looked at. */
  readonly audience: string | null
  /** Where tokens say their role; null: in `role`. */
  readonly roleClaim: ClaimPath | null
  /** Whose pages may read answers; null: whose the server says. */
  readonly origins: ReadonlySet<string> | null
  /** `Prefer: timezone=…` is obeyed. */
  readonly timezones: boolean
  /** Where the root document says that the API is; null: its URL. */
  readonly proxyUrl: URL | null
}

const REST_DEFAULTS: RestSettings = {
  schemas: ['public'],
  extraSearchPath: ['public', 'extensions'],
  maxRows: 1_000,
  aggregates: false,
  plans: false,
  preRequest: null,
  appSettings: {},
  transactionEnd: false,
  rollback: false,
  hoisted: new Set(['statement_timeout', 'plan_filter.statement_cost_limit', 'default_transaction_isolation']),
  openApi: 'follow-privileges',
  openApiSecurity: false,
  rootSpec: null,
  serverTiming: false,
  traceHeader: null,
  minimalErrors: false,
  anonRole: null,
  audience: null,
  roleClaim: null,
  origins: null,
  timezones: true,
  proxyUrl: null,
}

/** Of no claim: a path that is none gives nobody a role. */
const NOWHERE: ClaimPath = ['']
const DEFAULT_CLAIM = /^\$?\.role$/

function roleClaim(text: string | null): ClaimPath | null {
  return text === null || DEFAULT_CLAIM.test(text) ? null : (parseClaimPath(text) ?? NOWHERE)
}

const names = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
/** Whether what a request writes is undone. */
export const isUndone = ({ rollback }: RestSettings, asked: 'commit' | 'rollback' | null): boolean =>
  asked === 'rollback' || (rollback && asked !== 'commit')

const isTrue = (text: string): boolean => ['true', 'on', 'yes', '1'].includes(text.trim().toLowerCase())

const openApiMode = (text = ''): RestSettings['openApi'] =>
  text === 'ignore-privileges' || text === 'disabled' ? text : REST_DEFAULTS.openApi

const nameOrNull = (value: unknown): string | null => (typeof value === 'string' && value.trim() !== '' ? value.trim() : null)

/** Whose meaning is the connection's or the answer's own, or whose value another's answer must not set. */
const NOT_REPEATED = /^(connection|content-.*|date|keep-alive|set-cookie|status|te|trailer|transfer-encoding|upgrade)$/

/** Null for what is no name of a header, or of one that an answer has for itself. */
function headerName(text: string | undefined): string | null {
  const name = (text ?? '').trim().toLowerCase()
  return /^[!#$%&'*+.^_`|~\w-]+$/.test(name) && !NOT_REPEATED.test(name) ? name : null
}

/** Null for what is not plainly an address of the web: as the reference, which would not start with it. */
function proxyUrl(text: string | undefined): URL | null {
  if (!/^https?:\/\/[^\s?#@]+$/i.test(text ?? '')) return null
  const url = URL.parse(text ?? '')
  return url === null || url.port === '0' ? null : url
}

function hoistedNames(text: string | undefined): ReadonlySet<string> {
  const given = names((text ?? '').toLowerCase())
  return given.length === 0 ? REST_DEFAULTS.hoisted : new Set(given)
}

function originsIn(text: string | undefined): ReadonlySet<string> | null {
  const given = names(text ?? '')
  return given.length === 0 || given.includes('*') ? null : new Set(given)
}

function stringList(value: unknown, fallback: readonly string[]): readonly string[] {
  if (typeof value === 'string') return names(value)
  return Array.isArray(value) && value.every((item) => typeof item === 'string') && value.length > 0 ? value : fallback
}

/** The project's stored `rest` section, and what its database says before it. Pure. */
export function settingsInForce(section: object, database: Readonly<Record<string, string>>): RestSettings {
  const own = section as Readonly<Record<string, unknown>>
  const rows = Number(database['pgrst.db_max_rows'])
  const ownRows = own.max_rows === undefined ? REST_DEFAULTS.maxRows : typeof own.max_rows === 'number' ? own.max_rows : null
  const inDatabase = (name: string) => database[`pgrst.${name}`]
  const txEnd = inDatabase('db_tx_end') ?? String(own.tx_end ?? '')
  return {
    schemas: stringList(inDatabase('db_schemas') ?? own.schemas, REST_DEFAULTS.schemas),
    extraSearchPath: stringList(inDatabase('db_extra_search_path') ?? own.extra_search_path, REST_DEFAULTS.extraSearchPath),
    maxRows: Number.isSafeInteger(rows) && rows > 0 ? rows : ownRows,
    aggregates:
      inDatabase('db_aggregates_enabled') === undefined ? own.aggregates === true : isTrue(inDatabase('db_aggregates_enabled') ?? ''),
    plans: inDatabase('db_plan_enabled') === undefined ? own.plan_enabled === true : isTrue(inDatabase('db_plan_enabled') ?? ''),
    preRequest: nameOrNull(inDatabase('db_pre_request') ?? own.pre_request),
    appSettings: typeof own.app_settings === 'object' && own.app_settings !== null ? (own.app_settings as Record<string, string>) : {},
    transactionEnd: txEnd.endsWith('allow-override'),
    rollback: txEnd === 'rollback' || txEnd === 'rollback-allow-override',
    hoisted: hoistedNames(inDatabase('db_hoisted_tx_settings')),
    openApi: openApiMode(inDatabase('openapi_mode')),
    openApiSecurity: isTrue(inDatabase('openapi_security_active') ?? ''),
    rootSpec: nameOrNull(inDatabase('db_root_spec')),
    serverTiming: isTrue(inDatabase('server_timing_enabled') ?? ''),
    traceHeader: headerName(inDatabase('server_trace_header')),
    minimalErrors: inDatabase('client_error_verbosity') === 'minimal',
    anonRole: nameOrNull(inDatabase('db_anon_role')),
    audience: nameOrNull(inDatabase('jwt_aud')),
    roleClaim: roleClaim(nameOrNull(inDatabase('jwt_role_claim_key'))),
    origins: originsIn(inDatabase('server_cors_allowed_origins')),
    timezones: isTrue(inDatabase('db_timezone_enabled') ?? 'true'),
    proxyUrl: proxyUrl(inDatabase('openapi_server_proxy_uri')),
  }
}
