-- As whom an identity provider (SAML 2.0) knows the holder of a session: what single log-out asks by.
create table sovrabase.auth_saml_sessions (
  session_id uuid not null primary key references auth.sessions (id) on delete cascade,
  provider_id uuid not null references auth.sso_providers (id) on delete cascade,
  name_id text not null,
  -- SHA-256 of it, hex: names may be long.
  name_hash text not null,
  name_id_format text,
  name_qualifier text,
  sp_name_qualifier text,
  session_index text,
  created_at timestamptz not null
);
create index auth_saml_sessions_provider_name_idx on sovrabase.auth_saml_sessions (provider_id, name_hash);
grant select, insert, update, delete on sovrabase.auth_saml_sessions to supabase_auth_admin;
