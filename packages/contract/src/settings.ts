import { type Static, Type } from 'typebox'
import { AUTH_DEFAULTS, AuthSettings } from './auth.ts'

/**
 * Sections of a project's (or the platform's) settings. Every key may be missing: then the default below holds, or what the sections' own
 * `pgrst.*` in the database says. A leaf that is a secret is `Secret()`: stored encrypted, never answered.
 */

/** A text that is sealed where it is stored. */
export const Secret = (options: { description: string; maxLength?: number }) => Type.String({ maxLength: 16_384, ...options, secret: true })

const closed = { additionalProperties: false } as const
const SchemaName = Type.String({ minLength: 1, maxLength: 63 })

export const RestSettings = Type.Object(
  {
    schemas: Type.Optional(
      Type.Array(SchemaName, { minItems: 1, maxItems: 64, description: 'Schemas that /rest/v1 exposes; the first is the default one' }),
    ),
    extra_search_path: Type.Optional(
      Type.Array(SchemaName, { maxItems: 64, description: "Added to the search path after the request's schema" }),
    ),
    max_rows: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 1_000_000 }), Type.Null()], {
        description: 'Rows of an answer at most; null: no limit',
      }),
    ),
    aggregates: Type.Optional(Type.Boolean({ description: 'count(), sum() and the like in select' })),
    plan_enabled: Type.Optional(
      Type.Boolean({ description: 'Answers with the plan of a request to `Accept: application/vnd.pgrst.plan`' }),
    ),
    pre_request: Type.Optional(
      Type.String({
        maxLength: 127,
        description: 'Function (schema.name) without arguments that runs before each request and may refuse it by raising an error',
      }),
    ),
    tx_end: Type.Optional(
      Type.Union([Type.Literal('commit'), Type.Literal('commit-allow-override')], {
        description: 'Whether `Prefer: tx=rollback` is obeyed',
      }),
    ),
    default_grants: Type.Optional(
      Type.Union([Type.Literal('none'), Type.Literal('supabase')], {
        description:
          'What anon and authenticated may do with new tables: nothing, or what Supabase projects start with (row-level security is then the only guard)',
      }),
    ),
    allow_keyless: Type.Optional(Type.Boolean({ description: 'Requests without a key run as anon; default: what the server says' })),
    app_settings: Type.Optional(
      Type.Record(Type.String({ pattern: '^[a-z_][a-z0-9_]{0,62}$' }), Type.String({ maxLength: 4096 }), {
        maxProperties: 64,
        description: "Read in SQL as current_setting('app.settings.<name>')",
      }),
    ),
  },
  closed,
)

export const StorageSettings = Type.Object({}, closed)
export const RealtimeSettings = Type.Object({}, closed)
export const FunctionsSettings = Type.Object({}, closed)

/** Access to an S3 bucket. */
export const S3Settings = Type.Object(
  {
    url: Type.Optional(Type.String({ maxLength: 400, pattern: '^s3://', description: 's3://bucket/prefix' })),
    endpoint: Type.Optional(Type.String({ maxLength: 400, pattern: '^https?://', description: 'Address of a provider other than AWS' })),
    region: Type.Optional(Type.String({ maxLength: 63, pattern: '^[a-zA-Z0-9-]+$', description: 'By default us-east-1' })),
    access_key_id: Type.String({ minLength: 1, maxLength: 256 }),
    secret_access_key: Secret({ description: 'Its secret', maxLength: 1024 }),
  },
  closed,
)

export const BackupSettings = Type.Object(
  {
    point_in_time: Type.Optional(
      Type.Boolean({ description: 'Every change goes into an archive, so that the project can be brought to any moment' }),
    ),
    within: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 3600, description: 'Seconds from a commit until it is safe in the archive' }),
    ),
    base_every: Type.Optional(Type.Integer({ minimum: 1, maximum: 720, description: 'Hours between two base backups' })),
    keep_days: Type.Optional(Type.Integer({ minimum: 1, maximum: 3650, description: 'Days back that can be restored' })),
    store: Type.Optional(S3Settings),
  },
  { ...closed, description: 'Where `store` is missing the archive lies where the server says' },
)

export const SECTIONS = {
  rest: RestSettings,
  auth: AuthSettings,
  storage: StorageSettings,
  realtime: RealtimeSettings,
  functions: FunctionsSettings,
  backup: BackupSettings,
} as const

export type Section = keyof typeof SECTIONS
export type SectionValue<S extends Section> = Static<(typeof SECTIONS)[S]>
export const isSection = (text: string): text is Section => Object.hasOwn(SECTIONS, text)

/** What holds where nothing was said. `allow_keyless` has none: the server's configuration decides. */
export const SETTING_DEFAULTS = {
  rest: {
    schemas: ['public'],
    extra_search_path: ['public', 'extensions'],
    max_rows: 1_000,
    aggregates: false,
    tx_end: 'commit',
    default_grants: 'none',
    app_settings: {},
  },
  auth: AUTH_DEFAULTS,
  storage: {},
  realtime: {},
  functions: {},
  backup: { point_in_time: false, within: 10, base_every: 24, keep_days: 7 },
} as const satisfies { [S in Section]: SectionValue<S> }
