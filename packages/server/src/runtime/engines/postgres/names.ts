/** Roles, channels and names that a project's cluster has by convention: the one place that spells them. */

/** Superuser, ours; socket only, database `postgres` only. */
export const ADMIN = 'sovrabase_admin'
/** The gateway's only sign-in. */
export const GATEWAY = 'sovrabase_gateway'
/** The people's owner login. */
export const OWNER = 'postgres'
export const AUTHENTICATOR = 'authenticator'
export const DATABASE = 'postgres'

/** Secrets of a service of this engine: the passwords of these roles. */
export const SECRETS = [ADMIN, GATEWAY, OWNER] as const

/** Reached by SET ROLE only: nobody signs in as one of these. */
export const NOLOGIN_ROLES = [
  AUTHENTICATOR,
  'anon',
  'authenticated',
  'service_role',
  'supabase_admin',
  'supabase_auth_admin',
  'supabase_storage_admin',
  'supabase_realtime_admin',
  'dashboard_user',
] as const

/** Owners of the system schemas; the server writes to them as these roles (SET ROLE from the gateway's sign-in), never as superuser. */
export const SYSTEM_ROLES = ['supabase_auth_admin', 'supabase_storage_admin', 'supabase_realtime_admin'] as const

/** The wire listener refuses these before a byte reaches the cluster; pg_hba.conf refuses all but the first two once more. */
export const REFUSED_ON_THE_WIRE: ReadonlySet<string> = new Set([ADMIN, GATEWAY, ...NOLOGIN_ROLES])

/** NOTIFY channel of the DDL event triggers (payload always empty: one notification a transaction). */
export const DDL_CHANNEL = 'sovrabase_ddl'

/** In-database settings that `postgres` may set on `authenticator` (`alter role authenticator set pgrst.x = …`). Who signs tokens is not for SQL to say: `pgrst.jwt_secret` is not among them. */
export const PGRST_SETTINGS = [
  'pgrst.db_schemas',
  'pgrst.db_extra_search_path',
  'pgrst.db_max_rows',
  'pgrst.db_pre_request',
  'pgrst.db_anon_role',
  'pgrst.db_plan_enabled',
  'pgrst.db_aggregates_enabled',
  'pgrst.db_tx_end',
  'pgrst.db_root_spec',
  'pgrst.db_hoisted_tx_settings',
  'pgrst.db_prepared_statements',
  'pgrst.db_timezone_enabled',
  'pgrst.openapi_mode',
  'pgrst.openapi_security_active',
  'pgrst.openapi_server_proxy_uri',
  'pgrst.server_cors_allowed_origins',
  'pgrst.server_timing_enabled',
  'pgrst.server_trace_header',
  'pgrst.client_error_verbosity',
  'pgrst.jwt_aud',
  'pgrst.jwt_role_claim_key',
] as const
