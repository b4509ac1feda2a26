/**
 * The metadata database's tables as Kysely sees them. Rules (docs: conventions "Metadata columns"): ids varchar(36), times bigint milliseconds,
 * JSON as text, booleans 0/1, no RETURNING. Each table names its one writer. Columns that the database computes for unique keys among the living
 * are in migrations/ only: nobody reads or writes them.
 */
import type { Generated } from 'kysely'
import type { EventsTable } from '../base/events.ts'
import type { JobRow } from '../base/job-table.ts'

type Millis = number
type Json = string
type Bool = 0 | 1

/** Small facts of the installation (root key check, demo made, wire port, …). Writer: metadata/facts.ts */
export interface Facts {
  name: string
  value: Json
  updated_at: Millis
}

/** Writer: control/organisations/store.ts. `name` is the slug (unique among the living), `title` the free text. */
export interface Organisations {
  id: string
  name: string
  title: string
  quotas: Json
  created_at: Millis
  updated_at: Millis
  deleted_at: Millis | null
}

/** Writer: control/members/store.ts. `project_ref` null: bound to the whole organisation; '' is never used. */
export interface Memberships {
  id: string
  organisation_id: string
  user_id: string
  project_ref: string | null
  role: string
  created_at: Millis
  updated_at: Millis
}

/** Writer: control/members/store.ts */
export interface Invitations {
  id: string
  organisation_id: string
  project_ref: string | null
  role: string
  email: string | null
  token_hash: string
  invited_by: string
  created_at: Millis
  expires_at: Millis
  accepted_at: Millis | null
  accepted_by: string | null
  revoked_at: Millis | null
}

/** Writer: control/projects/store.ts. `name` is unique among the living of an organisation. state: active | deleted | purging */
export interface Projects {
  ref: string
  organisation_id: string
  name: string
  region: string
  labels: Json
  state: string
  version: number
  created_at: Millis
  updated_at: Millis
  deleted_at: Millis | null
  purge_at: Millis | null
}

/** Writer: runtime/services.ts */
export interface Services {
  id: string
  /** '' while it is a prepared one that no project has claimed yet. */
  project_ref: string
  name: string
  /** Data directory's name below data/projects. */
  volume: string
  engine: string
  driver: string
  region: string
  node: string | null
  /** Wanted. */
  spec: Json
  spec_version: number
  /** active | deleted */
  wanted: string
  /** pending | creating | asleep | waking | awake | sleeping | degraded | failed | deleted */
  status: string
  status_detail: Json
  observed_version: number
  /** Where a new volume is filled from: null for the template, else the service id to copy. */
  source: Json | null
  engine_version: string | null
  system_version: number | null
  /** Its statements are logged until then. */
  statements_until: Millis | null
  created_at: Millis
  updated_at: Millis
}

/** Writer: runtime/upgrade/store.ts */
export interface ServiceUpgrades {
  service_id: string
  /** wanted | running | kept | failed | dropping */
  state: string
  /** The one that the service does not use. */
  volume: string
  from_version: string
  to_version: string
  step: string | null
  run: string | null
  failure: Json | null
  began_at: Millis
  ended_at: Millis | null
}

/** Passwords of a service's own roles, encrypted. Writer: runtime/services.ts */
export interface ServiceSecrets {
  service_id: string
  name: string
  secret: string
  updated_at: Millis
}

/** Writer: realms/keys.ts. realm: 'platform' or a project's ref; use: user | legacy | url; state: next | current | retired */
export interface RealmKeys {
  realm: string
  kid: string
  alg: string
  use: string
  state: string
  secret: string
  created_at: Millis
  retired_at: Millis | null
  expires_at: Millis | null
}

/** Writer: realms/api-keys.ts. kind: anon | service_role (JWTs) | publishable | secret (opaque) */
export interface ApiKeys {
  id: string
  realm: string
  name: string
  kind: string
  hash: string
  prefix: string
  secret: string
  kid: string | null
  created_at: Millis
  created_by: string | null
  revoked_at: Millis | null
  expires_at: Millis | null
}

/** Writer: metadata/settings.ts. scope: 'platform' or a project's ref */
export interface Settings {
  scope: string
  section: string
  version: number
  json: Json
  updated_at: Millis
}

/** Sessions of any realm whose access tokens are refused until they expire. Writer: realms/denied.ts */
export interface DeniedSessions {
  realm: string
  session_id: string
  expires_at: Millis
}

/** Personal access tokens of members. Writer: realms/access-tokens.ts */
export interface AccessTokens {
  id: string
  user_id: string
  name: string
  hash: string
  prefix: string
  created_at: Millis
  expires_at: Millis | null
  last_used_at: Millis | null
  revoked_at: Millis | null
}

/** Answers kept for Idempotency-Key. Writer: control/idempotency.ts */
export interface IdempotentAnswers {
  key: string
  actor: string
  fingerprint: string
  status: number | null
  headers: Json
  body: string | null
  created_at: Millis
  expires_at: Millis
}

/** One row a server process. Writer: metadata/nodes.ts */
export interface Nodes {
  id: string
  name: string
  region: string
  url: string | null
  roles: Json
  started_at: Millis
  seen_at: Millis
}

/** When a project has work of its own that is due: wakes it. Writer: runtime/due.ts */
export interface ProjectDue {
  ref: string
  next_due: Millis
}

/** The platform realm's tables: names and columns of GoTrue's `auth.*`; times bigint ms, JSON text here. Writer: realms/ */
export interface AuthUsers {
  id: string
  instance_id: string | null
  aud: string
  role: string
  email: string | null
  encrypted_password: string | null
  email_confirmed_at: Millis | null
  invited_at: Millis | null
  confirmation_token: string | null
  confirmation_sent_at: Millis | null
  recovery_token: string | null
  recovery_sent_at: Millis | null
  email_change_token_new: string | null
  email_change: string | null
  email_change_sent_at: Millis | null
  last_sign_in_at: Millis | null
  raw_app_meta_data: Json | null
  raw_user_meta_data: Json | null
  is_super_admin: Bool | null
  created_at: Millis
  updated_at: Millis
  phone: string | null
  phone_confirmed_at: Millis | null
  phone_change: string | null
  phone_change_token: string | null
  phone_change_sent_at: Millis | null
  email_change_token_current: string | null
  email_change_confirm_status: number | null
  banned_until: Millis | null
  reauthentication_token: string | null
  reauthentication_sent_at: Millis | null
  is_sso_user: Bool
  deleted_at: Millis | null
  is_anonymous: Bool
}
export interface AuthIdentities {
  id: string
  provider_id: string
  user_id: string
  identity_data: Json
  provider: string
  last_sign_in_at: Millis | null
  created_at: Millis
  updated_at: Millis
  email: string | null
}
export interface AuthSessions {
  id: string
  user_id: string
  created_at: Millis
  updated_at: Millis
  factor_id: string | null
  aal: string | null
  not_after: Millis | null
  refreshed_at: Millis | null
  user_agent: string | null
  ip: string | null
  tag: string | null
}
export interface AuthRefreshTokens {
  id: Generated<number>
  instance_id: string | null
  token: string
  user_id: string
  revoked: Bool
  parent: string | null
  session_id: string
  created_at: Millis
  updated_at: Millis
}
export interface AuthOneTimeTokens {
  id: string
  user_id: string
  token_type: string
  token_hash: string
  relates_to: string
  created_at: Millis
  updated_at: Millis
  /** Of the short code beside the link. */
  otp_hash: string | null
  flow_state_id: string | null
}

export interface AuthMfaFactors {
  id: string
  user_id: string
  friendly_name: string | null
  factor_type: string
  status: string
  created_at: Millis
  updated_at: Millis
  secret: string | null
  phone: string | null
  last_challenged_at: Millis | null
  web_authn_credential: Json | null
  web_authn_aaguid: string | null
  last_webauthn_challenge_data: Json | null
}
export interface AuthMfaChallenges {
  id: string
  factor_id: string
  created_at: Millis
  verified_at: Millis | null
  ip_address: string
  otp_code: string | null
  web_authn_session_data: Json | null
}
export interface AuthWebauthnCredentials {
  id: string
  user_id: string
  credential_id: string
  public_key: string
  attestation_type: string
  aaguid: string | null
  sign_count: number
  transports: Json
  backup_eligible: number
  backed_up: number
  friendly_name: string
  created_at: Millis
  updated_at: Millis
  last_used_at: Millis | null
}
export interface AuthWebauthnChallenges {
  id: string
  user_id: string | null
  challenge_type: string
  session_data: Json
  created_at: Millis
  expires_at: Millis
}
export interface AuthMfaAmrClaims {
  id: string
  session_id: string
  created_at: Millis
  updated_at: Millis
  authentication_method: string
}
export interface AuthFlowState {
  id: string
  user_id: string | null
  auth_code: string
  code_challenge_method: string
  code_challenge: string
  provider_type: string
  provider_access_token: string | null
  provider_refresh_token: string | null
  created_at: Millis
  updated_at: Millis
  authentication_method: string
  auth_code_issued_at: Millis | null
}
export interface AuthSsoProviders {
  id: string
  resource_id: string | null
  created_at: Millis
  updated_at: Millis
  disabled: Bool | null
}
export interface AuthSsoDomains {
  id: string
  sso_provider_id: string
  domain: string
  created_at: Millis
  updated_at: Millis
}
export interface AuthSamlProviders {
  id: string
  sso_provider_id: string
  entity_id: string
  metadata_xml: string
  metadata_url: string | null
  attribute_mapping: Json | null
  created_at: Millis
  updated_at: Millis
  name_id_format: string | null
}
export interface AuthSamlRelayStates {
  id: string
  sso_provider_id: string
  request_id: string
  for_email: string | null
  redirect_to: string | null
  created_at: Millis
  updated_at: Millis
  flow_state_id: string | null
}
/** As whom an identity provider knows the holder of a session. */
export interface AuthSamlSessions {
  session_id: string
  provider_id: string
  name_id: string
  name_hash: string
  name_id_format: string | null
  name_qualifier: string | null
  sp_name_qualifier: string | null
  session_index: string | null
  created_at: Millis
}
export interface AuthAuditLogEntries {
  id: string
  instance_id: string | null
  payload: Json | null
  created_at: Millis
  ip_address: string
}

/** The realm's own work beside GoTrue's tables (in a cluster: `sovrabase.*`). */
export interface AuthMails {
  id: string
  user_id: string | null
  kind: string
  recipient: string
  subject: string
  html: string
  body: string
  state: string
  attempts: number
  due_at: Millis
  expires_at: Millis
  created_at: Millis
  sent_at: Millis | null
  last_error: string | null
}
export interface AuthRates {
  id: string
  full_at: Millis
}
export interface AuthRecoveryCodes {
  id: string
  user_id: string
  code_hash: string
  created_at: Millis
}

export interface Tables {
  facts: Facts
  organisations: Organisations
  memberships: Memberships
  invitations: Invitations
  projects: Projects
  services: Services
  service_secrets: ServiceSecrets
  service_upgrades: ServiceUpgrades
  realm_keys: RealmKeys
  api_keys: ApiKeys
  settings: Settings
  denied_sessions: DeniedSessions
  access_tokens: AccessTokens
  events: EventsTable
  jobs: JobRow
  idempotent_answers: IdempotentAnswers
  nodes: Nodes
  project_due: ProjectDue
  auth_users: AuthUsers
  auth_identities: AuthIdentities
  auth_sessions: AuthSessions
  auth_refresh_tokens: AuthRefreshTokens
  auth_one_time_tokens: AuthOneTimeTokens
  auth_mfa_factors: AuthMfaFactors
  auth_mfa_challenges: AuthMfaChallenges
  auth_mfa_amr_claims: AuthMfaAmrClaims
  auth_flow_state: AuthFlowState
  auth_sso_providers: AuthSsoProviders
  auth_sso_domains: AuthSsoDomains
  auth_saml_providers: AuthSamlProviders
  auth_saml_relay_states: AuthSamlRelayStates
  auth_saml_sessions: AuthSamlSessions
  auth_audit_log_entries: AuthAuditLogEntries
  auth_mails: AuthMails
  auth_rates: AuthRates
  auth_recovery_codes: AuthRecoveryCodes
  auth_webauthn_credentials: AuthWebauthnCredentials
  auth_webauthn_challenges: AuthWebauthnChallenges
}
