import { LRUCache } from 'lru-cache'
import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import { type Preparation, prepare } from './before.ts'
import type { Plan } from './plan/types.ts'

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
  /** What the root document shows: what the caller may use, all, or nothing. */
  readonly openApi: 'follow-privileges' | 'ignore-privileges' | 'disabled'
  /** The root document says how to sign in. */
  readonly openApiSecurity: boolean
  /** Function without arguments that answers instead of the root document. */
  readonly rootSpec: string | null
  /** Answers tell how long their parts took. */
  readonly serverTiming: boolean
}

export const REST_DEFAULTS: RestSettings = {
  schemas: ['public'],
  extraSearchPath: ['public', 'extensions'],
  maxRows: 1_000,
  aggregates: false,
  plans: false,
  preRequest: null,
  appSettings: {},
  transactionEnd: false,
  openApi: 'follow-privileges',
  openApiSecurity: false,
  rootSpec: null,
  serverTiming: false,
}

/** Plans kept for one catalogue and one settings. */
const PLANS = 2_000
const PLAN_CHARACTERS = 8_000_000
/** Roles whose preparation is kept. */
const ROLES = 1_000

/** Settings in force and the plans made under them: lives as long as both the catalogue and the settings do. */
export interface Space {
  readonly settings: RestSettings
  readonly plans: LRUCache<string, Plan>
  /** What runs before a role's statements. */
  preparation(role: string): Preparation
  /** By schema: search_path of its requests. */
  readonly searchPaths: ReadonlyMap<string, string>
}

const spaces = new WeakMap<Catalogue, WeakMap<object, Space>>()
const NO_SECTION = {}

/** `section`: the project's stored `rest` settings, whose identity tells whether they changed. */
export function spaceOf(catalogue: Catalogue, section: object | undefined): Space {
  const own = section ?? NO_SECTION
  let bySection = spaces.get(catalogue)
  if (!bySection) {
    bySection = new WeakMap()
    spaces.set(catalogue, bySection)
  }
  let space = bySection.get(own)
  if (!space) {
    const settings = settingsInForce(own, catalogue.settings)
    const preparations = new Map<string, Preparation>()
    space = {
      settings,
      plans: new LRUCache({ max: PLANS, maxSize: PLAN_CHARACTERS, sizeCalculation: (plan, key) => plan.sql.length + key.length + 500 }),
      preparation: (role) => {
        let made = preparations.get(role)
        if (made === undefined) {
          made = prepare(catalogue, role, settings.appSettings, settings.preRequest)
          if (preparations.size < ROLES) preparations.set(role, made)
        }
        return made
      },
      searchPaths: new Map(settings.schemas.map((schema) => [schema, searchPath([schema, ...settings.extraSearchPath])])),
    }
    bySection.set(own, space)
  }
  return space
}

/** Plain names stay plain, so that the text equals the one that sessions have from their start. */
const searchPath = (names: readonly string[]): string =>
  [...new Set(names)].map((name) => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`)).join(', ')

const names = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
const isTrue = (text: string): boolean => ['true', 'on', 'yes', '1'].includes(text.trim().toLowerCase())

const openApiMode = (text = ''): RestSettings['openApi'] =>
  text === 'ignore-privileges' || text === 'disabled' ? text : REST_DEFAULTS.openApi

const nameOrNull = (value: unknown): string | null => (typeof value === 'string' && value.trim() !== '' ? value.trim() : null)

function stringList(value: unknown, fallback: readonly string[]): readonly string[] {
  if (typeof value === 'string') return names(value)
  return Array.isArray(value) && value.every((item) => typeof item === 'string') && value.length > 0 ? value : fallback
}

function settingsInForce(section: object, database: Readonly<Record<string, string>>): RestSettings {
  const own = section as Readonly<Record<string, unknown>>
  const rows = Number(database['pgrst.db_max_rows'])
  const ownRows = own.max_rows === undefined ? REST_DEFAULTS.maxRows : typeof own.max_rows === 'number' ? own.max_rows : null
  const inDatabase = (name: string) => database[`pgrst.${name}`]
  return {
    schemas: stringList(inDatabase('db_schemas') ?? own.schemas, REST_DEFAULTS.schemas),
    extraSearchPath: stringList(inDatabase('db_extra_search_path') ?? own.extra_search_path, REST_DEFAULTS.extraSearchPath),
    maxRows: Number.isSafeInteger(rows) && rows > 0 ? rows : ownRows,
    aggregates:
      inDatabase('db_aggregates_enabled') === undefined ? own.aggregates === true : isTrue(inDatabase('db_aggregates_enabled') ?? ''),
    plans: inDatabase('db_plan_enabled') === undefined ? own.plan_enabled === true : isTrue(inDatabase('db_plan_enabled') ?? ''),
    preRequest: nameOrNull(inDatabase('db_pre_request') ?? own.pre_request),
    appSettings: typeof own.app_settings === 'object' && own.app_settings !== null ? (own.app_settings as Record<string, string>) : {},
    transactionEnd: (inDatabase('db_tx_end') ?? String(own.tx_end ?? '')).endsWith('allow-override'),
    openApi: openApiMode(inDatabase('openapi_mode')),
    openApiSecurity: isTrue(inDatabase('openapi_security_active') ?? ''),
    rootSpec: nameOrNull(inDatabase('db_root_spec')),
    serverTiming: isTrue(inDatabase('server_timing_enabled') ?? ''),
  }
}
